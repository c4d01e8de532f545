"""In quiet hours nothing starts: not what is due, nor what is late, handed back or to be tried again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from tests import by_hand
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.operate import Decision
from optirelay.engine.settle import Known
from optirelay.engine.starting import Begun
from optirelay.model import Accepted, Answer, Doubtful, Later, Refusal, Refused

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def now() -> datetime:
    """The minute in which the test begins."""
    return datetime.now(UTC).replace(microsecond=0, second=0)


def hours(start: datetime, end: datetime) -> dict[str, Any]:
    """Quiet hours from one moment to the other, and so every day."""
    return {"quiet_hours": f"{start:%H:%M}-{end:%H:%M}"}


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    with time_machine.travel(moment):
        yield


async def begun(house: House) -> Begun | None:
    """The channel's next due batch, begun, and given back where nothing more of it can start; None: none is due."""
    taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
    if taken is None:
        return None
    group = await pipeline.begin(house.ctx, ACME, taken, {}, most=100)
    if group.over and not group.start:
        await pipeline.free(house.ctx, ACME, taken, group.next_due_at)
    return group


async def test_a_batch_met_in_quiet_hours_is_due_at_their_end(make_settings: MakeSettings, now: datetime) -> None:
    async with open_house(make_settings, workers=0, channel=hours(now - HOUR, now + 2 * HOUR)) as house:
        await house.push(17)
        await by_hand.fetched(house, customers=5)
        met = await begun(house)
        assert met is not None
        assert (met.start, met.next_due_at) == ([], now + 2 * HOUR)
        assert await begun(house) is None
        (shape,) = await operate.campaigns(house.ctx)
        assert (shape["state"], shape["planned"]) == ("waiting", 5)
        with at(now + 2 * HOUR):
            met = await begun(house)
        assert met is not None
        assert len(met.start) == 5


async def test_what_is_late_handed_back_or_tried_again_waits_for_their_end(
    make_settings: MakeSettings, now: datetime
) -> None:
    channel = hours(now + 5 * MINUTE, now + 2 * HOUR) | {"in_doubt": "repeat"}
    async with open_house(make_settings, workers=0, channel=channel) as house:
        await house.push(17)
        await by_hand.fetched(house, customers=6)
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
        assert taken is not None
        group = await pipeline.begin(house.ctx, ACME, taken, {}, most=5)
        later, doubtful, refused, handed_back, accepted = (message.number for message in group.start)
        answers: dict[int, Answer] = {
            later: Later(),
            doubtful: Doubtful(),
            refused: Refused(Refusal.REJECTED),
            accepted: Accepted(),
        }
        await pipeline.write_answers(house.ctx, ACME, {taken: Known(answers, [handed_back])})
        await pipeline.free(house.ctx, ACME, taken, None)
        (shape,) = await operate.campaigns(house.ctx)
        assert await operate.retry_refused(house.ctx, "acme", shape["campaign_id"], "newsletter") == (1, 0)
        with at(now + HOUR):
            met = [await begun(house) for _ in range(5)]  # the first batch, and one for each kind of again
            assert [(group.start, group.next_due_at) for group in met if group] == [([], now + 2 * HOUR)] * 5
            assert await begun(house) is None
        with at(now + 2 * HOUR):
            met = [await begun(house) for _ in range(5)]
            assert sum(len(group.start) for group in met if group) == 5


async def test_what_fell_into_quiet_hours_can_go_again_until_so_long_after_their_end(
    make_settings: MakeSettings, now: datetime
) -> None:
    channel = hours(now - 3 * HOUR, now - HOUR) | {"expire_after": "90m"}
    async with open_house(make_settings, workers=0, channel=channel) as house:
        await house.push(17)
        campaign_id = await by_hand.fetched(house, customers=4, send_at=["-150m"])
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
        assert taken is not None
        group = await pipeline.begin(house.ctx, ACME, taken, {}, most=100)
        first, second, *others = (message.number for message in group.start)
        answers: dict[int, Answer] = {first: Refused(Refusal.REJECTED), second: Doubtful()}
        answers |= dict.fromkeys(others, Accepted())
        await pipeline.write_answers(house.ctx, ACME, {taken: Known(answers)})
        with at(now + 31 * MINUTE):
            assert await operate.retry_refused(house.ctx, "acme", campaign_id, "newsletter") == (0, 1)
            resolved = await operate.resolve_doubts(house.ctx, Decision.RESEND, "asked", campaign_id=campaign_id)
            assert (resolved.done, len(resolved.left)) == (0, 1)
        with at(now + 29 * MINUTE):
            assert await operate.retry_refused(house.ctx, "acme", campaign_id, "newsletter") == (1, 0)
            resolved = await operate.resolve_doubts(house.ctx, Decision.RESEND, "asked", campaign_id=campaign_id)
            assert (resolved.done, resolved.left) == (1, [])


async def test_a_worker_sends_nothing_in_quiet_hours_and_lets_its_batches_rest(
    make_settings: MakeSettings, now: datetime
) -> None:
    async with open_house(make_settings, channel=hours(now - HOUR, now + 2 * HOUR)) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=50)
        await house.fire(campaign_id)

        async def waits() -> bool:
            shapes = await operate.campaigns(house.ctx)
            return any(shape["state"] == "waiting" for shape in shapes)

        await house.until(waits)
        counts = await house.campaign(campaign_id)
        assert (counts.begun, counts.next_due_at) == (0, now + 2 * HOUR)
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            cursor = await ledger.connection.execute("select max(fence), count(owner) from batch where done_at is null")
            assert await cursor.fetchone() == (1, 0)  # each was taken once
