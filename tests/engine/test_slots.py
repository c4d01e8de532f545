"""A channel's rate is kept to the message, also by a worker that stood still for a while."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay.engine.slots import Slots
from optirelay.settings import Rate
from optirelay.stages import sending

RATE = Rate(60, timedelta(seconds=2))  # a message may leave 60 ms late


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0) as opened:
        yield opened


class Shared:
    """The channel's slots, as workers reserve them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.reserved = 0

    async def reserve(self, count: int) -> float:
        self.reserved += count
        async with self._house.ctx.store.tenant(ACME).transaction() as ledger:
            return await ledger.channels.reserve_slots(NEWSLETTER, count, sending.slot_interval(RATE))

    async def of_a_worker(self, count: int) -> Slots:
        late = sending.may_be_late(RATE)
        slots = Slots(interval=sending.slot_interval(RATE), may_be_late=late, reserve=self.reserve)
        slots.add(await self.reserve(count), count)
        return slots


async def leave(slots: Slots, count: int, left_at: list[float]) -> None:
    for _ in range(count):
        await slots.wait()
        left_at.append(time.monotonic())


def most_in_a_window(left_at: list[float]) -> int:
    left_at = sorted(left_at)
    window = RATE.per.total_seconds()
    return max(sum(start <= moment < start + window for moment in left_at) for start in left_at)


async def test_a_worker_that_stood_still_lets_its_slots_go_and_does_not_catch_up(house: House) -> None:
    left_at: list[float] = []
    channel = Shared(house)
    slots = await channel.of_a_worker(80)  # for 2.7 s
    leaving = asyncio.create_task(leave(slots, 80, left_at))
    await asyncio.sleep(0.7)
    others = asyncio.create_task(leave(await channel.of_a_worker(40), 40, left_at))  # theirs come right behind
    await asyncio.sleep(0.3)
    time.sleep(1.4)  # the whole process stands still
    await asyncio.gather(leaving, others)
    assert len(left_at) == 120
    assert most_in_a_window(left_at) <= RATE.count


async def test_slots_that_are_used_up_are_followed_by_new_ones(house: House) -> None:
    left_at: list[float] = []
    await leave(await Shared(house).of_a_worker(3), 12, left_at)
    assert len(left_at) == 12
    assert most_in_a_window(left_at) <= RATE.count


async def test_what_missed_its_slots_takes_those_of_the_next_group_and_none_goes_by_meanwhile(house: House) -> None:
    channel = Shared(house)
    slots = await channel.of_a_worker(40)  # for 1.4 s
    slots.add(await channel.reserve(40), 40)  # the next group's, right behind
    time.sleep(1.3)  # the whole process stands still, until nearly all of the first are over
    left_at: list[float] = []
    await asyncio.gather(*(leave(slots, 10, left_at) for _ in range(4)))  # the first group, over four connections
    assert len(left_at) == 40
    assert channel.reserved < 100  # with slots of its own each group would have needed 120
    assert most_in_a_window(left_at) <= RATE.count
