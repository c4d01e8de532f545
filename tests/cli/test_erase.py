"""`erase` at the terminal, and what other commands say of who was erased."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.by_hand import fetched, sent
from tests.cli.test_deciding import Terminal
from tests.cli.test_suppressions import ANOTHER, SETTINGS
from tests.conftest import MakeSettings
from tests.flows.test_opt_outs import states
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import operate
from optirelay.engine.settle import Known
from optirelay.model import Accepted, CustomerId, Doubtful
from optirelay.store.opt_outs import Statement

PEOPLE = [{"customer_id": f"C-{n}", "EMAIL": f"{n}@example.com", "FIRST_NAME": n} for n in ("ann", "bo")]
HASHED = re.compile(r"erased:[0-9a-f]{64}")


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0) as opened:
        await opened.people(*PEOPLE)
        await opened.push(17)
        yield opened
        await opened.audit()


@pytest.fixture
def terminal(house: House, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove=str(house.optimove.base_url).rstrip("/")))
    return Terminal(str(config), capsys)


async def test_it_says_what_it_did_once_and_then_that_nothing_was_left(house: House, terminal: Terminal) -> None:
    await sent(house)
    await fetched(house, send_at=["+3600s"])
    status, out, err = await terminal.type("erase", "C-ann")
    assert (status, err) == (0, "")
    first, *others, whole, left = out.splitlines()
    assert first == "Erased: 2 messages to them in 2 campaigns; 1 of them had not begun and will not be sent."
    assert others == []
    assert HASHED.search(whole)
    assert left.startswith("Left: the database is a server of its own")
    status, again, err = await terminal.type("erase", "C-ann")
    assert (status, again.splitlines(), err) == (0, ["Nothing was left to erase.", whole], "")
    shape = await terminal.json("erase", "C-ann")
    assert (shape["tenant"], shape["erased_before"], shape["messages"], shape["left"]) == ("acme", True, 0, [])
    assert shape["customer_id"] in whole
    status, unknown, _ = await terminal.type("erase", "nobody-of-ours")
    assert (status, unknown.splitlines()[0]) == (0, "Nothing of this customer was found.")
    assert (await terminal.json("erase", "nobody-of-ours"))["erased_before"]


async def test_where_there_are_several_tenants_it_has_to_be_named(terminal: Terminal, tmp_path: Path) -> None:
    with (tmp_path / "optirelay.toml").open("a") as config:
        config.write(ANOTHER)
    status, _, err = await terminal.type("erase", "C-ann")
    assert (status, "--tenant acme" in err) == (2, True)


async def test_a_suppression_of_theirs_works_is_listed_and_can_be_taken_away(house: House, terminal: Terminal) -> None:
    await sent(house)
    assert (await terminal.type("suppressions", "add", "ANN@example.com", "--reason", "she asked"))[0] == 0
    assert (await terminal.json("erase", "C-ann"))["suppressions"] == 1
    [row] = await terminal.json("suppressions", "list")
    assert HASHED.fullmatch(row["address"])
    assert (row["note"], row["reason"]) == ("", "manual")
    assert HASHED.search((await terminal.type("suppressions", "list"))[1])
    assert (await terminal.type("suppressions", "add", "Ann@example.com"))[1] == "The address was suppressed already."
    await house.people({"customer_id": "C-another", "EMAIL": "aNN@example.com", "FIRST_NAME": "Ann"})
    assert (await states(house, await sent(house)))["C-another"] == "suppressed"
    assert (await terminal.type("suppressions", "remove", "ann@Example.com"))[0] == 0
    assert await terminal.json("suppressions", "list") == []
    assert (await states(house, await sent(house)))["C-another"] == "accepted"


async def test_a_doubt_of_theirs_stays_and_is_not_sent_again(house: House, terminal: Terminal) -> None:
    campaign = await sent(house, Doubtful("cut off"))
    erased = (await terminal.json("erase", "C-ann"))["customer_id"]
    doubts = {row["customer_id"]: row["to"] for row in await terminal.json("doubts", "list")}
    assert doubts == {erased: None, "C-bo": "b…@example.com"}
    assert (await terminal.type("doubts", "list"))[0] == 0
    [shape] = await terminal.json("messages", "show", "--campaign", campaign, "--customer", erased)
    assert (shape["state"], shape["attempts"][0]["detail"]) == ("in_doubt", "")
    status, _, err = await terminal.type("doubts", "resolve", "--all", "--resend", "--reason", "asked")
    assert (status, "1 messages stay in doubt: whom they were for was erased" in err) == (1, True)
    assert (await states(house, campaign))[erased] == "in_doubt"
    assert (await terminal.type("doubts", "resolve", "--all", "--give-up", "--reason", "asked"))[0] == 0
    assert (await states(house, campaign))[erased] == "given_up"


async def test_what_they_say_later_is_not_kept_and_what_is_on_its_way_is_told(
    house: House, terminal: Terminal, tmp_path: Path
) -> None:
    await fetched(house)
    taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
    assert taken is not None
    begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
    shape = await terminal.json("erase", "C-bo")
    assert (shape["sending"], shape["skipped"]) == (1, 0)
    assert "1 of their messages are being sent just now" in shape["left"][0]
    known = Known({message.number: Accepted("bo's id") for message in begun.start})
    await pipeline.write_answers(house.ctx, ACME, {taken: known})
    shape = await terminal.json("erase", "C-bo")
    assert (shape["sending"], shape["messages"], "being sent" in str(shape["left"])) == (0, 1, False)
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        said = [Statement(CustomerId(n), NEWSLETTER, utc_now(), False, "link") for n in ("C-bo", "C-ann")]
        await ledger.opt_outs.keep(said)
        assert await ledger.opt_outs.statements(CustomerId("C-bo")) == []
        assert len(await ledger.opt_outs.statements(CustomerId("C-ann"))) == 1
        cursor = await ledger.connection.execute("select action, subject from audit")
        assert await cursor.fetchall() == [("erase", shape["customer_id"])]

    opt_ins, contacts = tmp_path / "opt-ins.csv", tmp_path / "contacts.csv"
    opt_ins.write_text("customer_id,channel,opted_in\nC-bo,newsletter,yes\nC-ann,newsletter,yes\n")
    contacts.write_text("customer_id,email\nC-bo,bo@example.com\nC-ann,ann@example.com\n")
    assert (await operate.import_opt_ins(house.ctx, "acme", opt_ins)).changed == 1
    done = await operate.import_contacts(house.ctx, "acme", contacts, dry_run=False, progress=lambda *_: None)
    assert done.file.changed == 1
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        assert await ledger.opt_outs.subscriptions(CustomerId("C-bo")) == []
        assert await ledger.contacts.contact(CustomerId("C-bo")) is None
        assert await ledger.contacts.contact(CustomerId("C-ann")) is not None
