"""Leases, fences and what is written of a group: however often, in whatever order, by whomever."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from tests.by_hand import fetched, gather_all
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.journal import Journal
from optirelay.engine.operate import Decision
from optirelay.engine.settle import Known, hand_back_unsent
from optirelay.engine.starting import Begun
from optirelay.model import Accepted, Doubtful, Later, Refusal, Refused
from optirelay.store.batches import TakenBatch


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0, service={"takeover_after": "1s"}) as opened:
        await opened.push(17)
        yield opened
        await opened.audit()


async def take(house: House, worker: str = "first") -> TakenBatch:
    taken = await pipeline.take(replace(house.ctx, worker=worker), ACME, NEWSLETTER)
    assert taken is not None
    return taken


async def begin(house: House, taken: TakenBatch, most: int = 1000) -> Begun:
    return await pipeline.begin(house.ctx, ACME, taken, {}, most=most)


async def record(house: House, taken: TakenBatch, known: Known) -> None:
    await pipeline.write_answers(house.ctx, ACME, {taken: known})


async def tries_of(house: House, taken: TakenBatch) -> int:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        batch = await ledger.batches.lock(taken.id)
    assert batch is not None
    return batch.tries


async def test_a_batch_that_is_taken_is_nobody_elses(house: House) -> None:
    await fetched(house, customers=50)
    await take(house)
    assert await pipeline.take(house.ctx, ACME, NEWSLETTER) is None


async def test_a_lapsed_batch_is_taken_over_and_what_was_open_is_in_doubt(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    first = await take(house)
    begun = await begin(house, first, most=10)
    await asyncio.sleep(1.1)
    second = await take(house, "second")
    assert (second.id, second.fence) == (first.id, first.fence + 1)
    assert (await house.campaign(campaign_id)).in_doubt == len(begun.start) == 10
    assert "message_in_doubt" in await house.problems()


async def test_a_late_worker_starts_nothing_and_turns_doubt_into_what_it_saw(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    first = await take(house)
    begun = await begin(house, first, most=10)
    await asyncio.sleep(1.1)
    await take(house, "second")
    assert (await begin(house, first)).lost
    numbers = [message.number for message in begun.start]
    answers = {number: Accepted() for number in numbers[:6]} | {numbers[6]: Refused(Refusal.REJECTED)}
    await record(house, first, Known(dict(answers), handed_back=numbers[7:8]))
    counts = await house.campaign(campaign_id)
    assert (counts.accepted, counts.in_doubt) == (6, 3)


async def test_a_lease_that_is_renewed_does_not_lapse_and_one_that_nobody_names_does(house: House) -> None:
    await fetched(house, customers=50)
    taken = await take(house)
    for _ in range(3):
        await asyncio.sleep(0.5)
        await house.ctx.store.renew_leases("first", timedelta(seconds=1), [(ACME, taken.id)])
    assert await pipeline.take(house.ctx, ACME, NEWSLETTER) is None
    await house.ctx.store.renew_leases("first", timedelta(seconds=1), [])
    await asyncio.sleep(1.1)
    assert (await take(house, "second")).id == taken.id


async def test_leases_are_renewed_beside_whoever_writes_several_of_their_batches_in_another_order(house: House) -> None:
    await house.push(18)
    await fetched(house, customers=50, templates=[17, 18])
    one, two = sorted([(await take(house)).id, (await take(house)).id])
    lease, held = timedelta(seconds=30), [(ACME, one), (ACME, two)]
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        assert await ledger.batches.lock(two) is not None
        renewing = asyncio.create_task(house.ctx.store.renew_leases("first", lease, held))
        await asyncio.wait({renewing}, timeout=0.3)
        assert await ledger.batches.lock(one) is not None
    await renewing
    await asyncio.sleep(1.1)  # as long as the first leases were
    assert await pipeline.take(replace(house.ctx, worker="second"), ACME, NEWSLETTER) is None


async def test_the_same_answers_written_twice_change_nothing(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    taken = await take(house)
    begun = await begin(house, taken)
    known = Known({message.number: Accepted("q1") for message in begun.start[:20]}, [begun.start[20].number])
    for _ in range(2):
        await record(house, taken, known)
    counts = await house.campaign(campaign_id)
    assert (counts.accepted, counts.handed_over) == (20, 50)


async def test_refusals_written_by_an_unanswered_commit_do_not_end_what_an_operator_tries_again(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    taken = await take(house)
    begun = await begin(house, taken)
    refused, doubtful = begun.start[0], begun.start[1]
    known = Known({refused.number: Refused(Refusal.REJECTED), doubtful.number: Doubtful("cut")})
    await record(house, taken, known)  # its answer never came
    await operate.retry_refused(house.ctx, ACME, campaign_id, NEWSLETTER)
    await operate.resolve_doubts(house.ctx, Decision.RESEND, "nobody got it", sids=[doubtful.sid])
    known.maybe_written = True
    await record(house, taken, known)
    counts = await house.campaign(campaign_id)
    assert (counts.in_doubt, counts.refused, counts.handed_over) == (0, [], 50)
    assert {(await begin(house, await take(house))).start[0].sid for _ in range(2)} == {refused.sid, doubtful.sid}


async def test_what_is_handed_back_goes_again_and_counts_no_try(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    taken = await take(house)
    begun = await begin(house, taken)
    await record(house, taken, Known(handed_back=[message.number for message in begun.start]))
    again = await take(house)
    assert (await tries_of(house, again), again.id != taken.id) == (0, True)
    assert [m.sid for m in (await begin(house, again)).start] == [m.sid for m in begun.start]
    assert (await house.campaign(campaign_id)).accepted == 0


async def test_what_an_unanswered_commit_started_is_handed_back(house: House, tmp_path: Path) -> None:
    campaign_id = await fetched(house, customers=50)
    taken = await take(house)
    first = await begin(house, taken, most=10)
    lost = await begin(house, taken, most=10)  # its answer never came: nobody has these messages
    with Journal.open(tmp_path, "first") as journal:
        await hand_back_unsent(house.ctx, ACME, taken, {message.number for message in first.start}, journal)
    await record(house, taken, Known({message.number: Accepted() for message in first.start}))
    rest = await begin(house, taken)
    await record(house, taken, Known({message.number: Accepted() for message in rest.start}))
    again = await take(house)
    begun = await begin(house, again)
    assert [message.sid for message in begun.start] == [message.sid for message in lost.start]
    await record(house, again, Known({message.number: Accepted() for message in begun.start}))
    counts = await house.campaign(campaign_id)
    assert counts.state == "complete"
    assert counts.accepted == len({m.sid for m in (*first.start, *rest.start, *begun.start)})


async def test_a_message_to_be_tried_again_moves_to_a_later_batch(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    taken = await take(house)
    begun = await begin(house, taken)
    answers = {message.number: Later("450 later", timedelta(seconds=1)) for message in begun.start[:3]}
    rest = {message.number: Accepted() for message in begun.start[3:]}
    await record(house, taken, Known({**answers, **rest}))
    assert await pipeline.take(house.ctx, ACME, NEWSLETTER) is None
    await asyncio.sleep(1.1)
    again = await take(house)
    assert (await tries_of(house, again), len((await begin(house, again)).start)) == (1, 3)
    assert (await house.campaign(campaign_id)).in_doubt == 0


async def test_a_page_added_twice_changes_nothing_and_puts_no_second_successor(house: House) -> None:
    campaign_id = await fetched(house, customers=50)
    before = await house.campaign(campaign_id)
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select pass from page")
        row = await cursor.fetchone()
        jobs = await (await ledger.connection.execute("select count(*) from procrastinate_jobs")).fetchone()
    assert row is not None
    for skip in (0, 50):
        await pipeline.gather.run(house.ctx, ACME, pass_=row[0], skip=skip)
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        assert await (await ledger.connection.execute("select count(*) from procrastinate_jobs")).fetchone() == jobs
    assert await house.campaign(campaign_id) == before


async def test_rows_that_repeat_while_pages_move_are_read_again_and_counted_once(house: House) -> None:
    await house.optimove.post("/_sim/quirks", json={"page_cap": 20})
    twice = [{"CustomerID": "C-1", "TemplateID": 17, "ScheduledTime": "2031-04-02 10:00:00"}] * 2
    campaign_id = await fetched(house, customers=50, rows=twice)
    await gather_all(house)
    assert (await house.campaign(campaign_id)).handed_over == 51
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select reading from pass")
        assert await cursor.fetchall() == [(2,)]
