"""All days of a triggered campaign are one campaign to whoever looks at it, stops it and lets it go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from tests import by_hand
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.settle import Known
from optirelay.errors import NeedsOperator
from optirelay.model import Accepted, Answer, CampaignKind, Doubtful, Refusal, Refused

CAMPAIGN = "58831"
CLOSED_BEFORE = date(2031, 5, 1)
PLACE = ("acme", CAMPAIGN, "newsletter")
TRIGGERED = CampaignKind.TRIGGERED


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    """A house without a worker; the ledger is audited at the end."""
    async with open_house(make_settings, workers=0, channel={"triggered_id": 604}) as opened:
        await opened.push(17)
        yield opened
        await opened.audit()


async def fire(house: House, *days: int, **fields: Any) -> None:
    """A customer meets the trigger, on each of these days of April 2031."""
    for day in days:
        known = {
            "eventTypeID": 11,
            "timeStamp": f"2031-04-{day:02} 12:44:09",
            "tenantID": 7001,
            "triggerName": "Looked at loans",
            "customerID": "C-1",
            "campaignID": CAMPAIGN,
            "actionID": 214,
            "channelID": 604,
            "templateID": 17,
            "personalization": {"EMAIL": "ana@example.com"},
        }
        assert await house.notify(json.dumps(known | fields).encode()) == 200
        await by_hand.accepted(house)


async def deliver(house: House, answer: Answer = Accepted()) -> None:  # noqa: B008 - frozen
    """Whatever is due is answered like this."""
    while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER, triggered=True):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        known = Known({message.number: answer for message in begun.start})
        await pipeline.write_answers(house.ctx, ACME, {taken: known})


async def shape_of(house: House, campaign_id: str = CAMPAIGN) -> dict[str, Any]:
    (shape,) = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return shape


async def ask(house: House, statement: str) -> list[Any]:
    """The first column of a statement's rows."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(statement)
        return [row[0] for row in await cursor.fetchall()] if cursor.description else []


async def close_days(house: House) -> None:
    """As a sweep does on the day after."""
    await ask(house, "update campaign set created_at = created_at - interval '2 days'")
    async with house.ctx.store.transaction() as everyone:
        await everyone.close_days(CLOSED_BEFORE, 100)


async def states(house: House) -> list[str]:
    return await ask(house, "select state from campaign order by planned_on")


async def jobs(house: House) -> int:
    """How many jobs are put that skip what is left of a campaign."""
    (found,) = await ask(house, "select count(*) from procrastinate_jobs where task_name like '%call_off'")
    return int(found)


async def test_two_days_are_one_campaign_wherever_it_is_shown(house: House) -> None:
    await fire(house, 2, 3)
    await fire(house, 3, customerID="C-2", personalization={})
    shape = await shape_of(house)
    assert (shape["kind"], shape["state"], shape["planned"], shape["handed_over"]) == ("triggered", "sending", 2, 3)
    assert shape["balanced"] is False
    await deliver(house)

    messages = await operate.messages(house.ctx, "acme", CAMPAIGN, "C-1")
    assert [(m["kind"], m["trigger"], m["action_id"]) for m in messages] == [
        ("triggered", "Looked at loans", "214")
    ] * 2
    told = json.dumps({"events": [{"id": m["sid"], "event": "delivered"} for m in messages]})
    await house.ctx.store.keep_callbacks([(ACME, NEWSLETTER, b"key", told.encode())])
    assert await pipeline.record(house.ctx) == 1
    assert await operate.report_now(house.ctx) == []
    assert await operate.report_now(house.ctx) == []

    shape = await shape_of(house)
    assert shape["reported"].pop("last_at")
    assert shape["reported"].pop("next_at")
    assert {name: shape[name] for name in ("state", "accepted", "skipped", "balanced", "templates", "reported")} == {
        "state": "complete",
        "accepted": 2,
        "skipped": {"no_address": 1},
        "balanced": True,
        "templates": {"17": {"accepted": 2}},
        "reported": {"accepted": 2, "in_doubt_batches": 0, "too_late": 0},
    }
    assert shape["events"]["delivered"] == 2
    rows = [row async for row in operate.export(house.ctx, *PLACE, kind=TRIGGERED)]
    assert sorted(row[4] for row in rows) == ["C-1", "C-1", "C-2"]
    assert len({row[0] for row in rows}) == 3
    metrics = (await operate.prometheus_text(house.ctx.store, [ACME])).decode()
    assert 'optirelay_campaigns{channel="newsletter",state="complete",tenant="acme"} 1.0' in metrics
    assert 'optirelay_recipients{channel="newsletter",reason="",state="accepted",tenant="acme"} 2.0' in metrics

    newest = "where campaign = (select max(id) from campaign) and accepted > 0"
    for change in ("+ 1", "- 1"):
        await ask(house, f"update batch set accepted = accepted {change} {newest}")
        assert bool(await operate.audit(house.ctx, "acme", shape)) is (change == "+ 1")


async def test_what_waits_for_a_template_or_a_channel_is_held(house: House) -> None:
    await fire(house, 2, 3, templateID=99)
    assert (await shape_of(house))["state"] == "held"
    await fire(house, 3)
    assert (await shape_of(house))["state"] == "sending"
    await operate.pause_channel(house.ctx, "acme", "newsletter")
    assert (await shape_of(house))["state"] == "held"


async def test_a_pause_reaches_every_day_and_those_to_come_until_it_goes_on(house: House) -> None:
    await fire(house, 1, 2)
    await deliver(house)
    await close_days(house)
    assert (await states(house), (await shape_of(house))["state"]) == (["complete", "complete"], "complete")
    assert not await operate.resume_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    assert await operate.pause_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    assert not await operate.pause_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    assert (await shape_of(house))["state"] == "paused"

    await fire(house, 2, 3, customerID="C-2")  # one comes late, one begins a day
    await deliver(house)
    shape = await shape_of(house)
    assert (shape["state"], shape["accepted"], shape["planned"]) == ("paused", 2, 2)

    assert await operate.resume_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    assert await states(house) == ["complete", "open", "open"]  # of the first nothing came
    await deliver(house)
    await fire(house, 4)
    await deliver(house)
    shape = await shape_of(house)
    assert (shape["state"], shape["accepted"], shape["planned"], shape["balanced"]) == ("complete", 5, 0, True)
    subjects = set(await ask(house, "select action || ' ' || subject from audit"))
    assert subjects == {f"{what} campaign {CAMPAIGN} on newsletter (triggered)" for what in ("pause", "resume")}


async def test_a_cancel_reaches_every_day_and_those_to_come(house: House) -> None:
    await fire(house, 1, 2)
    await deliver(house)
    await close_days(house)
    await fire(house, 3)
    await operate.cancel_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    assert await jobs(house) == 1  # of the one day with something open
    shape = await shape_of(house)
    assert (shape["state"], shape["skipped"], shape["balanced"]) == ("cancelled", {"cancelled": 1}, True)

    await fire(house, 2, 3, 4, customerID="C-2")
    shape = await shape_of(house)
    assert (shape["accepted"], shape["skipped"], shape["balanced"]) == (2, {"cancelled": 4}, True)
    assert await states(house) == ["cancelled"] * 4
    for decide in (operate.cancel_campaign, operate.pause_campaign, operate.resume_campaign, operate.retry_refused):
        with pytest.raises(NeedsOperator, match="cancelled"):
            await decide(house.ctx, *PLACE, kind=TRIGGERED)


async def test_a_complete_campaign_is_cancelled_before_more_of_it_comes(house: House) -> None:
    await fire(house, 1)
    await deliver(house)
    await close_days(house)
    await operate.cancel_campaign(house.ctx, *PLACE, kind=TRIGGERED)
    await fire(house, 2)
    shape = await shape_of(house)
    assert (shape["state"], shape["accepted"], shape["skipped"]) == ("cancelled", 1, {"cancelled": 1})
    assert await jobs(house) == 0


async def test_whoever_stops_a_campaign_waits_until_no_new_day_of_it_can_begin_unseen(house: House) -> None:
    await fire(house, 1)
    for decide in (operate.pause_campaign, operate.resume_campaign, operate.cancel_campaign):
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.triggers.look(NEWSLETTER, [])  # as who accepts a notification does first
            deciding = asyncio.create_task(decide(house.ctx, *PLACE, kind=TRIGGERED))
            await asyncio.wait([deciding], timeout=0.3)
            assert not deciding.done()
        await deciding
    assert await states(house) == ["cancelled"]


async def test_a_cancel_of_optimove_puts_a_job_for_days_with_something_open_alone(house: House) -> None:
    await fire(house, 1, 2)
    await deliver(house)
    await fire(house, 3)
    assert await house.notify(json.dumps({"EventTypeID": 4, "TenantID": 7001, "CampaignID": 58831}).encode()) == 200
    await by_hand.accepted(house)
    assert (await states(house), await jobs(house)) == (["cancelled"] * 3, 1)
    (day,) = await ask(house, "select id from campaign where planned_on = '2031-04-03'")
    await pipeline.call_off.run(house.ctx, ACME, campaign=day)
    shape = await shape_of(house)
    assert (shape["accepted"], shape["skipped"], shape["balanced"]) == (2, {"cancelled": 1}, True)


async def test_a_cancel_that_comes_first_is_remembered_where_there_are_only_triggers(
    make_settings: MakeSettings,
) -> None:
    channels = {"newsletter": {"kind": "email", "triggered_id": 604, "provider": "null"}}
    async with open_house(make_settings, workers=0, tenant={"channels": channels}) as house:
        await house.push(17)
        assert await house.notify(json.dumps({"EventTypeID": 4, "TenantID": 7001, "CampaignID": 58831}).encode()) == 200
        await by_hand.accepted(house)
        shape = await shape_of(house)
        expected = ("triggered", "cancelled", 0, True)
        assert (shape["kind"], shape["state"], shape["handed_over"], shape["balanced"]) == expected
        await fire(house, 2, timeStamp=None)  # of today, as the cancel
        await fire(house, 3)
        shape = await shape_of(house)
        assert (shape["handed_over"], shape["skipped"], shape["balanced"]) == (2, {"cancelled": 2}, True)
        await house.audit()


async def age(house: House) -> None:
    """Two hours pass for the messages of the newest day."""
    await ask(house, "update message set send_at = send_at - interval '2 hours' where planned_on = '2031-04-03'")


async def test_refused_messages_of_every_day_go_again_but_those_older_than_triggered_ones_live(house: House) -> None:
    await fire(house, 2, 3)
    await deliver(house, Refused(Refusal.REJECTED))
    await close_days(house)
    await age(house)
    assert await operate.retry_refused(house.ctx, *PLACE, kind=TRIGGERED) == (1, 1)
    shape = await shape_of(house)
    assert (shape["state"], shape["planned"], shape["refused"]) == ("sending", 1, {"rejected": 1})
    await deliver(house)
    shape = await shape_of(house)
    assert (shape["state"], shape["accepted"], shape["balanced"]) == ("complete", 1, True)


async def test_doubts_older_than_triggered_messages_live_are_not_sent_again(house: House) -> None:
    await fire(house, 2, 3)
    await deliver(house, Doubtful("cut"))
    assert {row["kind"] for row in await operate.doubts(house.ctx)} == {"triggered"}
    await age(house)
    other = await operate.resolve_doubts(
        house.ctx, operate.Decision.RESEND, "x", campaign_id=CAMPAIGN, kind=CampaignKind.SCHEDULED
    )
    assert (other.done, other.left) == (0, [])
    resolved = await operate.resolve_doubts(
        house.ctx, operate.Decision.RESEND, "x", campaign_id=CAMPAIGN, kind=TRIGGERED
    )
    assert resolved.done == 1
    (left,) = resolved.left
    assert "older than expire_triggered_after" in left
    shape = await shape_of(house)
    assert (shape["planned"], shape["in_doubt"]) == (1, 1)


async def test_a_report_of_several_days_is_told_of_in_one_sentence(house: House) -> None:
    await fire(house, 2, 3)
    await deliver(house)
    await house.fault("UpdateCampaignInteractions", "cut_after", times=2)
    (sentence,) = await operate.report_now(house.ctx)
    assert sentence.startswith(f"campaign {CAMPAIGN} of acme, channel newsletter: 2 calls were sent and not answered")
    assert {row["kind"] for row in await operate.report_doubts(house.ctx)} == {"triggered"}
    await fire(house, 4, 5)
    await deliver(house)
    await house.fault("UpdateCampaignInteractions", "unauthorized", times=2)
    assert len(await operate.report_now(house.ctx)) == 1
    assert await operate.report_now(house.ctx) == []
    assert (await shape_of(house))["reported"]["accepted"] == 2


async def test_a_campaign_that_no_call_can_name_says_why_it_is_not_told_and_is_no_failure(house: House) -> None:
    await fire(house, 2, campaignID="spring")
    await deliver(house)
    assert await operate.report_now(house.ctx) == []
    assert 'report = "save_event"' in (await shape_of(house, "spring"))["reported"]["why"]
    await fire(house, 2)
    assert "why" not in (await shape_of(house))["reported"]
