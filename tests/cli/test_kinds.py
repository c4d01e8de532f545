"""A campaign id that both a scheduled and a triggered campaign have: which one is meant, the operator says."""

import json
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
from optirelay.cli.main import run_command
from optirelay.engine.settle import Known
from optirelay.model import Answer, CampaignId, Doubtful, Refusal, Refused

BECAUSE = ("--reason", "looked")


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0, scenario=NOBODY_YET, channel={"triggered_id": 604}) as opened:
        await opened.people({"customer_id": "C-1", "EMAIL": "ana@example.com", "FIRST_NAME": "Ana"})
        await opened.push(17)
        yield opened
        await opened.audit()


@pytest.fixture
def terminal(house: House, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    config = write(tmp_path, database, str(house.optimove.base_url).rstrip("/"), "acme")
    with Path(config).open("a") as file:
        file.write("triggered_id = 604\n")
    return Terminal(config, capsys)


async def both(house: House) -> str:
    """One message of a scheduled campaign in doubt, two of a triggered one with the same id, of two days; the id."""
    campaign_id = await by_hand.sent(house, Doubtful("cut"))
    for day in (2, 3):
        body = {
            "eventTypeID": 11,
            "timeStamp": f"2031-04-0{day} 12:44:09",
            "customerID": "C-1",
            "campaignID": campaign_id,
            "actionID": 214,
            "channelID": 604,
            "templateID": 17,
            "personalization": {"EMAIL": "ana@example.com"},
        }
        assert await house.notify(json.dumps(body).encode()) == 200
        await by_hand.accepted(house)
    answers: list[Answer] = [Doubtful("cut"), Refused(Refusal.REJECTED)]
    for answer in answers:
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER, triggered=True)
        assert taken is not None
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        known = Known(dict.fromkeys([message.number for message in begun.start], answer))
        await pipeline.write_answers(house.ctx, ACME, {taken: known})
    return campaign_id


async def test_where_both_kinds_have_an_id_the_operator_has_to_name_one(house: House, terminal: Terminal) -> None:
    campaign = await both(house)
    assert [s["kind"] for s in await terminal.json("campaigns", "list")] == ["scheduled", "triggered"]
    commands: list[tuple[str, ...]] = [
        *(("campaigns", name, campaign) for name in ("show", "pause", "resume", "cancel", "retry-refused", "export")),
        ("messages", "show", "--customer", "C-1", "--campaign", campaign),
        ("doubts", "resolve", "--sent", *BECAUSE, "--campaign", campaign),
        ("report", "now", "--campaign", campaign),
    ]
    for command in commands:
        status, out, err = await terminal.type(*command)
        assert (status, out) == (2, ""), command
        assert "name one: --kind scheduled or --kind triggered" in err


async def test_the_kind_that_is_named_is_the_one_that_is_meant(house: House, terminal: Terminal) -> None:
    campaign = await both(house)
    triggered = ("--kind", "triggered")
    assert (await terminal.json("campaigns", "show", campaign, "--kind", "scheduled"))["handed_over"] == 1
    assert (await terminal.json("campaigns", "show", campaign, "--audit", *triggered))["handed_over"] == 2
    assert await terminal.type("campaigns", "pause", campaign, *triggered) == (0, f"Campaign {campaign} is paused.", "")
    states = {s["kind"]: s["state"] for s in await terminal.json("campaigns", "list")}
    assert states == {"scheduled": "complete", "triggered": "paused"}
    assert (await terminal.type("campaigns", "resume", campaign, *triggered))[:2] == (
        0,
        f"Campaign {campaign} goes on.",
    )
    assert await terminal.type("campaigns", "retry-refused", campaign, *triggered) == (0, "1 messages go again.", "")
    _, out, _ = await terminal.type("campaigns", "export", campaign, *triggered)
    assert len(out.splitlines()) == 3
    person = ("messages", "show", "--campaign", campaign, "--customer", "C-1")
    (scheduled,) = await terminal.json(*person, "--kind", "scheduled")
    assert (scheduled["kind"], scheduled["trigger"], scheduled["action_id"]) == ("scheduled", None, None)
    assert [m["action_id"] for m in await terminal.json(*person, *triggered)] == ["214", "214"]

    resolve = ("doubts", "resolve", "--sent", *BECAUSE)
    assert await terminal.type(*resolve, "--campaign", campaign, *triggered) == (0, "1 resolved.", "")
    assert [row["kind"] for row in await terminal.json("doubts", "list")] == ["scheduled"]
    told = await terminal.type("report", "now", "--campaign", campaign, *triggered)
    assert told == (0, "Optimove was told everything.", "")
    shapes = {s["kind"]: s["reported"]["accepted"] for s in await terminal.json("campaigns", "list")}
    assert shapes == {"scheduled": 0, "triggered": 1}
    cancelled = await terminal.type("campaigns", "cancel", campaign, *triggered)
    assert cancelled == (0, f"Campaign {campaign} is cancelled.", "")
    assert (await terminal.json("campaigns", "show", campaign, *triggered))["skipped"] == {"cancelled": 1}
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        assert not await ledger.campaigns.cancelled(CampaignId(campaign), NEWSLETTER)  # the scheduled one


@pytest.mark.parametrize("command", [("report", "now"), ("doubts", "resolve", "--sent", *BECAUSE, "--all")])
def test_a_kind_without_a_campaign_is_wrong_use(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command, "--kind", "triggered", "--config", "none.toml"]) == 2
    assert "--campaign CAMPAIGN" in capsys.readouterr().err
