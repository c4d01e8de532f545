"""`optins` at the terminal: what customers said of each channel, shown and imported."""

import csv
import gzip
import os
import pty
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_deciding import Terminal
from tests.cli.test_suppressions import ANOTHER, SETTINGS
from tests.conftest import MakeSettings
from tests.house import ACME

from optirelay.engine import runtime
from optirelay.model import ChannelName, CustomerId
from optirelay.store.opt_outs import Statement

JANUARY, FEBRUARY, MARCH = (datetime(2031, month, 1, 10, tzinfo=UTC) for month in (1, 2, 3))


def said(at: datetime, source: str, *, opted_in: bool, customer: str = "007", channel: str = "newsletter") -> Statement:
    return Statement(CustomerId(customer), ChannelName(channel), at, opted_in, source)


async def test_what_a_customer_said_of_each_channel_is_shown_with_its_history(
    make_settings: MakeSettings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    terminal = Terminal(str(config), capsys)
    nothing: dict[str, Any] = {"opted_in": None, "at": None, "source": None, "shared": None, "history": []}
    assert await terminal.json("optins", "show", "007") == [
        {"tenant": "acme", "channel": channel, **nothing} for channel in ("newsletter", "texts")
    ]

    settings = make_settings(tenant={"default_country": "FR"})
    async with runtime.open_context(settings, database) as ctx, ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.opt_outs.keep([said(FEBRUARY, "link", opted_in=False)])
        await ledger.opt_outs.keep([said(MARCH, "replied", opted_in=False)])
        await ledger.opt_outs.keep([said(MARCH, "import", opted_in=True)])
        await ledger.opt_outs.keep([said(JANUARY, "import", opted_in=True)])  # heard last, said first
        for yes, source in ((True, "import"), (False, "link")):  # of a channel that the settings had
            await ledger.opt_outs.keep([said(MARCH, source, opted_in=yes, channel="faxes")])
        await ledger.opt_outs.keep([said(MARCH, "link", opted_in=False, customer="7")])

    newsletter, texts, faxes = await terminal.json("optins", "show", "007")
    history = newsletter.pop("history")
    assert newsletter == {
        "tenant": "acme",
        "channel": "newsletter",
        "opted_in": False,
        "at": "2031-03-01T10:00:00Z",
        "source": "replied",
        "shared": None,
    }
    assert history[:2] == [
        {"opted_in": True, "at": "2031-01-01T10:00:00Z", "source": "import"},
        {"opted_in": False, "at": "2031-02-01T10:00:00Z", "source": "link"},
    ]
    assert [each["source"] for each in history[2:]] == ["replied", "import"]
    assert texts == {"tenant": "acme", "channel": "texts", **nothing}
    assert (faxes["channel"], faxes["opted_in"], len(faxes["history"])) == ("faxes", False, 2)
    status, table, err = await terminal.type("optins", "show", "007")
    assert (status, err) == (0, "")
    assert [line.split() for line in table.splitlines()] == [
        ["channel", "opted", "in", "at", "source"],
        ["newsletter", "no", "2031-03-01", "11:00:00", "CET", "replied"],
        ["texts", "-", "-", "-"],
        ["faxes", "no", "2031-03-01", "11:00:00", "CET", "link"],
    ]

    config.write_text(config.read_text() + ANOTHER)
    several = "there are several tenants; name one: --tenant acme or --tenant globex"
    assert await terminal.type("optins", "show", "007") == (2, "", several)
    assert [row["channel"] for row in await terminal.json("optins", "show", "007", "--tenant", "globex")] == ["letters"]


EVERY_REASON = """\
customer_id,channel,opted_in,at,source
007,newsletter,yes,2025-03-01T10:00:00Z,crm
007,texts,NO,2025-03-01T12:00:00+02:00,
8,newsletter,1,,
,newsletter,yes,,
9,faxes,yes,,
9,newsletter,maybe,,
9,newsletter,yes,2999-01-01,
"9",newsletter,yes
"10 and
a line break",texts,no,,
\xff,texts,no,,
"""
MENDED = EVERY_REASON.partition(",newsletter,yes,,\n")[0]


async def test_a_file_is_imported_and_what_is_rejected_stands_beside_it(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    terminal = Terminal(str(config), capsys)
    file = tmp_path / "said.csv"
    rejects = tmp_path / "said.csv.rejected.csv"
    file.write_bytes(EVERY_REASON.encode("latin-1"))

    said = f"4 rows would be in; 6 are rejected: see {rejects}"
    assert await terminal.type("optins", "import", str(file), "--dry-run") == (0, said, "")
    assert {row["at"] for row in await terminal.json("optins", "show", "007")} == {None}
    rejects.unlink()

    said = f"4 rows are in, 4 changed something; 6 are rejected: see {rejects}"
    assert await terminal.type("optins", "import", str(file), "--strict") == (1, said, "")
    newsletter, texts = await terminal.json("optins", "show", "007")
    assert (newsletter["opted_in"], newsletter["at"], newsletter["source"]) == (True, "2025-03-01T10:00:00Z", "crm")
    assert (texts["opted_in"], texts["at"], texts["source"]) == (False, "2025-03-01T10:00:00Z", "import")
    assert (await terminal.json("optins", "show", "8"))[0]["at"] >= "2026"
    assert (await terminal.json("optins", "show", "10 and\na line break"))[1]["opted_in"] is False
    assert rejects.read_bytes() == (
        b"line,reason,customer_id,channel,opted_in,at,source\n"
        b"5,no_customer,,newsletter,yes,,\n"
        b"6,unknown_channel,9,faxes,yes,,\n"
        b"7,bad_value,9,newsletter,maybe,,\n"
        b"8,bad_time,9,newsletter,yes,2999-01-01,\n"
        b"9,bad_row,9,newsletter,yes\n"
        b'12,bad_row,"\xff,texts,no,,"\n'
    )
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600

    file.write_text(MENDED)
    said = "3 rows are in, 1 changed something; none is rejected."  # who said it without a time says it now
    assert await terminal.type("optins", "import", str(file), "--strict") == (0, said, "")
    assert sorted(tmp_path.glob("*said*")) == [file]


async def test_json_lines_and_packed_files_are_imported_too(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1") + ANOTHER)
    terminal = Terminal(str(config), capsys)
    file = tmp_path / "said.jsonl.gz"
    rows = ['{"customer_id": "01", "channel": "letters", "opted_in": true}', '{"customer_id": 2, "opted_in": 0}']
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    assert (await terminal.type("optins", "import", str(file)))[0] == 2  # there are several tenants
    said = f"1 row is in, 1 changed something; 1 is rejected: see {file}.rejected.csv"
    assert await terminal.type("optins", "import", str(file), "--tenant", "globex") == (0, said, "")
    with Path(f"{file}.rejected.csv").open(newline="") as written:
        assert list(csv.reader(written)) == [["line", "reason", "row"], ["2", "unknown_channel", rows[1]]]
    (shown,) = await terminal.json("optins", "show", "01", "--tenant", "globex")
    assert (shown["channel"], shown["opted_in"]) == ("letters", True)


async def test_a_file_that_cannot_be_read_is_an_error_with_the_mend(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    terminal = Terminal(str(config), capsys)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "header.csv").write_text("customer_id,channel,opted in\n")
    packed = gzip.compress(b"customer_id,channel,opted_in\n" + b"".join(b"%d,texts,yes\n" % n for n in range(50_000)))
    (tmp_path / "half.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "plain.csv.gz").write_text("customer_id,channel,opted_in\n")
    (tmp_path / "blocked.csv").write_text("customer_id,channel,opted_in\n,texts,yes\n")
    (tmp_path / "blocked.csv.rejected.csv").mkdir()
    for name, wrong in (
        ("missing.csv", "cannot read {}: No such file or directory; name a file that you may read"),
        ("said.xlsx", "{}: its ending does not say what it is; name it .csv or .jsonl"),
        ("folder.csv", "{} is no file; name one"),
        ("header.csv", "{}: there is no column opted_in; begin with"),
        ("half.csv.gz", "cannot read {} to its end: "),
        ("plain.csv.gz", "cannot read {} to its end: Not a gzipped file"),
        ("blocked.csv", "cannot write {}.rejected.csv: Is a directory"),
    ):
        before = sorted(tmp_path.iterdir())
        status, out, err = await terminal.type("optins", "import", str(tmp_path / name))
        assert (status, out) == (1, "")
        assert err.startswith(f"optirelay: {wrong.format(tmp_path / name)}")
        assert sorted(tmp_path.iterdir()) == before


def test_at_a_terminal_a_bar_shows_how_far_it_is(database: str, tmp_path: Path) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    file = tmp_path / "said.csv"
    file.write_text("customer_id,channel,opted_in\n1,texts,yes\n")
    command = [sys.executable, "-m", "optirelay", "optins", "import", str(file), "--config", str(config)]
    shown, terminal = pty.openpty()
    try:
        ran = subprocess.run(
            command, stderr=terminal, stdout=subprocess.PIPE, check=True, env={**os.environ, "TERM": "xterm"}
        )
        assert ran.stdout == b"1 row is in, 1 changed something; none is rejected.\n"
        text = os.read(shown, 65536).decode()
        assert "said.csv" in text
        assert "41/41 bytes" in text
    finally:
        os.close(terminal)
        os.close(shown)
