"""In one process, who has little to do goes before who has much; and who has much goes on all the same."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from optirelay.engine import way as way_module
from optirelay.engine.way import LATELY_SECONDS, LITTLE, LONGEST_SECONDS, Way

MUCH = 10 * LITTLE


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at work may take long, so that a busy machine's pauses are none."""
    monkeypatch.setattr(way_module, "STEP_SECONDS", 20.0)
    monkeypatch.setattr(way_module, "LONGEST_SECONDS", 40.0)


async def large(way: Way) -> None:
    await way.give("large", MUCH)


async def goes_on(working: "asyncio.Task[None]", seconds: float = 0.05) -> bool:
    await asyncio.wait({working}, timeout=seconds)
    return working.done()


@pytest.mark.usefixtures("slowly")
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


async def test_a_step_keeps_the_way_until_the_next_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_module, "LINGER_SECONDS", 1.0)
    way = Way()
    await way.give("small", 10)
    working = asyncio.create_task(large(way))
    assert not await goes_on(working, seconds=0.005)
    assert await goes_on(working, seconds=10)


@pytest.mark.usefixtures("slowly")
async def test_two_who_have_much_to_do_wait_for_nobody() -> None:
    way = Way()
    await asyncio.gather(*(way.give(whose, MUCH) for whose in "ab"))
    with way.at_work("a"):
        await asyncio.wait_for(way.give("b"), 10)


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


@pytest.mark.usefixtures("slowly")
async def test_what_was_done_long_ago_is_forgotten() -> None:
    way = Way()
    await way.give("large too", MUCH)
    await way.give("large for a moment", LITTLE + 100)
    with way.at_work("large too"):
        assert await goes_on(asyncio.create_task(large(way)), seconds=10)
    await asyncio.sleep(0.3)  # 100 rows are forgotten in less
    with way.at_work("large for a moment"):
        working = asyncio.create_task(large(way))
        assert not await goes_on(working)
    assert await goes_on(working, seconds=10)


async def test_work_that_cannot_be_sliced_is_small_for_a_moment_after_triggered_messages() -> None:
    way = Way()
    with way.urgent():  # somebody looks whether there are any
        assert way.at_once("large", MUCH) == MUCH
    with way.urgent(1):
        assert way.at_once("large", MUCH) < LITTLE
        assert way.at_once("large", 5) == 5
        assert way.at_once(None, MUCH) == MUCH
    assert way.at_once("large", MUCH) < LITTLE
    await asyncio.sleep(LATELY_SECONDS)
    assert way.at_once("large", MUCH) == MUCH


async def test_all_is_done_slice_by_slice_in_its_order() -> None:
    way = Way()
    slices: list[int] = []

    def work(numbers: Sequence[int]) -> list[int]:
        slices.append(len(numbers))
        return [2 * number for number in numbers]

    done = await way.in_slices("large", tuple(range(10)), work, size=4)
    assert done == [2 * number for number in range(10)]
    assert slices == [4, 4, 2]
