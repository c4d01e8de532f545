"""Nobody who said no is written to, by whichever way they said it and however far their message had come."""

from datetime import UTC, datetime, timedelta

from tests.by_hand import fetched, sent
from tests.conftest import MakeSettings
from tests.events import called_back, sids_of
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.settle import Known
from optirelay.model import Accepted, CustomerId, Later
from optirelay.store.opt_outs import Statement

CHANNEL = {"callback_secret": "callback-secret"}
SIX = [{"customer_id": name, "EMAIL": f"{name}@example.com", "FIRST_NAME": name} for name in "abcdef"]


async def said(house: House, customer: str, *, opted_in: bool, at: datetime) -> None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.opt_outs.keep([Statement(CustomerId(customer), NEWSLETTER, at, opted_in, "test")])


async def states(house: House, campaign_id: str) -> dict[str, str]:
    """How each customer's message stands: its state, or the reason of its skip."""
    rows = [row async for row in operate.export(house.ctx, "acme", campaign_id, "newsletter")]
    state, reason, who = (operate.EXPORT_COLUMNS.index(name) for name in ("state", "reason", "customer_id"))
    return {row[who]: row[reason] or row[state] for row in rows}


async def test_every_way_to_say_no_counts_for_the_next_campaign(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel=CHANNEL) as house:
        await house.people(*SIX)
        await house.push(17)
        first = await sent(house)
        sid = await sids_of(house, first)
        await called_back(
            house,
            {"id": sid["a"], "event": "unsubscribed"},
            {"id": sid["b"], "event": "complained"},
            {"id": sid["c"], "event": "bounced", "permanent": True},
            {"id": sid["d"], "event": "bounced", "permanent": False},
            {"id": sid["e"], "event": "replied", "text": " Stop. "},
            {"id": sid["f"], "event": "replied", "text": "when do you stop?"},
        )
        assert await states(house, first) == {
            "a": "unsubscribed",
            "b": "complained",
            "c": "bounced",
            "d": "bounced",
            "e": "accepted",
            "f": "accepted",
        }
        second = await sent(house)
        assert await states(house, second) == {
            "a": "opted_out",
            "b": "suppressed",
            "c": "suppressed",
            "d": "accepted",
            "e": "opted_out",
            "f": "accepted",
        }
        [shape] = await operate.campaigns(house.ctx, campaign_id=second)
        assert shape["skipped"] == {"opted_out": 2, "suppressed": 2}
        [entry] = await operate.opt_ins(house.ctx, "acme", "e")
        assert (entry["channel"], entry["opted_in"], entry["source"]) == ("newsletter", False, "replied")
        listed = await operate.suppressions(house.ctx, None, None, addresses=True)
        assert {(row["address"], row["channel"], row["reason"]) for row in listed} == {
            ("b@example.com", "newsletter", "complaint"),
            ("c@example.com", "newsletter", "hard_bounce"),
        }


async def test_a_no_counts_for_messages_that_wait_are_tried_again_or_go_on(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel=CHANNEL) as house:
        await house.people(*SIX)
        await house.push(17)
        tried = await fetched(house)
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
        assert taken is not None
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        by_customer = {message.customer_id: message.number for message in begun.start}
        later = {number: Later("not now", timedelta(0)) for who, number in by_customer.items() if who in "ab"}
        unsent = [number for who, number in by_customer.items() if who in "cd"]
        over = {number: Accepted() for who, number in by_customer.items() if who in "ef"}
        await pipeline.write_answers(house.ctx, ACME, {taken: Known({**later, **over}, unsent)})
        paused = await fetched(house)
        await operate.pause_campaign(house.ctx, "acme", paused, "newsletter")
        for who in "aceg":
            await said(house, who, opted_in=False, at=datetime.now(UTC))
        await operate.resume_campaign(house.ctx, "acme", paused, "newsletter")
        while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
            begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
            known = Known({message.number: Accepted() for message in begun.start})
            await pipeline.write_answers(house.ctx, ACME, {taken: known})
        was_out = {who: "opted_out" if who in "ac" else "accepted" for who in "abcdef"}
        assert await states(house, tried) == was_out  # e had begun
        assert await states(house, paused) == {**was_out, "e": "opted_out"}


async def test_the_newest_word_by_its_own_time_counts_and_at_the_same_time_the_no(make_settings: MakeSettings) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0) as house:
        await house.people(*SIX)
        await house.push(17)
        await said(house, "a", opted_in=False, at=noon)
        await said(house, "a", opted_in=True, at=noon + timedelta(seconds=1))
        await said(house, "b", opted_in=True, at=noon + timedelta(seconds=1))
        await said(house, "b", opted_in=False, at=noon)
        for word in (True, False, True):
            await said(house, "c", opted_in=word, at=noon)
        assert await states(house, await sent(house)) == {
            who: "opted_out" if who == "c" else "accepted" for who in "abcdef"
        }
        [entry] = await operate.opt_ins(house.ctx, "acme", "b")
        assert [word["opted_in"] for word in entry["history"]] == [False, True]


async def test_where_an_opt_in_is_required_silence_is_a_no(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel={"require_opt_in": True}) as house:
        await house.people(*SIX)
        await house.push(17)
        await said(house, "a", opted_in=True, at=datetime.now(UTC))
        await said(house, "b", opted_in=False, at=datetime.now(UTC))
        assert await states(house, await sent(house)) == {
            who: "accepted" if who == "a" else "opted_out" for who in "abcdef"
        }


async def test_a_suppressed_address_is_left_alone_on_its_channel_or_everywhere(make_settings: MakeSettings) -> None:
    newsletter = {"kind": "email", "scheduled_id": 504, "provider": "null"}
    channels = {"newsletter": newsletter, "alerts": {**newsletter, "scheduled_id": 604}}
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, tenant={"channels": channels}) as house:
        await house.people(*SIX, {"customer_id": "G", "EMAIL": "Gerda@Example.com"})
        await house.push(17)
        assert await operate.suppress(house.ctx, "acme", "a@example.com", "newsletter", "asked")
        assert await operate.suppress(house.ctx, "acme", "B@Example.COM", None, "asked")
        assert await operate.suppress(house.ctx, "acme", "c@example.com", "alerts", "asked")
        assert await operate.suppress(house.ctx, "acme", "gerda@example.com", None, "")
        assert not await operate.suppress(house.ctx, "acme", "gerda@example.com", None, "again")
        out = {"a", "b", "G"}
        everybody = [*"abcdef", "G"]
        assert await states(house, await sent(house)) == {
            w: "suppressed" if w in out else "accepted" for w in everybody
        }
        assert await operate.unsuppress(house.ctx, "acme", "b@example.com", None) == [""]
        assert await operate.unsuppress(house.ctx, "acme", "a@example.com", "newsletter") == ["newsletter"]
        assert await operate.unsuppress(house.ctx, "acme", "a@example.com", None) == []
        assert await states(house, await sent(house)) == {
            w: "suppressed" if w == "G" else "accepted" for w in everybody
        }
