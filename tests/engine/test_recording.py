"""What an event does to the message that it names, and that it does nothing to any other."""

from datetime import UTC, datetime
from typing import Any

from tests.by_hand import sent
from tests.conftest import MakeSettings
from tests.events import called_back, sids_of
from tests.house import House, open_house

from optirelay.engine import operate
from optirelay.model import Accepted, Answer, Doubtful, Refusal, Refused

CHANNEL = {"callback_secret": "callback-secret"}
DOUBT = Doubtful("no answer")


async def one(house: House, campaign_id: str, sid: str) -> dict[str, Any]:
    """A message as `messages show` tells it."""
    for customer, its in (await sids_of(house, campaign_id)).items():
        if its == sid:
            [message] = await operate.messages(house.ctx, "acme", campaign_id, customer)
            return message
    raise AssertionError(sid)


STORIES: list[tuple[Answer, list[str], str, str | None]] = [
    (DOUBT, ["delivered"], "delivered", None),
    (DOUBT, ["sent"], "accepted", None),
    (DOUBT, ["replied"], "accepted", None),
    (DOUBT, ["failed"], "refused", "rejected"),
    (DOUBT, ["failed", "bounced"], "bounced", None),
    (DOUBT, ["bounced", "failed"], "bounced", None),
    (DOUBT, ["a word of theirs"], "in_doubt", None),
    (Refused(Refusal.GIVEN_UP), ["opened"], "opened", None),
    (Refused(Refusal.GIVEN_UP), ["failed"], "refused", "given_up"),
    (Refused(Refusal.REJECTED), ["delivered"], "refused", "rejected"),
    (Accepted(), ["failed"], "failed", None),
]
"""What a provider answered, what it told later, and how the message stands then."""


async def test_what_is_in_doubt_becomes_what_an_event_tells(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, channel=CHANNEL) as house:
        await house.push(17)
        for answer, events, state, reason in STORIES:
            campaign_id = await sent(house, answer, customers=3)
            assert (campaign_id in await in_doubt(house)) == isinstance(answer, Doubtful)
            for event in events:
                for sid in (await sids_of(house, campaign_id)).values():
                    await called_back(house, {"id": sid, "event": event})
            shown = [await one(house, campaign_id, sid) for sid in (await sids_of(house, campaign_id)).values()]
            stands = {(message["state"], message["reason"]) for message in shown if message["reason"] != "no_address"}
            assert stands == {(state, reason)}, (answer, events)
            assert (campaign_id in await in_doubt(house)) == (state == "in_doubt")
        await house.audit()


async def in_doubt(house: House) -> set[str | None]:
    """Campaigns of which the operator is told that messages are in doubt."""
    return {row.campaign_id for row in await house.ctx.store.problems() if row.kind == "message_in_doubt"}


async def test_events_of_nobody_and_of_others_are_kept_and_change_nothing(make_settings: MakeSettings) -> None:
    newsletter = {"kind": "email", "scheduled_id": 504, "provider": "null", **CHANNEL}
    channels = {"newsletter": newsletter, "alerts": {**newsletter, "scheduled_id": 604}}
    async with open_house(make_settings, workers=0, tenant={"channels": channels}) as house:
        await house.push(17)
        campaign_id = await sent(house, customers=2)
        sid = next(iter((await sids_of(house, campaign_id)).values()))
        strange: list[dict[str, Any]] = [
            {"id": "s_aaaaaaaaaaaaaaaaaaaa", "event": "delivered"},
            {"id": sid[:-1], "event": "delivered"},
            {"id": "", "event": "opened"},
            {"id": None, "event": "opened"},
            {"id": 17, "event": "clicked", "at": 1e300},
            {"id": "\0", "event": "delivered\0"},
            {"event": "bounced", "permanent": True},
            {"id": sid, "event": "x" * 5000},
        ]
        await called_back(house, *strange)
        await called_back(house, {"id": sid, "event": "delivered"}, channel="alerts")  # type: ignore[arg-type]
        [shape] = await operate.campaigns(house.ctx)
        assert not any(shape["events"].values())
        assert (await one(house, campaign_id, sid))["state"] == "accepted"
        async with house.ctx.store.tenant("acme").transaction() as ledger:  # type: ignore[arg-type]
            cursor = await ledger.connection.execute("select count(*) from delivery_event")
            assert await cursor.fetchone() == (len(strange) + 1,)
        assert "batch_set_aside" not in await house.problems()


async def test_one_callback_that_the_store_refuses_stops_no_other(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, channel=CHANNEL) as house:
        await house.push(17)
        campaign_id = await sent(house, customers=2)
        sid = next(iter((await sids_of(house, campaign_id)).values()))
        async with house.ctx.store.tenant("acme").transaction() as ledger:  # type: ignore[arg-type]
            await ledger.connection.execute("alter table delivery_event add check (name <> 'poison')")
        await house.ctx.store.keep_callbacks(
            [("acme", "newsletter", b"poison", b'{"event":"poison","id":"x"}')]  # type: ignore[list-item]
        )
        await called_back(house, {"id": sid, "event": "opened"})
        assert (await one(house, campaign_id, sid))["state"] == "opened"
        assert "batch_set_aside" in await house.problems()


async def test_entries_that_are_no_events_are_a_problem_and_the_others_count(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, channel=CHANNEL) as house:
        await house.push(17)
        campaign_id = await sent(house, customers=2)
        sid = next(iter((await sids_of(house, campaign_id)).values()))
        await called_back(house, {"id": sid}, {"id": sid, "event": "clicked"}, "nonsense")  # type: ignore[arg-type]
        assert (await one(house, campaign_id, sid))["state"] == "clicked"
        assert "unreadable_notification" in await house.problems()


async def test_an_event_is_never_later_than_it_came(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, channel=CHANNEL) as house:
        await house.push(17)
        campaign_id = await sent(house, customers=2)
        sid = next(iter((await sids_of(house, campaign_id)).values()))
        await called_back(house, {"id": sid, "event": "unsubscribed", "at": "2999-01-01T00:00:00Z"})
        [event] = (await one(house, campaign_id, sid))["events"]
        assert datetime.fromisoformat(event["at"]) <= datetime.now(UTC)
