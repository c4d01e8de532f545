"""Who is erased leaves nothing: not in any table, not in any file, and is not written to again."""

import gzip
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.by_hand import fetched
from tests.conftest import MakeSettings
from tests.events import recorded, sids_of
from tests.flows.test_opt_outs import states
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house
from tests.triggers import TRIGGERED_ID, body

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import operate
from optirelay.engine.settle import Known
from optirelay.model import Accepted, Answer, CustomerId, ProblemKind, Refusal, Refused
from optirelay.store import Ledger, Store, TenantStore
from optirelay.store.embedded import EmbeddedPostgres
from optirelay.store.opt_outs import Statement

ZOE = "C-zoe/471108"
YAN = "C-yan-552"
PLANTED = {
    "customer id": ZOE,
    "e-mail": "zoe.quimbly@example.com",
    "e-mail of a trigger": "zoe.at.work@example.org",
    "phone": "+33612349977",
    "phone as written": "06 12 34 99 77",
    "device token": "tok-3f9d77aa10c4",
    "first name": "Zoëlline",
    "city": "Quimperlé-sur-Test",
    "attribute of the directory": "loves-mandolins",
    "event parameter": "page-of-secret-loans",
    "promo code": "ZOE5OFFNOW",
    "name of a trigger's action": "Nudge-for-Zoelline",
    "reply": "STOP writing to my mother",
    "reason of a bounce": "mailbox-of-zoe-is-full",
    "words of a provider": "550 no such Quimbly here",
    "id of a provider": "pid-zoe-778812",
    "source of an opt-in": "form-filled-by-zoe",
    "note of a suppression": "she-called-on-monday",
    "error of an attribute": "value-of-zoe-is-odd",
    "unread trigger's parameter": "not-read-yet-zoe",
}
PEOPLE = [
    {"customer_id": ZOE, "EMAIL": PLANTED["e-mail"], "FIRST_NAME": PLANTED["first name"], "CITY": PLANTED["city"]},
    {"customer_id": YAN, "EMAIL": "Yan@example.com", "FIRST_NAME": "Yan", "CITY": "Lyon"},
    *({"customer_id": n, "EMAIL": f"{n}@example.com", "FIRST_NAME": n, "CITY": "Brest"} for n in "abc"),
]
CHANNEL = {"triggered_id": TRIGGERED_ID, "personalization": ["FIRST_NAME", "CITY"], "callback_secret": "c" * 32}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="optirelay-erase-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def embedded_house(make_settings: MakeSettings, data_dir: Path, *, workers: int) -> AsyncIterator[House]:
    service = {"database": "embedded", "data_dir": str(data_dir)}
    with EmbeddedPostgres(data_dir) as conninfo:
        async with open_house(
            make_settings,
            scenario=NOBODY_YET,
            workers=workers,
            channel=CHANNEL | {"opt_in": f"batch_file:{data_dir}/optins", "batch_file": {"content": "full"}},
            service=service,
            conninfo=conninfo,
        ) as house:
            await house.people(*PEOPLE)
            await house.push(17)
            yield house


async def do(house: House, *statements: str, **params: Any) -> None:
    async with house.ctx.store.pool.connection() as connection:
        for statement in statements:
            await connection.execute(statement.encode(), params or None)


async def dump(house: House) -> bytes:
    """Every column of every table, as its octets."""
    found = b""
    async with house.ctx.store.pool.connection() as connection:
        tables = await (
            await connection.execute("select tablename from pg_tables where schemaname = 'public'")
        ).fetchall()
        for (table,) in tables:
            async with connection.cursor() as cursor, cursor.copy(f"copy {table} to stdout (format binary)") as rows:
                async for data in rows:
                    found += bytes(data)
    return found


def files(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file():
            with suppress(FileNotFoundError):
                yield gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def found_in(texts: Iterator[bytes] | list[bytes], values: Mapping[str, str] = PLANTED) -> set[str]:
    """Which of the values are in there, in UTF-8 or as JSON may spell it."""
    spellings = {
        name: {value.encode(), json.dumps(value)[1:-1].encode(), value.replace("/", "\\/").encode()}
        for name, value in values.items()
    }
    found: set[str] = set()
    for text in texts:
        lower = text.lower()
        found |= {n for n, ways in spellings.items() if any(way.lower() in lower for way in ways)}
    return found


async def answer(house: House, answers: Mapping[str, Answer]) -> None:
    """What is due is sent; some get another answer than that it was accepted."""
    for triggered in (False, True):
        while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER, triggered=triggered):
            begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
            known = Known({m.number: answers.get(m.customer_id, Accepted()) for m in begun.start})
            await pipeline.write_answers(house.ctx, ACME, {taken: known})


async def called_back(house: House, *events: Mapping[str, Any]) -> None:
    told = json.dumps({"events": events}).encode()
    await house.ctx.store.keep_callbacks([(ACME, NEWSLETTER, sha256(told).digest(), told)])
    await recorded(house)


async def plant(house: House) -> dict[str, str]:
    """Every value in every place where people can be; the campaigns."""
    accepted = await fetched(house)
    await answer(house, {ZOE: Accepted(PLANTED["id of a provider"])})
    refused = await fetched(house)
    words = f"{PLANTED['words of a provider']}: {PLANTED['e-mail']}"
    await answer(house, {ZOE: Refused(Refusal.REJECTED, words)})
    sids = await sids_of(house, accepted)
    await called_back(
        house,
        {"id": sids[ZOE], "event": "replied", "text": PLANTED["reply"]},
        {"id": sids[ZOE], "event": "bounced", "reason": PLANTED["reason of a bounce"]},
    )
    await called_back(house, {"id": sids[YAN], "event": "bounced", "permanent": True})
    await pipeline.report.run(house.ctx, ACME, campaign=(await house.campaign(accepted)).id)
    await house.fault("UpdateCampaignInteractions", "cut_after", times=2)
    await pipeline.report.run(house.ctx, ACME, campaign=(await house.campaign(refused)).id)
    await plant_triggers(house)
    planned = await fetched(house, send_at=["+3600s"])
    await plant_in_the_store(house)
    await pipeline.share(house.ctx, ACME, NEWSLETTER)
    return {"accepted": accepted, "refused": refused, "planned": planned}


def trigger(**personalization: str) -> bytes:
    told = {"FIRST_NAME": PLANTED["first name"], "EMAIL": PLANTED["e-mail of a trigger"], **personalization}
    return body(
        customerID=ZOE, actionName=PLANTED["name of a trigger's action"], promoCode=[PLANTED["promo code"]],
        personalization=told,
    )  # fmt: skip


async def plant_triggers(house: House) -> None:
    told = {"page_title": PLANTED["event parameter"], "MOBILE": PLANTED["phone as written"]}
    assert await house.notify(trigger(**told)) == 200
    await pipeline.accept(house.ctx)
    await answer(house, {})


async def plant_in_the_store(house: House) -> None:
    said = Statement(CustomerId(ZOE), NEWSLETTER, utc_now(), opted_in=True, source=PLANTED["source of an opt-in"])
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.opt_outs.keep([said])
        await ledger.problems.tell(ProblemKind.OPTIN_FAILED, f"Customer {ZOE} is not known", "See", subject="1")
        await ledger.audit.keep("resolve sent", ["s_x"], account="op", reason=f"{PLANTED['e-mail']} asked for it")
    await do(
        house,
        "insert into contact (tenant, customer_id, email, phone, push_token, attributes) values (1, %(who)s, "
        "%(email)s, %(phone)s, %(token)s, jsonb_build_object('hobby', %(hobby)s::text))",
        who=ZOE, email=PLANTED["e-mail"], phone=PLANTED["phone"], token=PLANTED["device token"],
        hobby=PLANTED["attribute of the directory"],
    )  # fmt: skip
    result = {"Errors": [{"CustomerID": ZOE, "Error": PLANTED["error of an attribute"]}, {"CustomerID": "a"}]}
    await do(
        house,
        "insert into attribute_result (tenant, body, state) values (1, %(body)s, 'done')",
        body=json.dumps(result).encode(),
    )
    note = PLANTED["note of a suppression"]
    assert await operate.suppress(house.ctx, "acme", PLANTED["phone"], None, note)


async def test_a_search_for_all_that_was_known_of_somebody_who_is_erased_finds_nothing(
    make_settings: MakeSettings, data_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with embedded_house(make_settings, data_dir, workers=0) as house:
        campaigns = await plant(house)
        assert await house.notify(trigger(page_title=PLANTED["unread trigger's parameter"])) == 200
        await do(house, "insert into contact (tenant, customer_id, email) values (1, 'passing', 'by@example.com')")
        await do(house, "analyze", "delete from contact where customer_id = 'passing'", "checkpoint")
        assert found_in([await dump(house)]) == set(PLANTED)
        assert found_in(files(data_dir)) == set(PLANTED)

        did = await operate.erase(house.ctx, "acme", ZOE)
        assert did.left == []
        assert found_in([await dump(house)]) == set()
        assert found_in(files(data_dir)) == set()
        assert found_in([said.encode() for said in capfd.readouterr()]) == set()
        assert (did.messages, did.skipped, did.sending, did.contacts, did.suppressions) == (4, 1, 0, 1, 1)
        assert (did.opt_ins, did.notifications, did.callbacks, did.attribute_results, did.files) == (1, 1, 1, 1, 1)
        await operate.erase(house.ctx, "acme", YAN)
        await house.audit()

        again = await operate.erase(house.ctx, "acme", ZOE)
        assert (again.things, again.left, again.customer_id) == (0, [], did.customer_id)
        assert (await states(house, campaigns["planned"]))[did.customer_id] == "erased"
        following = await fetched(house)
        await answer(house, {})
        yan = (await operate.erase(house.ctx, "acme", YAN)).customer_id
        assert await states(house, following) == {
            **dict.fromkeys("abc", "accepted"),
            did.customer_id: "erased",
            yan: "suppressed",
        }
        assert found_in([await dump(house)]) == set()
        await house.audit()


async def test_beside_a_worker_at_work_it_is_the_same(make_settings: MakeSettings, data_dir: Path) -> None:
    values = {"customer id": ZOE, "e-mail": PLANTED["e-mail"], "first name": PLANTED["first name"]}
    async with embedded_house(make_settings, data_dir, workers=1) as house:
        first = await house.plan()
        await house.fire(first)
        await house.until_state(first, "complete")
        await house.until_reported(first)
        assert found_in([await dump(house)], values) == set(values)
        second = await house.plan(send_at=["+3600s"])
        await house.fire(second)
        await house.until(lambda: planned(house, second))
        did = await operate.erase(house.ctx, "acme", ZOE)
        assert (did.left, did.messages, did.skipped, did.reports > 0) == ([], 2, 1, True)
        assert found_in([await dump(house)], values) == set()
        assert found_in(files(data_dir), values) == set()
        third = await house.plan()
        await house.fire(third)
        await house.until_state(third, "complete")
        assert (await states(house, third))[did.customer_id] == "erased"
        await house.until_reported(third)
        told = [
            c["body"]["CustomerIDs"] for c in await house.sim("interactions") if str(c["body"]["CampaignID"]) == third
        ]
        assert sorted(name for names in told for name in names) == ["C-yan-552", "a", "b", "c"]


async def planned(house: House, campaign_id: str) -> bool:
    shapes = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return bool(shapes) and shapes[0]["planned"] == len(PEOPLE)


class Killed(Exception):
    """The process ends here."""


class CutStore(TenantStore):
    """Ends the process before its transaction of this number."""

    def __init__(self, store: Store, transactions: int) -> None:
        whole = store.tenant(ACME)
        self.__dict__.update(whole.__dict__)
        self._whole = whole
        self._left = transactions

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Ledger]:
        if not self._left:
            raise Killed
        self._left -= 1
        async with self._whole.transaction() as ledger:
            yield ledger


class Cut(Store):
    """A store whose tenant is such a one."""

    def __init__(self, store: Store, transactions: int) -> None:
        self.__dict__.update(store.__dict__)
        self._cut = CutStore(store, transactions)

    def tenant(self, tenant: Any) -> TenantStore:
        del tenant
        return self._cut


async def test_ended_anywhere_the_same_again_does_the_rest(make_settings: MakeSettings) -> None:
    people = [f"person-{n:02}" for n in range(60)]
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel=CHANNEL) as house:
        await house.push(17)
        await house.people(
            *({"customer_id": p, "EMAIL": f"{p}@example.com", "FIRST_NAME": f"name-of-{p}"} for p in people)
        )
        first = await fetched(house)
        await answer(house, {p: Refused(Refusal.REJECTED, f"no box {p}@example.com") for p in people[::2]})
        sids = await sids_of(house, first)
        bounced = {"event": "bounced", "permanent": True}
        await called_back(house, *({"id": sids[p], **bounced, "reason": f"no {p}@example.com"} for p in people))
        await pipeline.report.run(house.ctx, ACME, campaign=(await house.campaign(first)).id)
        await fetched(house, send_at=["+3600s"])
        kills = 0
        for person in people:
            cut = replace(house.ctx, store=Cut(house.ctx.store, kills))
            with suppress(Killed):
                await operate.erase(cut, "acme", person)
                break
            kills += 1
            values = {"id": person, "address": f"{person}@example.com", "name": f"name-of-{person}"}
            did = await operate.erase(house.ctx, "acme", person)
            assert found_in([await dump(house)], values) == set(), kills
            assert (await operate.erase(house.ctx, "acme", person)).things == 0
            listed = await operate.suppressions(house.ctx, "acme", None, addresses=True)
            assert sum(row["address"].startswith("erased:") for row in listed) == kills
            assert did.customer_id in await states(house, first)
        assert 15 < kills < len(people)
        await house.audit()
