"""`optins show` at the terminal: what a customer said of each channel."""

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
    nothing: dict[str, Any] = {"opted_in": None, "at": None, "source": None, "history": []}
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
