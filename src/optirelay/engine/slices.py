"""Long work in short pieces, so that whoever else has something to do in this process gets their turn in between."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def in_slices(things: Sequence[A], work: Callable[[Sequence[A]], Iterable[B]], *, size: int) -> list[B]:
    """What `work` makes of all of them, `size` at a time; a slice should take about a millisecond."""
    done: list[B] = []
    for start in range(0, len(things), size):
        done += work(things[start : start + size])
        await asyncio.sleep(0)
    return done
