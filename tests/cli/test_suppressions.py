"""`suppressions` at the terminal: whatever the spelling of an address, nobody writes to it until it is taken out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests import by_hand
from tests.cli.test_deciding import Terminal
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine.offering import keep_template
from optirelay.engine.operate.deciding import account
from optirelay.engine.settle import Known
from optirelay.model import Accepted, ChannelName, TemplateContent, TemplateId

PEOPLE = [
    {"customer_id": "C-1", "EMAIL": "Ann.Lee@Example.com", "MOBILE": "+33 6 12 34 56 78"},
    {"customer_id": "C-2", "EMAIL": "bo@example.com", "MOBILE": "0687654321"},
]
CHANNELS: dict[str, dict[str, Any]] = {
    "newsletter": {"scheduled_id": 504, "provider": "null"},
    "texts": {"kind": "sms", "scheduled_id": 604, "provider": "null", "address": "attribute:MOBILE"},
}
SETTINGS = f"""\
[service]
database = "{{database}}"
public_url = "http://127.0.0.1:8400"
[tenants.acme]
api_url = "{{optimove}}"
api_key = "demo-key"
listener_secret = "{LISTENER_SECRET}"
default_country = "FR"
timezone = "Europe/Paris"
[tenants.acme.channels.newsletter]
scheduled_id = 504
provider = "null"
[tenants.acme.channels.texts]
kind = "sms"
scheduled_id = 604
provider = "null"
address = "attribute:MOBILE"
"""
ANOTHER = f"""\
[tenants.globex]
api_url = "http://127.0.0.1:1"
api_key = "another-key"
listener_secret = "{LISTENER_SECRET}"
[tenants.globex.channels.letters]
scheduled_id = 504
provider = "null"
"""
TOKEN = "dK3:APA91bF-Zq7"


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    tenant = {"channels": CHANNELS, "default_country": "FR"}
    async with open_house(make_settings, workers=0, scenario=NOBODY_YET, tenant=tenant) as opened:
        await opened.people(*PEOPLE)
        for channel in CHANNELS:
            async with opened.ctx.store.tenant(ACME).transaction() as ledger:
                content = TemplateContent("Hello", "Hello")
                await keep_template(ledger, ChannelName(channel), TemplateId(17), key="t", name="T", content=content)
        yield opened


@pytest.fixture
def config(house: House, database: str, tmp_path: Path) -> Path:
    file = tmp_path / "optirelay.toml"
    file.write_text(SETTINGS.format(database=database, optimove=str(house.optimove.base_url).rstrip("/")))
    return file


@pytest.fixture
def terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(str(config), capsys)


async def written_to(house: House, channel: str) -> set[str]:
    """Which customers a campaign on the channel is sent to now."""
    await by_hand.fetched(house, channel=CHANNELS[channel]["scheduled_id"])
    started: set[str] = set()
    while taken := await pipeline.take(house.ctx, ACME, ChannelName(channel)):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=100)
        started |= {message.customer_id for message in begun.start}
        known = Known({message.number: Accepted() for message in begun.start})
        await pipeline.write_answers(house.ctx, ACME, {taken: known})
    return started


async def decisions(house: House) -> list[tuple[str, str, str, str]]:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select action, subject, account, reason from audit order by id")
        return [(*row,) for row in await cursor.fetchall()]


async def test_an_address_is_suppressed_whatever_its_spelling_until_it_is_taken_out(
    house: House, terminal: Terminal
) -> None:
    add, remove = ("suppressions", "add"), ("suppressions", "remove")
    done, before, again = (
        "The address is suppressed.",
        "The address was suppressed already.",
        "The address is written to again.",
    )
    assert await written_to(house, "newsletter") == await written_to(house, "texts") == {"C-1", "C-2"}
    because = ("--reason", "a letter from her lawyer")
    assert await terminal.type(*add, "ANN.LEE@EXAMPLE.COM", *because) == (0, done, "")
    assert await terminal.type(*add, "ann.lee@example.com") == (0, before, "")
    assert await terminal.type(*add, "06 12 34 56 78") == (0, done, "")
    assert await terminal.type(*add, "+33612345678") == (0, before, "")
    assert await terminal.type(*add, "+33687654321", "--channel", "newsletter") == (0, done, "")
    assert await terminal.type(*add, TOKEN) == (0, done, "")
    assert await written_to(house, "newsletter") == await written_to(house, "texts") == {"C-2"}

    rows = await terminal.json("suppressions", "list")
    assert [(row["address"], row["channel"], row["reason"], row["note"]) for row in rows] == [
        ("ann.lee@example.com", None, "manual", "a letter from her lawyer"),
        ("+33612345678", None, "manual", ""),
        ("+33687654321", "newsletter", "manual", ""),
        (TOKEN.lower(), None, "manual", ""),
    ]
    assert all(list(row) == ["tenant", "channel", "address", "reason", "note", "at"] for row in rows)
    only = await terminal.json("suppressions", "list", "--channel", "newsletter")
    assert [row["address"] for row in only] == ["+33687654321"]
    status, table, _ = await terminal.type("suppressions", "list")
    assert status == 0
    assert all(shown in table for shown in ("a…@example.com", "+33…78", "+33…21", "a letter from her lawyer"))
    assert not any(row["address"] in table for row in rows)
    status, table, _ = await terminal.type("suppressions", "list", "--addresses")
    assert all(row["address"] in table for row in rows)

    nowhere = "the address is not suppressed there; see `optirelay suppressions list`"
    assert await terminal.type(*remove, "0687654321", "--channel", "texts") == (1, "", nowhere)
    assert await terminal.type(*remove, "0687654321", "--channel", "newsletter") == (0, again, "")
    assert await terminal.type(*remove, "Ann.Lee@example.com") == (0, again, "")
    assert await terminal.type(*remove, "Ann.Lee@example.com") == (1, "", nowhere)
    assert await terminal.type(*remove, TOKEN) == (0, again, "")
    assert await written_to(house, "newsletter") == {"C-1", "C-2"}
    assert await terminal.type(*remove, "33612345678") == (0, again, "")
    assert await terminal.type("suppressions", "list") == (0, "No address is suppressed.", "")
    assert await terminal.json("suppressions", "list") == []

    me = account()
    assert await decisions(house) == [
        ("suppress", "A…@EXAMPLE.COM", me, "a letter from her lawyer"),
        ("suppress", "06 …78", me, ""),
        ("suppress", "+33…21", me, ""),
        ("suppress", "dK3…q7", me, ""),
        ("unsuppress", "068…21", me, ""),
        ("unsuppress", "A…@example.com", me, ""),
        ("unsuppress", "dK3…q7", me, ""),
        ("unsuppress", "336…78", me, ""),
    ]


async def test_a_suppression_on_one_channel_leaves_the_others(house: House, terminal: Terminal) -> None:
    add = ("suppressions", "add", "--channel", "texts")
    assert (await terminal.type(*add, "+33612345678"))[0] == (await terminal.type(*add, "bo@example.com"))[0] == 0
    assert await written_to(house, "texts") == {"C-2"}
    assert await written_to(house, "newsletter") == {"C-1", "C-2"}
    remove = ("suppressions", "remove", "+33612345678")
    assert (await terminal.type(*remove))[0] == 0  # without a channel: wherever it was
    assert await written_to(house, "texts") == {"C-1", "C-2"}


async def test_what_cannot_be_meant_is_said_with_its_mend(terminal: Terminal, config: Path) -> None:
    no_channel = "optirelay: tenant acme has no channel letters; name one of newsletter, texts"
    assert await terminal.type("suppressions", "add", "bo@example.com", "--channel", "letters") == (1, "", no_channel)
    assert await terminal.type("suppressions", "remove", "bo@example.com", "--channel", "letters") == (
        1,
        "",
        no_channel,
    )
    status, _, err = await terminal.type("suppressions", "add", "bo@")
    assert (status, err) == (1, "optirelay: bo@ is no e-mail address; write one such as ann@example.com")
    status, _, err = await terminal.type("suppressions", "add", " ")
    assert (status, "this is no address" in err) == (1, True)

    config.write_text(config.read_text() + ANOTHER)
    several = "there are several tenants; name one: --tenant acme or --tenant globex"
    for command in ("add", "remove"):
        assert await terminal.type("suppressions", command, "bo@example.com") == (2, "", several)
    unknown = await terminal.type("suppressions", "add", "bo@example.com", "--tenant", "initech")
    assert unknown[0] == 1
    assert "there is no tenant initech in the settings; name one of acme, globex" in unknown[2]
    assert (await terminal.type("suppressions", "add", "bo@example.com", "--tenant", "globex"))[0] == 0
    assert (await terminal.type("suppressions", "add", "al@example.com", "--tenant", "acme"))[0] == 0
    rows = await terminal.json("suppressions", "list")
    assert [(row["tenant"], row["address"]) for row in rows] == [
        ("acme", "al@example.com"),
        ("globex", "bo@example.com"),
    ]
    assert [row["tenant"] for row in await terminal.json("suppressions", "list", "--tenant", "globex")] == ["globex"]
