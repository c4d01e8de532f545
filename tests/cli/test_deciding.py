"""Stop, go and resolve at the terminal: what is said, and the exit status."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests import by_hand
from tests.cli.test_trouble import write
from tests.conftest import MakeSettings
from tests.house import NOBODY_YET, House, open_house

from optirelay.cli.main import run_command
from optirelay.model import Doubtful, Refusal, Refused

PEOPLE = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "FIRST_NAME": f"N{n}"} for n in range(3)]


class Terminal:
    """Types commands; what comes back is status, standard output and standard error."""

    def __init__(self, config: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    async def type(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = await asyncio.to_thread(run_command, [*arguments, "--config", self._config])
        out, err = self._capsys.readouterr()
        return status, out.strip(), err.strip()

    async def json(self, *arguments: str) -> Any:
        status, out, _ = await self.type(*arguments, "--json")
        assert status == 0
        return json.loads(out)


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0, scenario=NOBODY_YET) as opened:
        await opened.people(*PEOPLE)
        await opened.push(17)
        yield opened
        await opened.audit()


@pytest.fixture
def terminal(house: House, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(write(tmp_path, database, str(house.optimove.base_url).rstrip("/"), "acme"), capsys)


async def test_a_campaign_is_paused_resumed_and_cancelled(house: House, terminal: Terminal) -> None:
    campaign = await by_hand.fetched(house)
    assert await terminal.type("campaigns", "pause", campaign) == (0, f"Campaign {campaign} is paused.", "")
    assert await terminal.type("campaigns", "pause", campaign) == (0, f"Campaign {campaign} was paused already.", "")
    assert (await terminal.json("campaigns", "show", campaign))["state"] == "paused"
    assert await terminal.type("campaigns", "resume", campaign) == (0, f"Campaign {campaign} goes on.", "")
    assert await terminal.type("campaigns", "cancel", campaign) == (0, f"Campaign {campaign} is cancelled.", "")
    shape = await terminal.json("campaigns", "show", campaign)
    assert (shape["state"], shape["skipped"], shape["balanced"]) == ("cancelled", {"cancelled": 3}, True)
    for command in ("pause", "resume", "cancel"):
        status, out, err = await terminal.type("campaigns", command, campaign)
        assert (status, out) == (1, "")
        assert err == f"optirelay: campaign {campaign} is cancelled; nothing of it is left to send"


async def test_a_campaign_that_nobody_knows_is_an_error(terminal: Terminal) -> None:
    for command in ("pause", "resume", "cancel", "retry-refused"):
        status, _, err = await terminal.type("campaigns", command, "4711")
        assert (status, err) == (1, "there is no campaign 4711 here; see `optirelay campaigns list`")


async def test_a_channel_is_paused_and_resumed(terminal: Terminal) -> None:
    assert await terminal.type("channels", "pause", "newsletter") == (0, "Channel newsletter is paused.", "")
    assert (await terminal.json("channels", "list"))[0]["state"] == "paused"
    assert await terminal.type("channels", "resume", "newsletter") == (0, "Channel newsletter goes on.", "")
    neither = "Channel newsletter was neither paused nor stopped."
    assert await terminal.type("channels", "resume", "newsletter") == (0, neither, "")
    status, _, err = await terminal.type("channels", "pause", "letters")
    assert (status, err) == (1, "there is no channel letters here; see `optirelay channels list`")


async def test_refused_messages_are_tried_again(house: House, terminal: Terminal) -> None:
    campaign = await by_hand.sent(house, Refused(Refusal.REJECTED))
    assert await terminal.type("campaigns", "retry-refused", campaign) == (0, "3 messages go again.", "")
    shape = await terminal.json("campaigns", "show", campaign)
    assert (shape["planned"], shape["refused"]) == (3, {})


async def test_doubts_are_resolved_by_sid_by_campaign_and_all(house: House, terminal: Terminal) -> None:
    campaign = await by_hand.sent(house, Doubtful("cut"))
    first, *_ = await terminal.json("doubts", "list")
    because = ("--reason", "asked the provider")
    assert await terminal.type("doubts", "resolve", "--sent", *because, first["sid"]) == (0, "1 resolved.", "")
    status, out, err = await terminal.type("doubts", "resolve", "--sent", *because, first["sid"])
    assert (status, out, err) == (1, "0 resolved.", f"{first['sid']} is not in doubt")
    resolved = await terminal.type("doubts", "resolve", "--give-up", *because, "--campaign", campaign)
    assert resolved == (0, "2 resolved.", "")
    assert await terminal.type("doubts", "resolve", "--resend", *because, "--all") == (0, "0 resolved.", "")
    assert (await terminal.json("campaigns", "show", campaign))["refused"] == {"given_up": 2}
    assert await terminal.json("doubts", "list") == []


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("--reason", "x", "--all"), "--sent, --resend and --give-up"),
        (("--sent", "--resend", "--reason", "x", "--all"), "--sent, --resend and --give-up"),
        (("--sent", "--all"), "--reason TEXT"),
        (("--sent", "--reason", " ", "--all"), "--reason TEXT"),
        (("--sent", "--reason", "x"), "name what is meant"),
        (("--sent", "--reason", "x", "--all", "--campaign", "1"), "name what is meant"),
        (("--sent", "--reason", "x", "--report", "1", "s_1"), "name what is meant"),
    ],
)
async def test_half_a_decision_is_wrong_use(terminal: Terminal, arguments: tuple[str, ...], missing: str) -> None:
    status, out, err = await terminal.type("doubts", "resolve", *arguments)
    assert (status, out) == (2, "")
    assert missing in err
