"""A worker ends, or is taken for dead: what it had in hand is settled by what it saw, and nobody is sent to twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.by_hand import fetched, sent
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import operate, recovery, troubles
from optirelay.engine.ending import end
from optirelay.engine.journal import DeadJournal, Journal, dead_journal, journals_in
from optirelay.engine.settle import Known, hand_back_unsent
from optirelay.errors import TryLater
from optirelay.model import Accepted, Answer, Doubtful, Later, Refusal, Refused
from optirelay.store.batches import TakenBatch

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def house_with(make_settings: MakeSettings) -> OpenHouse:
    """A house without a worker, its channel set up like this; the ledger is audited at the end."""

    @asynccontextmanager
    async def opened(**channel: Any) -> AsyncIterator[House]:
        async with open_house(make_settings, workers=0, service={"takeover_after": "1s"}, channel=channel) as house:
            await house.push(17)
            yield house
            await house.audit()

    return opened


class Worker:
    """A worker that does what a lane does, one step at a time, until it is killed."""

    def __init__(self, house: House, name: str) -> None:
        self.name = name
        self.house = house
        self.ctx = replace(house.ctx, worker=name)
        self.taken: TakenBatch | None = None

    async def begin(self, most: int = 1000, known: Known | None = None) -> list[int]:
        """Take a batch where none is in hand, and start a group of it; its messages."""
        self.taken = self.taken or await pipeline.take(self.ctx, ACME, NEWSLETTER)
        assert self.taken is not None
        written = {self.taken: known} if known else {}
        begun = await pipeline.begin(self.ctx, ACME, self.taken, written, most=most)
        return [message.number for message in begun.start]

    async def write(self, known: Known) -> None:
        """Write what is known, with no new group."""
        assert self.taken is not None
        await pipeline.write_answers(self.ctx, ACME, {self.taken: known})


def left_by(worker: Worker, folder: Path, seen: dict[int, Answer | None]) -> None:
    """The journal of a killed worker: messages that had begun, with the answer where one was heard."""
    assert worker.taken is not None
    with Journal.open(folder, worker.name) as journal:
        for message, answer in seen.items():
            journal.begun(worker.taken.id, message)
            if answer is not None:
                journal.answered(worker.taken.id, message, answer)


async def recover(house: House, folder: Path) -> None:
    """A process starts on the machine of dead ones."""
    for path in journals_in(folder):
        with dead_journal(path) as journal:
            assert isinstance(journal, DeadJournal)
            await recovery.recover(house.ctx, ACME, journal)
            journal.remove()


async def lapse() -> None:
    await asyncio.sleep(1.1)


async def states(house: House, campaign_id: str) -> dict[str, list[int]]:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select s.id, s.state from message_state s join campaign c on c.id = s.campaign "
            "where c.campaign_id = %s order by 1",
            (campaign_id,),
        )
        found: dict[str, list[int]] = {}
        for number, state in await cursor.fetchall():
            found.setdefault(state, []).append(number)
    return found


async def test_what_a_dead_worker_saw_is_settled_at_once_and_only_the_wire_is_in_doubt(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=50)
        first = Worker(house, "first")
        group = await first.begin(most=20)
        seen: dict[int, Answer | None] = dict.fromkeys(group[:8], Accepted("q"))
        seen |= {group[8]: Refused(Refusal.REJECTED, "550"), group[9]: None, group[10]: None}
        left_by(first, tmp_path, seen)
        await recover(house, tmp_path)
        after = await states(house, campaign_id)
        assert after["accepted"] == group[:8]
        assert after["refused"] == [group[8]]
        assert after["in_doubt"] == group[9:11]
        assert "sending" not in after
        second = Worker(house, "second")
        begun: list[int] = []
        for _ in range(2):  # its lease did not have to lapse; what was not begun goes again in a batch of its own
            begun += await second.begin()
            second.taken = None
        assert sorted(begun) == sorted(set(begun)) == [*group[11:], *after["planned"][9:]]


async def test_what_was_put_off_before_the_kill_is_tried_again_and_counts_a_try(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with(tries=1) as house:
        campaign_id = await fetched(house, customers=50)
        first = Worker(house, "first")
        (message,) = await first.begin(most=1)
        left_by(first, tmp_path, {message: Later("450 later")})
        await recover(house, tmp_path)
        assert (await states(house, campaign_id))["refused"] == [message]
        assert (await house.campaign(campaign_id)).refused == [{"too_many_tries": 1}]


async def test_a_journal_found_after_another_machine_took_over_settles_its_doubts(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=50)
        first = Worker(house, "first")
        group = await first.begin(most=10)
        left_by(first, tmp_path, {group[0]: Accepted(), group[1]: None, group[2]: Later("450")})
        await lapse()
        second = Worker(house, "second")
        theirs = await second.begin(most=10)
        assert (await states(house, campaign_id))["in_doubt"] == group
        await second.write(
            Known({**dict.fromkeys(theirs[:5], Accepted()), **dict.fromkeys(theirs[5:], Doubtful("cut"))})
        )
        await recover(house, tmp_path)
        after = await states(house, campaign_id)
        assert after["accepted"] == [group[0], *theirs[:5]]
        assert after["in_doubt"] == [group[1], *theirs[5:]]
        assert set(group[2:]) <= set(after["planned"])


async def test_doubts_of_another_machines_worker_are_not_taken_for_what_was_never_begun(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=50)
        first, second = Worker(house, "first"), Worker(house, "second")
        mine = await first.begin(most=10)
        left_by(first, tmp_path, dict.fromkeys(mine))
        await lapse()
        theirs = await second.begin(most=10)  # its machine is lost, too, and with it the journal
        await lapse()
        await Worker(house, "third").begin(most=1)
        await recover(house, tmp_path)
        assert (await states(house, campaign_id))["in_doubt"] == [*mine, *theirs]


async def test_what_can_be_repeated_goes_again_at_once_and_counts_no_try(house_with: OpenHouse, tmp_path: Path) -> None:
    async with house_with(in_doubt="repeat", tries=1) as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        left_by(first, tmp_path, dict.fromkeys(group))
        await recover(house, tmp_path)
        second = Worker(house, "second")
        assert await second.begin() == group
        await second.write(Known(dict.fromkeys(group, Accepted())))
        counts = await house.campaign(campaign_id)
        assert (counts.accepted, counts.in_doubt, counts.state) == (len(group), 0, "complete")
        assert "message_in_doubt" not in await house.problems()


async def test_what_was_to_be_repeated_and_cannot_any_more_is_in_doubt(house_with: OpenHouse, tmp_path: Path) -> None:
    async with house_with(in_doubt="repeat", tries=1) as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        left_by(first, tmp_path, dict.fromkeys(group))
        await recover(house, tmp_path)
        second = Worker(house, "second")
        assert await second.begin(most=4) == group[:4]
        await second.write(Known({group[0]: Later("503"), group[1]: Refused(Refusal.RENDER_FAILED)}))
        await house.cancel(campaign_id)
        await house.until(lambda: pipeline.accept(house.ctx))
        second.taken = None
        await lapse()
        while await pipeline.take(house.ctx, ACME, NEWSLETTER):
            pass
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            campaign = (await ledger.campaigns.counts(campaign_id))[0].id  # type: ignore[arg-type]
        await pipeline.call_off.run(house.ctx, ACME, campaign=campaign)
        assert set(await states(house, campaign_id)) == {"in_doubt"}


async def test_with_give_up_nothing_is_in_doubt_and_nothing_goes_again(house_with: OpenHouse, tmp_path: Path) -> None:
    async with house_with(in_doubt="give_up") as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        left_by(first, tmp_path, dict.fromkeys(group))
        await recover(house, tmp_path)
        counts = await house.campaign(campaign_id)
        assert counts.refused == [{"given_up": len(group)}]
        assert (counts.in_doubt, counts.state) == (0, "complete")


async def test_a_late_worker_settles_messages_that_were_moved_to_go_again(house_with: OpenHouse) -> None:
    async with house_with(in_doubt="repeat") as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        await lapse()
        assert await pipeline.take(replace(house.ctx, worker="second"), ACME, NEWSLETTER) is None  # all of it moved
        await first.write(Known(dict.fromkeys(group[:6], Accepted()), handed_back=group[6:]))
        assert (await states(house, campaign_id))["accepted"] == group[:6]
        third = Worker(house, "third")
        assert await third.begin() == group[6:]
        await third.write(Known(dict.fromkeys(group[6:], Accepted())))
        assert (await house.campaign(campaign_id)).state == "complete"


async def test_a_doubt_settled_after_the_report_is_told_by_the_next_one(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        await first.write(Known({group[0]: Accepted(), **dict.fromkeys(group[1:], Doubtful("cut"))}))
        campaign = await house.campaign(campaign_id)
        assert campaign.state == "complete"
        await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        assert (await house.reported(campaign_id)).accepted == 1
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            batch = await ledger.batches.lock(first.taken.id)  # type: ignore[union-attr]
            assert batch is not None
            await ledger.batches.settle(batch, {group[1]: Accepted(), group[2]: Refused(Refusal.REJECTED)}, utc_now())
            await ledger.batches.write(batch)
        for _ in range(2):
            await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        told = [call["body"] for call in await house.sim("interactions")]
        assert [(body["EventID"], len(body["CustomerIDs"])) for body in told] == [(0, 1), (0, 1), (5, 1)]


async def test_a_report_call_of_a_dead_worker_is_in_doubt_at_once_and_totals_go_again(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        campaign_id = await sent(house, customers=10)
        campaign = await house.campaign(campaign_id)
        first = Worker(house, "first")
        await house.fault("UpdateCampaignInteractions", "slow")
        reporting = asyncio.ensure_future(pipeline.report.run(first.ctx, ACME, campaign=campaign.id))

        async def under_way() -> bool:
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                cursor = await ledger.connection.execute(
                    "select from report_batch where call = 'UpdateCampaignInteractions' and state = 'sent'"
                )
                return cursor.rowcount == 1

        await house.until(under_way)
        await end([reporting])  # killed in the middle of the call
        with Journal.open(tmp_path, "first") as journal:
            journal.begun(0, 0)  # so that the file stays
        await recover(house, tmp_path)
        assert (await house.reported(campaign_id)).in_doubt_batches == 1
        assert "report_in_doubt" in await house.problems()
        await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        assert len(await house.sim("metrics")) == 1


async def test_nobody_is_told_of_the_clock_of_a_worker_that_is_gone(house_with: OpenHouse) -> None:
    async with house_with() as house:
        for name in ("first", "second"):
            worker = Worker(house, name)
            await house.ctx.store.seen(name, "here", 1)
            await troubles.tell_clock(worker.ctx, timedelta(hours=1), ok=False)
        await house.ctx.store.gone("first")
        (left,) = await operate.problems(house.ctx)
        assert "worker second" in left["problem"]
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute("update worker set seen_at = seen_at - interval '11 minutes'")
        await house.ctx.store.seen("third", "here", 1)  # whoever is alive forgets who is not
        assert await operate.problems(house.ctx) == []


async def test_after_a_restart_of_the_database_every_owner_has_a_whole_lease_to_renew(house_with: OpenHouse) -> None:
    async with house_with() as house:
        await fetched(house, customers=10)
        first = Worker(house, "first")
        await first.begin()
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute("update batch set lease_until = now() - interval '1 hour'")
        for lease, is_taken in ((timedelta(days=1), False), (timedelta(milliseconds=1), True)):  # it runs since today
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                assert (await ledger.batches.next_due(NEWSLETTER, triggered=False, lease=lease) is not None) == is_taken
                taken = await ledger.batches.take(NEWSLETTER, owner="second", lease=lease, now=utc_now())
                assert (taken is not None) == is_taken


@pytest.mark.parametrize("take_overs", [1, 2])
async def test_a_group_whose_start_was_never_answered_is_not_left_in_doubt_by_who_took_it_over(
    house_with: OpenHouse, tmp_path: Path, take_overs: int
) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=30)
        first = Worker(house, "first")
        with Journal.open(tmp_path, "first") as journal:
            begun, waiting, *_ = known = await first.begin(most=5)
            assert first.taken is not None
            journal.begun(first.taken.id, begun)
            lost = await first.begin(most=10)  # committed, and the answer never came
            for name in ("second", "third")[:take_overs]:
                await lapse()
                assert await pipeline.take(replace(house.ctx, worker=name), ACME, NEWSLETTER) is not None
            assert (await states(house, campaign_id))["in_doubt"] == known + lost
            await hand_back_unsent(first.ctx, ACME, first.taken, {waiting}, journal)
            await hand_back_unsent(first.ctx, ACME, first.taken, {waiting}, journal)  # twice changes nothing
            left = (await states(house, campaign_id))["in_doubt"]
            assert left == ([begun, waiting] if take_overs == 1 else known + lost)
            journal.settled(first.taken.id, [begun])
        if take_overs == 1:
            again = {*known[2:], *lost}
            assert set((await states(house, campaign_id))["planned"]) >= again


async def test_what_a_late_worker_could_not_tell_either_stays_in_doubt_when_it_dies(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        campaign_id = await fetched(house, customers=10)
        first = Worker(house, "first")
        group = await first.begin()
        await lapse()
        await pipeline.take(replace(house.ctx, worker="second"), ACME, NEWSLETTER)
        await first.write(Known(dict.fromkeys(group, Doubtful("cut"))))  # from here on its journal has nothing of them
        with Journal.open(tmp_path, "first") as journal:
            journal.begun(0, 0)  # so that the file stays
        await recover(house, tmp_path)
        assert (await states(house, campaign_id))["in_doubt"] == group


async def test_a_report_is_not_over_while_what_became_of_a_call_is_not_known(house_with: OpenHouse) -> None:
    async with house_with() as house:
        campaign_id = await sent(house, customers=10)
        campaign = await house.campaign(campaign_id)
        await house.fault("UpdateCampaignInteractions", "slow")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # the sender is gone, and left no journal
                await pipeline.report.run(replace(house.ctx, worker="first"), ACME, campaign=campaign.id)
        with pytest.raises(TryLater):
            await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute("update report_batch set sent_at = sent_at - interval '7 minutes'")
        await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        assert (await house.reported(campaign_id)).in_doubt_batches == 1
