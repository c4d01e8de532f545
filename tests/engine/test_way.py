"""In one process, who has little to do goes before who has much; and who has much goes on all the same."""

import asyncio
import time
from collections.abc import Sequence

from optirelay.engine.way import LITTLE, LONGEST_SECONDS, Way

MUCH = 10 * LITTLE


async def large(way: Way) -> None:
    await way.give("large", MUCH)


async def goes_on(working: "asyncio.Task[None]", seconds: float = 0.05) -> bool:
    await asyncio.wait({working}, timeout=seconds)
    return working.done()


async def test_who_has_much_to_do_waits_until_the_others_are_done() -> None:
    way = Way()
    await large(way)  # alone, it waits for nobody
    with way.at_work("small"):
        working = asyncio.create_task(large(way))
        assert not await goes_on(working)
        await way.give("small", 10)
        await way.give("another", LITTLE)
        assert not working.done()
    assert await goes_on(working, seconds=10)


async def test_a_step_keeps_the_way_until_the_next_can_come() -> None:
    way = Way()
    await way.give("small", 10)
    working = asyncio.create_task(large(way))
    assert not await goes_on(working, seconds=0.005)
    assert await goes_on(working, seconds=10)


async def test_two_who_have_much_to_do_wait_for_nobody() -> None:
    way = Way()
    await asyncio.gather(*(way.give(whose, MUCH) for whose in "ab"))
    with way.at_work("a"):
        await asyncio.wait_for(way.give("b"), 0.05)


async def test_however_many_little_ones_there_are_a_large_one_goes_on() -> None:
    way = Way()
    ended = asyncio.Event()

    async def little_ones() -> None:
        while not ended.is_set():
            with way.at_work("small"):
                await asyncio.sleep(0.001)

    small = asyncio.create_task(little_ones())
    await asyncio.sleep(0.01)
    steps = 0
    end = time.monotonic() + 3 * LONGEST_SECONDS
    while time.monotonic() < end:
        await large(way)
        await asyncio.sleep(0.001)
        steps += 1
    ended.set()
    await small
    assert steps > 50


async def test_what_was_done_long_ago_is_forgotten() -> None:
    way = Way()
    await way.give("once large", LITTLE + 100)
    working = asyncio.create_task(large(way))
    with way.at_work("once large"):
        assert await goes_on(working, seconds=1)
    await asyncio.sleep(0.3)  # by now it has room for a few rows again
    working = asyncio.create_task(large(way))
    with way.at_work("once large"):
        assert not await goes_on(working, seconds=0.01)
    await working


async def test_all_is_done_slice_by_slice_in_its_order() -> None:
    way = Way()
    slices: list[int] = []

    def work(numbers: Sequence[int]) -> list[int]:
        slices.append(len(numbers))
        return [2 * number for number in numbers]

    done = await way.in_slices("large", tuple(range(10)), work, size=4)
    assert done == [2 * number for number in range(10)]
    assert slices == [4, 4, 2]
