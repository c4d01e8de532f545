"""What an operator decides: stop and go, doubts resolved, refusals tried again; all of it kept with who and why."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from tests import by_hand
from tests.channels.smtp_servers import ScriptedServer
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.operate.deciding import account
from optirelay.engine.settle import Known, settle
from optirelay.errors import NeedsOperator
from optirelay.model import Accepted, Doubtful, Refusal, Refused

PEOPLE = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "FIRST_NAME": f"N{n}"} for n in range(5)]
OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def house_with(make_settings: MakeSettings) -> OpenHouse:
    """A house of five people, without a worker; the ledger is audited at the end."""

    @asynccontextmanager
    async def opened(**channel: Any) -> AsyncIterator[House]:
        async with open_house(make_settings, workers=0, scenario=NOBODY_YET, channel=channel) as house:
            await house.people(*PEOPLE)
            await house.push(17)
            yield house
            await house.audit()

    return opened


async def shape_of(house: House) -> dict[str, Any]:
    (shape,) = await operate.campaigns(house.ctx)
    return shape


async def sids(house: House) -> list[str]:
    return [row["sid"] for row in await operate.doubts(house.ctx)]


async def audited(house: House) -> list[tuple[str, str, str]]:
    """Action, subject and reason of each decision, after a look at the account."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select action, subject, reason, account from audit order by id")
        rows = await cursor.fetchall()
    assert {account for *_, account in rows} <= {account()}
    return [(action, subject, reason) for action, subject, reason, _ in rows]


async def outcomes(house: House, campaign_id: str, customer_id: str) -> Sequence[tuple[str, str]]:
    (message,) = await operate.messages(house.ctx, "acme", campaign_id, customer_id)
    return [(attempt["outcome"], attempt["detail"]) for attempt in message["attempts"]]


async def deliver(house: House) -> None:
    """Whatever is due is accepted."""
    while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        known = Known(dict.fromkeys([message.number for message in begun.start], Accepted()))
        await pipeline.write_answers(house.ctx, ACME, {taken: known})


# --- doubts -----------------------------------------------------------------------------------------------------------


async def test_a_doubt_that_arrived_counts_as_accepted_and_is_reported(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.sent(house, Doubtful("cut"))
        first, *others = await sids(house)
        resolved = await operate.resolve_doubts(
            house.ctx, operate.Decision.SENT, "asked the provider", sids=[first, others[0]]
        )
        assert (resolved.done, resolved.left) == (2, [])
        shape = await shape_of(house)
        assert (shape["accepted"], shape["in_doubt"], shape["balanced"]) == (2, 3, True)
        assert await sids(house) == others[1:]
        assert await audited(house) == [("resolve sent", sid, "asked the provider") for sid in (first, others[0])]
        cut, resolved_, accepted = await outcomes(house, campaign_id, "C-0")
        assert cut == ("in_doubt", "cut")
        assert resolved_[0] == "resolved"
        assert resolved_[1].startswith("sent, says ")
        assert resolved_[1].endswith(": asked the provider")
        assert accepted[0] == "accepted"
        await operate.report_now(house.ctx)
        assert (await shape_of(house))["reported"]["accepted"] == 2


async def test_a_doubt_resolved_after_the_report_is_told_by_the_next_and_nobody_twice(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.fetched(house)
        begun = await by_hand.started(house)
        taken = begun.start
        answers = {message.number: Accepted() if n < 2 else Doubtful("cut") for n, message in enumerate(taken)}
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            (number,) = await ledger.batches.open_of_worker(house.ctx.worker)
            batch = await ledger.batches.lock(number)
            assert batch is not None
            await settle(house.ctx, ledger, batch, answers)
            await pipeline.write_batch(house.ctx, ledger, batch)
        await operate.report_now(house.ctx)
        await operate.resolve_doubts(house.ctx, operate.Decision.SENT, "arrived", sids=(await sids(house))[:1])
        await operate.resolve_doubts(house.ctx, operate.Decision.GIVE_UP, "too late", campaign_id=campaign_id)
        assert await operate.report_now(house.ctx) == []
        assert await operate.report_now(house.ctx) == []
        told = [call["body"] for call in await house.sim("interactions")]
        assert [(body["EventID"], len(body["CustomerIDs"])) for body in told] == [(0, 2), (0, 1), (5, 2)]
        people = [customer for body in told for customer in body["CustomerIDs"]]
        assert len(people) == len(set(people)) == 5
        assert "message_in_doubt" not in await house.problems()
        assert (await shape_of(house))["refused"] == {"given_up": 2}


async def test_a_doubt_to_be_sent_again_goes_with_the_same_sid_and_the_campaign_is_open_again(
    house_with: OpenHouse,
) -> None:
    async with house_with() as house:
        await by_hand.sent(house, Doubtful("cut"))
        before = await sids(house)
        resolved = await operate.resolve_doubts(house.ctx, operate.Decision.RESEND, "not there")
        assert resolved.done == 5
        shape = await shape_of(house)
        assert (shape["planned"], shape["in_doubt"], shape["state"]) == (5, 0, "sending")
        begun = await by_hand.started(house)
        assert [message.sid for message in begun.start] == before


async def age(house: House) -> None:
    """Two days pass."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.connection.execute("update message set send_at = send_at - interval '2 days'")


async def test_what_is_too_late_or_cancelled_stays_in_doubt_and_the_operator_is_told(house_with: OpenHouse) -> None:
    async with house_with() as house:
        await by_hand.sent(house, Doubtful("cut"))
        await age(house)
        resolved = await operate.resolve_doubts(house.ctx, operate.Decision.RESEND, "not there")
        assert resolved.done == 0
        assert "older than expire_after" in resolved.left[0]
        await house.cancel((await shape_of(house))["campaign_id"])
        await by_hand.accepted(house)
        resolved = await operate.resolve_doubts(house.ctx, operate.Decision.RESEND, "not there")
        assert "was cancelled" in resolved.left[0]
        assert (await shape_of(house))["in_doubt"] == 5


async def test_what_is_not_in_doubt_is_named(house_with: OpenHouse) -> None:
    async with house_with() as house:
        await by_hand.sent(house, Doubtful("cut"))
        (first, *_) = await sids(house)
        for _ in range(2):
            resolved = await operate.resolve_doubts(
                house.ctx, operate.Decision.SENT, "arrived", sids=[first, "s_nonsense", "nonsense"]
            )
        assert resolved.done == 0
        assert [sentence.split(";")[0] for sentence in resolved.left] == [
            "s_nonsense is no sid",
            "nonsense is no sid",
            f"{first} is not in doubt",
        ]


@pytest.mark.parametrize(
    ("decision", "calls"), [(operate.Decision.SENT, 1), (operate.Decision.RESEND, 2), (operate.Decision.GIVE_UP, 1)]
)
async def test_a_report_call_in_doubt_becomes_what_the_operator_says(
    house_with: OpenHouse, decision: operate.Decision, calls: int
) -> None:
    async with house_with() as house:
        await by_hand.sent(house)
        await house.fault("UpdateCampaignInteractions", "cut_after")
        await operate.report_now(house.ctx)
        (row,) = await operate.report_doubts(house.ctx)
        resolved = await operate.resolve_reports(house.ctx, decision, "looked at Optimove", [row["id"], 4711])
        assert (resolved.done, resolved.left) == (1, ["report 4711 is not in doubt"])
        assert await operate.report_doubts(house.ctx) == []
        assert "report_in_doubt" not in await house.problems()
        await operate.report_now(house.ctx)
        told = [call["body"] for call in await house.sim("interactions")]
        assert len(told) == calls
        assert all(body == told[0] for body in told)  # exactly as it was frozen
        expected = 0 if decision is operate.Decision.GIVE_UP else 5
        assert (await shape_of(house))["reported"]["accepted"] == expected
        assert await audited(house) == [(f"resolve {decision.value}", f"report {row['id']}", "looked at Optimove")]


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_refused_messages_go_again_with_their_template_as_it_is_now(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.sent(house, Refused(Refusal.RENDER_FAILED, "no such filter"))
        await operate.report_now(house.ctx)
        await house.push(17, html="<p>mended</p>")
        assert await operate.retry_refused(house.ctx, "acme", campaign_id, "newsletter") == (5, 0)
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
        assert taken is not None
        assert taken.template_version == 2
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        numbers = [message.number for message in begun.start]
        known = Known({numbers[0]: Refused(Refusal.REJECTED), **dict.fromkeys(numbers[1:], Accepted())})
        await pipeline.write_answers(house.ctx, ACME, {taken: known})
        shape = await shape_of(house)
        assert (shape["accepted"], shape["refused"], shape["state"]) == (4, {"rejected": 1}, "complete")
        await operate.report_now(house.ctx)
        told = [call["body"] for call in await house.sim("interactions")]
        assert [(body["EventID"], len(body["CustomerIDs"])) for body in told] == [(5, 5), (0, 4)]  # dropped once
        assert await audited(house) == [("retry refused", f"{campaign_id} on newsletter", "")]


async def test_what_was_accepted_given_up_or_in_doubt_is_never_tried_again(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.sent(house, Doubtful("cut"))
        first, second, *_ = await sids(house)
        await operate.resolve_doubts(house.ctx, operate.Decision.GIVE_UP, "late", sids=[first])
        await operate.resolve_doubts(house.ctx, operate.Decision.SENT, "there", sids=[second])
        assert await operate.retry_refused(house.ctx, "acme", campaign_id, "newsletter") == (0, 0)
        shape = await shape_of(house)
        assert (shape["accepted"], shape["refused"], shape["in_doubt"]) == (1, {"given_up": 1}, 3)


async def test_refusals_that_are_too_late_stay_refused(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.sent(house, Refused(Refusal.REJECTED))
        await age(house)
        assert await operate.retry_refused(house.ctx, "acme", campaign_id, "newsletter") == (0, 5)
        assert (await shape_of(house))["refused"] == {"rejected": 5}


# --- stop and go ------------------------------------------------------------------------------------------------------


async def test_nothing_of_a_paused_campaign_is_taken_and_others_go_on(house_with: OpenHouse) -> None:
    async with house_with() as house:
        first = await by_hand.fetched(house)
        assert await operate.pause_campaign(house.ctx, "acme", first, "newsletter")
        assert not await operate.pause_campaign(house.ctx, "acme", first, "newsletter")
        assert (await shape_of(house))["state"] == "paused"
        second = await by_hand.sent(house)
        assert {s["campaign_id"]: s["accepted"] for s in await operate.campaigns(house.ctx)} == {first: 0, second: 5}
        assert await operate.resume_campaign(house.ctx, "acme", first, "newsletter")
        await deliver(house)
        assert {s["accepted"] for s in await operate.campaigns(house.ctx)} == {5}
        subject = f"{first} on newsletter"
        assert await audited(house) == [("pause campaign", subject, ""), ("resume campaign", subject, "")]


async def test_a_batch_in_hand_starts_nothing_once_its_campaign_is_paused(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.fetched(house)
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
        assert taken is not None
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=2)
        await operate.pause_campaign(house.ctx, "acme", campaign_id, "newsletter")
        known = Known({message.number: Accepted() for message in begun.start})
        after = await pipeline.begin(house.ctx, ACME, taken, {taken: known}, most=2)
        assert (after.start, after.over) == ([], True)
        assert (await shape_of(house))["accepted"] == 2


async def test_a_paused_channel_holds_its_campaigns(house_with: OpenHouse) -> None:
    async with house_with() as house:
        await by_hand.fetched(house)
        assert await operate.pause_channel(house.ctx, "acme", "newsletter")
        assert not await operate.pause_channel(house.ctx, "acme", "newsletter")
        assert (await shape_of(house))["state"] == "held"
        assert (await operate.channels(house.ctx))[0]["state"] == "paused"
        await deliver(house)
        assert (await shape_of(house))["accepted"] == 0
        assert await operate.resume_channel(house.ctx, "acme", "newsletter")
        await deliver(house)
        assert (await shape_of(house))["accepted"] == 5


async def test_a_cancelled_campaign_is_over_and_stays_so(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await by_hand.fetched(house)
        await operate.pause_campaign(house.ctx, "acme", campaign_id, "newsletter")
        await operate.cancel_campaign(house.ctx, "acme", campaign_id, "newsletter")
        shape = await shape_of(house)
        assert (shape["state"], shape["skipped"], shape["balanced"]) == ("cancelled", {"cancelled": 5}, True)
        for decide in (operate.cancel_campaign, operate.pause_campaign, operate.resume_campaign, operate.retry_refused):
            with pytest.raises(NeedsOperator, match="cancelled"):
                await decide(house.ctx, "acme", campaign_id, "newsletter")
        await house.fire(campaign_id)
        assert "told_after_cancel" not in await house.problems()  # the same notification again is no news


# --- all of it at once, with workers ----------------------------------------------------------------------------------


async def nothing_under_way(house: House, campaign_id: str) -> bool:
    counts = await house.campaign(campaign_id)
    return counts.begun == counts.accepted + counts.in_doubt


async def test_stopped_and_let_go_many_times_everybody_is_written_to_once_and_nobody_while_stopped(
    make_settings: MakeSettings,
) -> None:
    async with ScriptedServer().running() as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "connections": 4}
        mail = {"provider": "smtp", "from": "Acme <news@acme.example>", "smtp": smtp, "rate": "300/s"}
        async with open_house(make_settings, workers=2, channel=mail) as house:
            await house.push(17)
            campaign_id = await house.plan(customers=1500)
            await house.fire(campaign_id)
            place = ("acme", campaign_id, "newsletter")
            for turn in range(3):

                async def further(so_far: int = len(server.taken)) -> bool:
                    return len(server.taken) > so_far + 50

                await house.until(further)
                if turn % 2:
                    await operate.pause_channel(house.ctx, "acme", "newsletter")
                else:
                    await operate.pause_campaign(house.ctx, *place)
                await house.until(lambda: nothing_under_way(house, campaign_id))
                taken = len(server.taken)
                await asyncio.sleep(0.7)
                assert len(server.taken) == taken < 1500
                await operate.resume_campaign(house.ctx, *place)
                await operate.resume_channel(house.ctx, "acme", "newsletter")
            counts = await house.until_state(campaign_id, "complete")
            assert len(server.sids()) == len(set(server.sids())) == counts.accepted
            assert counts.in_doubt == 0
