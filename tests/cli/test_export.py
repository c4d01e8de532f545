"""`campaigns export`: a row for each message, to standard output or a file, safe to open in a spreadsheet."""

import csv
import io
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests import by_hand
from tests.cli.test_deciding import Terminal
from tests.cli.test_trouble import write
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.operate.exporting import defused
from optirelay.engine.settle import Known
from optirelay.model import Accepted, Answer, Later, Refusal, Refused

FORMULA = "=HYPERLINK(1)"
PEOPLE = [
    {"customer_id": "007", "EMAIL": "ana@example.com"},
    {"customer_id": FORMULA, "EMAIL": "bo@example.com"},
    {"customer_id": 'Zoë, "Z"', "EMAIL": "zoe@example.com"},
    {"customer_id": "-5"},
]


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0, scenario=NOBODY_YET) as opened:
        await opened.people(*PEOPLE)
        await opened.push(17, html="<p>Hello</p>")
        yield opened


@pytest.fixture
def terminal(house: House, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(write(tmp_path, database, str(house.optimove.base_url).rstrip("/"), "acme"), capsys)


async def call_back(house: House, *events: dict[str, str]) -> None:
    """The newsletter's provider tells of messages, and it is read."""
    await house.ctx.store.keep_callbacks([(ACME, NEWSLETTER, b"key", json.dumps({"events": events}).encode())])
    assert await pipeline.record(house.ctx) == 1


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["customer_id"]: row for row in csv.DictReader(io.StringIO(text))}


async def test_every_message_is_a_row_that_says_what_messages_show_says(house: House, terminal: Terminal) -> None:
    campaign_id = await by_hand.fetched(house)
    taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
    assert taken is not None
    begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=100)
    ana, bo, zoe = sorted(begun.start, key=lambda message: message.address)
    answers: dict[int, Answer] = {
        ana.number: Accepted("-id of ana@example.com"),
        bo.number: Refused(Refusal.REJECTED, "550 no"),
        zoe.number: Later("450 busy"),
    }
    await pipeline.write_answers(house.ctx, ACME, {taken: Known(answers)})
    told = [
        {"id": ana.sid, "event": word, "at": f"2020-01-0{day}"} for day, word in enumerate(("opened", "sent", "?"), 1)
    ]
    await call_back(house, *told, {"id": bo.sid, "event": "delivered"})

    status, out, err = await terminal.type("campaigns", "export", campaign_id, "--kind", "scheduled")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == ",".join(operate.EXPORT_COLUMNS)
    rows = rows_of(out)
    assert set(rows) == {"007", f"'{FORMULA}", 'Zoë, "Z"', "-5"}
    for person in PEOPLE:
        customer_id = person["customer_id"]
        row = rows[defused(customer_id)]
        (shown,) = await operate.messages(house.ctx, "acme", campaign_id, customer_id)
        for key in ("sid", "tenant", "channel", "campaign_id", "send_at", "state"):
            assert row[key] == shown[key]
        assert (row["template_id"], row["reason"]) == (str(shown["template_id"]), shown["reason"] or "")
        assert int(row["attempts"]) == len(shown["attempts"])
    assert {row["to"] for row in rows.values()} == {"a…@example.com", "b…@example.com", "z…@example.com", ""}
    assert rows["007"]["provider_id"] == "'-id of a…@example.com"
    assert rows["-5"]["reason"] == "no_address"
    assert (rows["007"]["state"], rows[f"'{FORMULA}"]["state"]) == ("opened", "refused")

    show = ("messages", "show", "--campaign", campaign_id, "--customer", "007")
    (message,) = await terminal.json(*show)
    assert message["events"] == [
        {"event": word, "at": f"2020-01-0{day}T00:00:00Z"} for day, word in enumerate(("opened", "sent", "?"), 1)
    ]
    _, out, _ = await terminal.type(*show)
    assert [line.split()[-1] for line in out.splitlines()[-3:]] == ["opened", "sent", "?"]
    assert (await terminal.json("campaigns", "show", campaign_id))["events"] == {
        **dict.fromkeys(("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"), 0),
        "delivered": 1,
        "opened": 1,
    }

    status, out, _ = await terminal.type("campaigns", "export", campaign_id, "--addresses")
    assert {row["to"] for row in rows_of(out).values()} == {"ana@example.com", "bo@example.com", "zoe@example.com", ""}


async def test_a_file_is_there_once_it_is_whole(house: House, terminal: Terminal, tmp_path: Path) -> None:
    campaign_id = await by_hand.fetched(house)
    file = tmp_path / "out" / "campaign.csv"
    status, _, err = await terminal.type("campaigns", "export", campaign_id, "--output", str(file))
    assert (status, err.startswith(f"optirelay: cannot write {file}: No such file or directory")) == (1, True)
    file.parent.mkdir()
    assert await terminal.type("campaigns", "export", campaign_id, "--output", str(file)) == (0, "", "")
    assert len(rows_of(file.read_text())) == len(PEOPLE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    status, _, err = await terminal.type("campaigns", "export", "1", "--output", str(file))
    assert (status, "there is no campaign 1 here" in err) == (1, True)
    assert len(rows_of(file.read_text())) == len(PEOPLE)
    assert list(file.parent.iterdir()) == [file]
    status, _, err = await terminal.type("campaigns", "export", campaign_id, "--output", "/dev/null")
    assert (status, "/dev/null is no file" in err) == (1, True)


async def test_a_reader_that_goes_away_is_no_error_to_talk_about(house: House, database: str, tmp_path: Path) -> None:
    many = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com"} for n in range(2000)]
    await house.people(*many)
    campaign_id = await by_hand.fetched(house)
    config = write(tmp_path, database, "http://127.0.0.1:1", "acme")
    command = [sys.executable, "-m", "optirelay", "campaigns", "export", campaign_id, "--config", config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b"sid,tenant,")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 1


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-5", "-5"),
        ("+33612345678", "+33612345678"),
        ("-1.5", "-1.5"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_what_a_spreadsheet_would_run_is_defused(cell: str, safe: str) -> None:
    assert defused(cell) == safe
