"""What an operator looks at and does, against a real database and a simulated Optimove."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests import by_hand
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate, runtime, troubles
from optirelay.errors import NeedsOperator
from optirelay.model import Accepted, Doubtful, Later, Refusal, Refused

PEOPLE = [
    {"customer_id": "C-1", "EMAIL": "ana@example.com", "FIRST_NAME": "Ana"},
    {"customer_id": "C-2", "EMAIL": "bo@example.com", "FIRST_NAME": "Bo"},
    {"customer_id": "C-3", "FIRST_NAME": "Without"},
]


DOUBT = {"sid", "tenant", "channel", "campaign_id", "kind", "customer_id", "to", "since", "contract"}


@asynccontextmanager
async def a_house(make_settings: MakeSettings, **how: Any) -> AsyncIterator[House]:
    """A house without a worker, three customers and template 17."""
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, **how) as house:
        await house.people(*PEOPLE)
        await house.push(17)
        yield house


async def shape_of(house: House) -> dict[str, Any]:
    (shape,) = await operate.campaigns(house.ctx)
    return shape


# --- campaigns --------------------------------------------------------------------------------------------------------


async def test_a_finished_campaign_is_balanced_and_says_what_became_of_everybody(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET) as house:
        await house.people(*PEOPLE)
        await house.push(17)
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        await house.until_reported(campaign_id)
        shape = await shape_of(house)
        last_at, next_at = shape["reported"].pop("last_at"), shape["reported"].pop("next_at")
        assert shape == {
            "tenant": "acme",
            "channel": "newsletter",
            "campaign_id": campaign_id,
            "kind": "scheduled",
            "state": "complete",
            "found_by": "notification",
            "handed_over": 3,
            "planned": 0,
            "sending": 0,
            "accepted": 2,
            "skipped": {"no_address": 1},
            "refused": {},
            "in_doubt": 0,
            "balanced": True,
            "events": dict.fromkeys(("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"), 0),
            "templates": {"17": {"accepted": 2}},
            "reported": {"accepted": 2, "in_doubt_batches": 0, "too_late": 0},
        }
        assert last_at.endswith("Z")
        assert next_at > last_at
        assert await operate.audit(house.ctx, ACME, shape) == []


async def test_a_campaign_is_fetching_then_planned_then_sending(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await by_hand.announced(house)
        shape = await shape_of(house)
        assert (shape["state"], shape["handed_over"], shape["balanced"]) == ("fetching", 0, False)
        await by_hand.gather_all(house)
        shape = await shape_of(house)
        assert (shape["state"], shape["planned"], shape["sending"], shape["balanced"]) == ("sending", 2, 0, False)
        await by_hand.started(house, most=1)
        shape = await shape_of(house)
        assert (shape["state"], shape["planned"], shape["sending"], shape["balanced"]) == ("sending", 1, 1, False)


async def test_a_campaign_waits_while_nothing_of_it_is_due_and_a_cancel_skips_the_rest(
    make_settings: MakeSettings,
) -> None:
    async with a_house(make_settings) as house:
        campaign_id = await by_hand.fetched(house, send_at=["+1h"])
        shape = await shape_of(house)
        assert (shape["state"], shape["planned"], shape["handed_over"]) == ("waiting", 2, 3)
        await house.cancel(campaign_id)
        await by_hand.accepted(house)
        shape = await shape_of(house)
        assert (shape["state"], shape["balanced"]) == ("cancelled", False)
        await pipeline.call_off.run(house.ctx, ACME, campaign=(await house.campaign(campaign_id)).id)
        shape = await shape_of(house)
        assert (shape["state"], shape["balanced"]) == ("cancelled", True)
        assert shape["skipped"] == {"cancelled": 2, "no_address": 1}


async def test_a_campaign_is_held_while_all_that_is_left_waits_for_a_template(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await by_hand.fetched(house, templates=[99])
        assert (await shape_of(house))["state"] == "held"
        assert [row["kind"] for row in await operate.problems(house.ctx)] == ["unknown_template"]


async def test_a_campaign_cancelled_before_it_was_known_is_balanced_at_nothing(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await house.notify(b'{"EventTypeID":4,"TimeStamp":"2031-04-02 07:02:13","CampaignID":90211}')
        await by_hand.accepted(house)
        shape = await shape_of(house)
        assert (shape["state"], shape["handed_over"], shape["balanced"]) == ("cancelled", 0, True)


async def test_campaigns_are_found_by_id_channel_and_tenant(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        one, other = await by_hand.announced(house), await by_hand.announced(house)
        assert [s["campaign_id"] for s in await operate.campaigns(house.ctx)] == [one, other]
        assert [s["campaign_id"] for s in await operate.campaigns(house.ctx, campaign_id=other)] == [other]
        assert await operate.campaigns(house.ctx, channel="texts") == []
        with pytest.raises(NeedsOperator, match="there is no tenant globex in the settings; name one of acme"):
            await operate.campaigns(house.ctx, tenant="globex")


WRONG = {
    "update batch set accepted = accepted - 1, begun = begun - 1 where accepted > 0": "accepted: 2 by rows, 1 by",
    """update batch set skipped = '{"expired": 1}' where skipped <> '{}'""": "skipped: {'no_address': 1} by rows,",
    "update page set new = new + 1 where new > 0": "handed_over: 3 by rows, 4 by counters and pages",
    "update batch set total = total + 1 where accepted > 0": "planned: 0 by rows, 1 by counters and pages",
    "delete from outcome where state = 'accepted'": "sending: 2 by rows, 0 by counters and pages",
}


async def test_an_audit_tells_every_number_that_differs(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await by_hand.sent(house)
        shape = await shape_of(house)
        assert await operate.audit(house.ctx, ACME, shape) == []
        for wrong, told in WRONG.items():
            differences = await audit_after(house, wrong, shape)
            assert any(difference.startswith(told) for difference in differences), differences
        shown = await audit_after(house, "update batch set accepted = 1, begun = 1 where accepted = 2", shape)
        assert any("its counters differ from its rows" in difference for difference in shown)


async def audit_after(house: House, wrong: str, shape: dict[str, Any]) -> list[str]:
    """What an audit says of a ledger in which something is wrong; afterwards all is as before."""
    kept = ("batch", "page", "outcome")
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        for table in kept:
            await ledger.connection.execute(f"create table kept_{table} as table {table}")
        assert (await ledger.connection.execute(wrong)).rowcount > 0
    differences = await operate.audit(house.ctx, ACME, shape)
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        for table in kept:
            overriding = "overriding system value" if table == "batch" else ""
            await ledger.connection.execute(f"delete from {table}")
            await ledger.connection.execute(f"insert into {table} {overriding} table kept_{table}")
            await ledger.connection.execute(f"drop table kept_{table}")
    return differences


# --- messages, doubts, problems ---------------------------------------------------------------------------------------


async def test_a_message_shows_its_tries_without_anybodys_address(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        campaign_id = await by_hand.sent(house, Later("450 <ana@example.com>: try later"))
        (message,) = await operate.messages(house.ctx, "acme", campaign_id, "C-1")
        attempts = message.pop("attempts")
        sid, send_at = message.pop("sid"), message.pop("send_at")
        assert message == {
            "tenant": "acme",
            "channel": "newsletter",
            "campaign_id": campaign_id,
            "kind": "scheduled",
            "customer_id": "C-1",
            "app_id": None,
            "trigger": None,
            "action_id": None,
            "template_id": 17,
            "state": "planned",
            "reason": None,
            "events": [],
        }
        assert sid.startswith("s_")
        assert send_at.endswith("Z")
        assert [(a["outcome"], a["detail"]) for a in attempts] == [("later", "450 <a…@example.com>: try later")]


async def test_a_refused_message_tells_the_reason_and_an_accepted_one_its_providers_id(
    make_settings: MakeSettings,
) -> None:
    async with a_house(make_settings) as house:
        refused = await by_hand.sent(house, Refused(Refusal.REJECTED, "550 no such mailbox"))
        (message,) = await operate.messages(house.ctx, "acme", refused, "C-2", "newsletter")
        assert (message["state"], message["reason"]) == ("refused", "rejected")
        assert message["attempts"][0]["detail"] == "550 no such mailbox"
        accepted = await by_hand.sent(house, Accepted("queued as 7F3A"))
        (message,) = await operate.messages(house.ctx, "acme", accepted, "C-2")
        assert [(a["outcome"], a["detail"]) for a in message["attempts"]] == [("accepted", "queued as 7F3A")]
        assert await operate.messages(house.ctx, "acme", accepted, "C-2", "texts") == []
        assert await operate.messages(house.ctx, "acme", accepted, "nobody") == []


async def test_doubts_are_listed_with_the_address_masked_and_stay_counted_apart(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        campaign_id = await by_hand.sent(house, Doubtful("cut after the final dot"))
        doubts = await operate.doubts(house.ctx)
        assert [(d["customer_id"], d["to"], d["contract"]) for d in doubts] == [
            ("C-1", "a…@example.com", "hold"),
            ("C-2", "b…@example.com", "hold"),
        ]
        assert set(doubts[0]) == DOUBT
        shape = await shape_of(house)
        assert (shape["campaign_id"], shape["in_doubt"], shape["state"]) == (campaign_id, 2, "complete")
        assert shape["balanced"]
        assert {row["kind"] for row in await operate.problems(house.ctx, "acme")} == {"message_in_doubt"}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ana.lopez@example.com", "a…@example.com"),
        ("+33612345678", "+33…78"),
        ("dK3:APA91bF-Zq7", "dK3…q7"),
        ("654321", "…"),
        ("", "…"),
    ],
)
def test_a_masked_address_is_known_to_its_owner_alone(address: str, shown: str) -> None:
    assert operate.masked(address) == shown


# --- channels and listeners -------------------------------------------------------------------------------------------


async def test_a_channel_is_ok_until_its_provider_cannot_be_reached(make_settings: MakeSettings) -> None:
    async with a_house(make_settings, channel={"rate": "20/10s"}) as house:
        (channel,) = await operate.channels(house.ctx)
        assert channel == {
            "tenant": "acme",
            "channel": "newsletter",
            "kind": "email",
            "provider": "null",
            "scheduled_id": 504,
            "triggered_id": None,
            "rate": "20/10s",
            "state": "ok",
            "waits_until": None,
        }
        await troubles.channel_waits(house.ctx, ACME, NEWSLETTER, "connection refused", after=None)
        (channel,) = await operate.channels(house.ctx, "acme")
        assert channel["state"] == "waiting"
        assert channel["waits_until"].endswith("Z")
        await troubles.channel_works(house.ctx, ACME, NEWSLETTER)
        assert [row["state"] for row in await operate.channels(house.ctx)] == ["ok"]


async def test_listeners_are_missing_until_a_sync_and_never_show_their_secret(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        before = await operate.listeners(house.ctx)
        after = await operate.sync_listeners(house.ctx, "acme")
        again = await operate.sync_listeners(house.ctx)
        registrations = [c for c in await house.sim("calls") if c["call"] == "RegisterEventListener"]
    assert [(row["event_type"], row["channel_id"], row["state"]) for row in before] == [
        (13, 504, "missing"),
        (4, None, "missing"),
    ]
    assert {row["state"] for row in after} == {"ok"}
    assert again == after
    assert len(registrations) == 2
    assert LISTENER_SECRET not in str(before + after)
    assert after[0]["url"].endswith("/optimove/acme/…")


async def test_a_tenant_whose_optimove_is_away_is_named_and_keeps_no_other_from_being_synced(
    make_settings: MakeSettings,
) -> None:
    async with a_house(make_settings) as house:
        acme = house.ctx.settings.tenants["acme"]
        away = acme.model_copy(update={"name": "away", "api_url": "http://127.0.0.1:1"})
        both = house.ctx.settings.model_copy(update={"tenants": {"away": away, "acme": acme}})
        async with runtime.open_context(both, both.service.database) as ctx:
            with pytest.raises(NeedsOperator, match=r"^tenant away: There is no connection to Optimove") as error:
                await operate.sync_listeners(ctx)
            assert "acme" not in str(error.value)
            assert {row["state"] for row in await operate.listeners(ctx, "acme")} == {"ok"}
            assert [row["tenant"] for row in await operate.problems(ctx, "away")] == ["away"]
            assert await operate.problems(ctx, "acme") == []


# --- reports ----------------------------------------------------------------------------------------------------------


async def told_customers(house: House) -> list[str]:
    return sorted(c for call in await house.sim("interactions") for c in call["body"]["CustomerIDs"])


async def test_a_report_now_tells_everybody_once_however_often_it_is_asked_for(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        campaign_id = await by_hand.sent(house)
        twice = await asyncio.gather(operate.report_now(house.ctx), operate.report_now(house.ctx, "acme", campaign_id))
        assert [*twice, await operate.report_now(house.ctx)] == [[], [], []]
        assert await told_customers(house) == ["C-1", "C-2"]
        assert (await shape_of(house))["reported"]["accepted"] == 2


async def test_a_report_that_optimove_did_not_answer_for_is_a_doubt_and_is_not_sent_again(
    make_settings: MakeSettings,
) -> None:
    async with a_house(make_settings) as house:
        campaign_id = await by_hand.sent(house)
        await house.fault("UpdateCampaignInteractions", "cut_after")
        (sentence,) = await operate.report_now(house.ctx)
        assert sentence.startswith(f"campaign {campaign_id} of acme, channel newsletter: 1 calls were sent and not")
        (doubt,) = await operate.report_doubts(house.ctx)
        assert set(doubt) == {"id", "tenant", "campaign_id", "kind", "call", "customers", "since"}
        assert (doubt["call"], doubt["customers"]) == ("UpdateCampaignInteractions", 2)
        assert await operate.report_now(house.ctx) == []
        assert await told_customers(house) == ["C-1", "C-2"]
        assert (await shape_of(house))["reported"]["in_doubt_batches"] == 1


async def test_a_report_that_fails_is_told_and_goes_the_next_time(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await by_hand.sent(house)
        await house.fault("UpdateCampaignInteractions", "forbidden")
        (sentence,) = await operate.report_now(house.ctx)
        assert "does not accept our key" in sentence
        assert await told_customers(house) == []
        assert await operate.report_now(house.ctx) == []
        assert await told_customers(house) == ["C-1", "C-2"]


async def test_a_report_of_a_channel_that_the_settings_lost_is_told_as_left(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await by_hand.sent(house)
        channel = {"newsletter": {"triggered_id": 604, "provider": "null"}}
        settings = make_settings(tenant={"api_url": house.ctx.settings.tenants["acme"].api_url, "channels": channel})
        async with runtime.open_context(settings, settings.service.database) as ctx:
            (sentence,) = await operate.report_now(ctx)
        assert "no longer in the settings" in sentence


async def test_a_dry_run_is_never_reported(make_settings: MakeSettings) -> None:
    async with a_house(make_settings, channel={"provider": "console"}) as house:
        await by_hand.sent(house)
        assert await operate.report_now(house.ctx) == []
        assert await house.sim("interactions") == []


# --- settings, tried out ----------------------------------------------------------------------------------------------


async def test_a_probe_finds_nothing_once_listeners_are_registered(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        faults = await operate.probe_online(house.ctx)
        assert {fault["key"] for fault in faults} == {"service.public_url"}
        assert all(set(fault) == {"key", "problem", "mend"} for fault in faults)
        await operate.sync_listeners(house.ctx)
        assert await operate.probe_online(house.ctx) == []


async def test_a_probe_tells_a_wrong_key_from_an_address_where_nobody_is(make_settings: MakeSettings) -> None:
    async with a_house(make_settings, tenant={"api_key": "wrong-key"}) as house:
        assert [fault["key"] for fault in await operate.probe_online(house.ctx)] == ["tenants.acme.api_key"]
    async with a_house(make_settings, tenant={"api_url": "http://127.0.0.1:1"}) as house:
        assert [fault["key"] for fault in await operate.probe_online(house.ctx)] == ["tenants.acme.api_url"]


async def test_a_probe_reaches_for_the_provider(make_settings: MakeSettings) -> None:
    smtp = {"provider": "smtp", "from": "news@acme.example", "smtp": {"host": "127.0.0.1", "port": 1}}
    async with a_house(make_settings, channel=smtp) as house:
        await operate.sync_listeners(house.ctx)
        (fault,) = await operate.probe_online(house.ctx)
        assert fault["key"] == "tenants.acme.channels.newsletter.smtp"
