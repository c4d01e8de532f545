"""Requests are made durable in groups, and each hears what became of it."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from optirelay.store import StoreUnavailable
from optirelay.web.keeping import APART_SECONDS, Keeper


async def test_what_comes_while_a_commit_is_under_way_shares_the_next() -> None:
    groups: list[Sequence[int]] = []
    goes_on = asyncio.Event()

    async def keep(group: Sequence[int]) -> None:
        groups.append(group)
        await goes_on.wait()

    keeper = Keeper(keep)
    first = asyncio.create_task(keeper.keep(1))
    while not groups:
        await asyncio.sleep(0)
    others = [asyncio.create_task(keeper.keep(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    assert not first.done()
    goes_on.set()
    await asyncio.gather(first, *others)
    assert groups == [[1], [2, 3, 4]]


async def test_two_commits_begin_a_few_milliseconds_apart_and_the_first_at_once() -> None:
    loop, began_at = asyncio.get_running_loop(), list[float]()

    async def keep(_: Sequence[int]) -> None:
        began_at.append(loop.time())

    keeper = Keeper(keep)
    for number in range(6):
        await keeper.keep(number)
    assert len(began_at) == 6
    assert min(later - earlier for earlier, later in pairwise(began_at)) > APART_SECONDS * 0.8


async def test_a_group_that_could_not_be_kept_is_told_so_and_the_next_is_tried() -> None:
    groups: list[Sequence[int]] = []

    async def keep(group: Sequence[int]) -> None:
        groups.append(group)
        if len(groups) == 1:
            raise ConnectionError("the disk is full")

    keeper = Keeper(keep)
    answers = await asyncio.gather(keeper.keep(1), keeper.keep(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    await keeper.keep(3)
    assert groups == [[1, 2], [3]]


@pytest.mark.parametrize("given_up", [True, False])
async def test_who_does_not_wait_for_the_answer_keeps_nobody_else_from_theirs(given_up: bool) -> None:
    groups: list[Sequence[int]] = []

    async def keep(group: Sequence[int]) -> None:
        groups.append(group)
        await asyncio.sleep(0.01)

    keeper = Keeper(keep)
    waits = [asyncio.create_task(keeper.keep(number)) for number in (1, 2)]
    while not groups:
        await asyncio.sleep(0)
    if given_up:
        waits[0].cancel()
    await waits[1]
    assert groups == [[1, 2]]
    assert waits[0].cancelled() == given_up
