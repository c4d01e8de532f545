"""What customers said stands at Optimove, by each of the three ways, whatever happens on the way there."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house
from tests.opt_ins import (
    ATTRIBUTE,
    WAYS,
    ByAttributes,
    ByPreferences,
    Way,
    customer,
    import_file,
    numbered,
    open_way,
    said,
    say,
)
from tests.web.links import HTML

from optirelay.clock import utc_now
from optirelay.engine import dispatch, operate, sharing
from optirelay.engine.sharing import results as sharing_results
from optirelay.model import ChannelName, CustomerId, TenantId
from optirelay.settings import Settings, read
from optirelay.stages import subscriptions
from optirelay.store.opt_outs import Statement

LONG = "OPTIRELAY_OPT_INS"  # so many customers: `OPTIRELAY_OPT_INS=100000 scripts/test THIS_FILE -k by_each_way -s`
COUNT = int(os.environ.get(LONG, "2000"))
PATIENCE = 90.0 if LONG not in os.environ else 900.0
log = structlog.get_logger()
FAULTS = ("rate_limited", "error_before", "error_after", "cut_before", "cut_after", "garbage", "string_error", "slow")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds and minutes takes moments."""
    monkeypatch.setattr(dispatch, "SHARE_SECONDS", 0.1)
    monkeypatch.setattr(subscriptions, "FIRST_PAUSE", timedelta(seconds=0.1))
    monkeypatch.setattr(subscriptions, "FIRST_WAIT", timedelta(seconds=0.1))


async def follow_link(house: House, who: str) -> None:
    """A customer gets a message of a campaign, and follows its link out."""
    campaign_id = await house.plan(customers=[who])
    await house.fire(campaign_id)
    await house.until_state(campaign_id, "complete")
    row = await house.message(campaign_id, who)
    token = house.ctx.store.tenant(ACME).tokens(row.planned_on).of(row.id)
    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        answer = await client.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", WAYS.values(), ids=list(WAYS))
@pytest.mark.timeout(0 if LONG in os.environ else 180)
async def test_what_customers_said_stands_at_optimove_by_each_way_and_only_changes_travel(
    kind: type[Way], make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, kind, customers=COUNT) as way:
        house, everybody = way.house, range(1, COUNT + 1)
        await house.push(17, html=HTML)
        await import_file(house, tmp_path, numbered(everybody))
        await stands(way, "an import", Counter({customer(one): 1 for one in everybody}))

        changed = range(1, COUNT, COUNT // 50)
        await say(house, {one: not word for one, word in numbered(changed).items()})
        await say(house, numbered([2, 3]))  # nothing new
        await stands(way, "changes", Counter({customer(one): 1 for one in changed}))

        ana = next(one for one, word in (await said(house)).items() if word)
        await follow_link(house, ana)
        await stands(way, "a link", Counter({ana: 1}))
        assert (await way.shown())[ana] is False

        assert await operate.push_opt_ins(house.ctx) == []
        await stands(way, "a push of nothing", Counter())
        left = await operate.push_opt_ins(house.ctx, everything=True)
        assert left == [] or LONG in os.environ  # in 60 s
        await stands(way, "a push of everything", Counter({customer(one): 1 for one in everybody}))
        assert await house.problems() == set()


async def stands(way: Way, what: str, told: Counter[str]) -> None:
    """Wait until Optimove has what our customers said; of these it was told, and so often."""
    began = time.monotonic()
    await way.house.until(way.is_in_step, PATIENCE)
    assert await way.told_since_look() == told
    if LONG in os.environ:
        seconds, calls = round(time.monotonic() - began, 1), len(await way.told())
        log.info("in_step", way=type(way).__name__, after=what, told=told.total(), seconds=seconds, calls=calls)


@pytest.mark.parametrize("kind", [ByAttributes, ByPreferences], ids=["attributes", "preferences"])
@pytest.mark.timeout(0 if LONG in os.environ else 180)
async def test_whatever_goes_wrong_with_calls_optimove_has_the_newest_word_in_the_end(
    kind: type[ByAttributes] | type[ByPreferences], make_settings: MakeSettings, tmp_path: Path
) -> None:
    customers = COUNT if LONG in os.environ else 200
    async with open_way(make_settings, tmp_path, kind, customers=customers) as way:
        house = way.house
        if kind is ByAttributes:
            await house.fault("AddCustomerAttribute", "cut_after")
        await say(house, numbered(range(1, customers + 1)), bulk=True)
        await house.until(way.is_in_step, PATIENCE)
        for fault in (*FAULTS, "fails_later") if kind is ByAttributes else FAULTS:
            entry = {"call": kind.call, "fault": fault, "seconds": 0.5}
            assert (await house.optimove.post("/_sim/faults", json=entry)).status_code == 200
            words = await said(house)
            changed = range(1, customers // 20 + 1)
            await say(house, {customer(one): not words[customer(one)] for one in changed}, bulk=True)

            async def met() -> bool:
                return bool((await house.optimove.get("/_sim/state?summary=1")).json()["faults"] == 0)

            await house.until(met)
            last = customer(customers)
            await say(house, {customer(1): words[customer(1)], last: not words[last]})  # meanwhile
            await house.until(way.is_in_step, PATIENCE)
        assert await operate.push_opt_ins(house.ctx) == []
        assert await house.problems() == set()


async def test_who_was_not_taken_is_shown_and_told_again_where_that_helps(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=50) as way:
        house, stranger = way.house, CustomerId("C-stranger")
        await say(house, numbered(range(1, 51)), bulk=True)
        await house.until(way.is_in_step)

        await house.fault("UpdateCustomerAttributes", "fails_later")
        await say(house, numbered(range(1, 11), False))
        await house.until(way.is_in_step)
        assert (await house.optimove.get("/_sim/state")).json()["faults"] == []

        await say(house, {stranger: True, customer(1): True})

        async def shown() -> bool:
            (row,) = await operate.optins_status(house.ctx)
            return (row["failures"], row["confirmed"]) == ({"INVALID_CUSTOMER": 1}, 50)

        await house.until(shown)
        (failed,) = await operate.optins_failed(house.ctx)
        assert (failed["customer_id"], failed["failed"], failed["again_at"]) == (stranger, "INVALID_CUSTOMER", None)
        (problem,) = await operate.problems(house.ctx)
        assert (problem["kind"], problem["channel"]) == ("optin_failed", "newsletter")
        assert "INVALID_CUSTOMER" in problem["problem"]
        assert stranger not in str(problem)
        assert (await way.shown())[customer(1)] is True
        sentences = await operate.push_opt_ins(house.ctx)
        assert len(sentences) == 1
        assert "INVALID_CUSTOMER" in sentences[0]

        await house.people({"customer_id": stranger})
        assert await operate.push_opt_ins(house.ctx) == []
        assert await way.is_in_step()
        assert await house.problems() == set()


@pytest.mark.parametrize("callbacks", ["never", "late", "twice"])
async def test_a_result_that_does_not_come_is_shown_and_read_back_and_one_that_comes_late_or_twice_harms_nothing(
    callbacks: str, make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = timedelta(seconds=600 if callbacks == "twice" else 0.5)
    for module in (sharing, sharing_results):
        monkeypatch.setattr(module, "RESULT_WITHIN", within)
    async with open_way(make_settings, tmp_path, ByAttributes, customers=30) as way:
        house = way.house
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": callbacks, "late_seconds": 2})
        await say(house, numbered(range(1, 31)), bulk=True)
        await house.until(way.is_in_step)
        if callbacks == "never":
            await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "soon"})
            assert await house.problems() == {"optin_failed"}
        for word in (False, True):
            await say(house, numbered(range(1, 6), word))
            await house.until(way.is_in_step)

        async def all_read() -> bool:
            came = len(await house.sim("callbacks"))
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                cursor = await ledger.connection.execute("select state, count(*) from attribute_result group by 1")
                rows = dict(await cursor.fetchall())
            return came >= {"never": 2, "late": 4, "twice": 8}[callbacks] and rows == {"done": came}

        await house.until(all_read)
        assert await way.is_in_step()
        assert await house.problems() <= ({"optin_failed"} if callbacks != "twice" else set())


async def test_what_optimove_lost_or_somebody_changed_there_is_put_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=30) as way:
        house = way.house
        await say(house, numbered(range(1, 31)), bulk=True)
        await house.until(way.is_in_step)
        before = len(await way.told())
        changes = [
            {"CustomerID": customer(one), "Attributes": [{"RealFieldName": ATTRIBUTE, "Value": "yes"}]}
            for one in (3, 27, 4)
        ]
        answer = await house.optimove.post(
            "/Customers/UpdateCustomerAttributes",
            json={"CustomerNewAttributesValuesList": changes},
            headers={"X-API-KEY": "demo-key"},
        )
        assert answer.status_code == 200
        assert not await way.is_in_step()
        for _ in range(2):  # some at a time
            await sharing_results.check_drift(house.ctx, ACME)
        await house.until(way.is_in_step)
        assert await way.told_since(before + 1) == Counter({customer(3): 1, customer(27): 1})
        assert await house.problems() == {"optin_failed"}


async def test_a_tenant_whose_optimove_is_slow_holds_up_no_other(database: str, tmp_path: Path) -> None:
    ids = range(501, 508)
    slow = {
        f"list{number}": {"scheduled_id": number, "provider": "null", "opt_in": f"attributes:A{number}"}
        for number in ids
    }
    quick = {"newsletter": {"scheduled_id": 504, "provider": "null", "opt_in": "channel_preference"}}
    keys = {"slow": ("slow-key", slow), "acme": ("demo-key", quick)}

    def settings(*, service: dict[str, Any], tenant: dict[str, Any], channel: object) -> Settings:
        known = {"listener_secret": LISTENER_SECRET, **tenant}
        tenants = {name: {**known, "api_key": key, "channels": channels} for name, (key, channels) in keys.items()}
        document = {"service": {"database": database, "data_dir": str(tmp_path), **service}, "tenants": tenants}
        return read(document, path=tmp_path / "optirelay.toml")

    names = {str(number): f"List {number}" for number in ids}
    simulated = [
        {"id": number, "key": key, "channels": names, "customers": 10}
        for number, key in ((7001, "demo-key"), (7002, "slow-key"))
    ]
    fault = {"call": "AddCustomerAttribute", "fault": "slow", "times": 100, "seconds": 120}
    scenario = {"tenants": simulated, "faults": [fault]}
    async with open_house(settings, scenario=scenario, registers=False) as house:
        async with house.ctx.store.tenant(TenantId("slow")).transaction() as ledger:
            now = utc_now()
            words = [Statement(customer(1), ChannelName(name), now, False, "test") for name in slow]
            await ledger.opt_outs.keep(words)

        async def busy() -> bool:
            return len(await house.sim("attributes?tenant=7002")) >= dispatch.SHARED_OF_ONE

        await house.until(busy)
        await say(house, {customer(1): False})

        async def told() -> bool:
            return len(await house.sim("preferences?tenant=7001")) == 1

        await house.until(told)
        assert len(await house.sim("attributes?tenant=7002")) < dispatch.SHARED_AT_ONCE


WORKER = """
[service]
database = "{database}"
data_dir = "{folder}"
public_url = "{web}"

[tenants.acme]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"
rate_limit = "1000/s"

[tenants.acme.channels.newsletter]
scheduled_id = 504
provider = "null"
"""


class Worker:
    """`optirelay work` as a process of its own."""

    def __init__(self, way: Way, folder: Path) -> None:
        house = way.house
        values = {"database": house.ctx.settings.service.database, "folder": folder, "web": house.web_url}
        text = WORKER.format(**values, optimove=house.optimove.base_url, secret=LISTENER_SECRET)
        channel = way.settings(folder)
        files = channel.pop("batch_file", {})
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in channel.items())
        text += "[tenants.acme.channels.newsletter.batch_file]\n" if files else ""
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in files.items())
        self._config = folder / "worker.toml"
        self._config.write_text(text)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = (sys.executable, "-m", "optirelay", "work", "--config", str(self._config))
        with (self._config.parent / "worker.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.mark.parametrize("kind", WAYS.values(), ids=list(WAYS))
async def test_a_worker_that_is_killed_while_it_tells_optimove_is_no_harm(
    kind: type[Way], make_settings: MakeSettings, tmp_path: Path
) -> None:
    customers = 200 if kind.call else max(20_000, COUNT)
    async with open_way(make_settings, tmp_path, kind, customers=customers, workers=0) as way:
        house, worker = way.house, Worker(way, tmp_path)
        if kind.call:
            entry = {"call": kind.call, "fault": "slow", "seconds": 30}
            assert (await house.optimove.post("/_sim/faults", json=entry)).status_code == 200
        await say(house, numbered(range(1, customers + 1)), bulk=True)

        async def under_way() -> bool:
            """A call has reached Optimove and is not answered, or a file is being written."""
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                calls = await ledger.sharing.calls(NEWSLETTER)
            made = any(call.state == "made" and call.call in (kind.call, "file") for call in calls)
            return made and (kind.call is None or len(await way.told()) == 1)

        try:
            await worker.start()
            await house.until(under_way)
            await worker.kill()
            first = len(await way.told())
            await say(house, {customer(1): False, customer(2): False})
            await worker.start()
            await house.until(way.is_in_step, PATIENCE)
            assert (await way.told_since(first)).keys() >= {customer(1), customer(2)}
        finally:
            await worker.kill()
