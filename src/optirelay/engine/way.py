"""Who goes first in one process: who has little to do, before who has much."""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

LITTLE = 500  # rows of pages, or messages, at once and then each second
FORGOTTEN_SECONDS = 10  # after much work
MOST_KNOWN = 1000  # of those who worked; then they are looked through
LINGER_SECONDS = 0.03  # between two pieces of work on the same few rows: a job is fetched, a sender woken
STEP_SECONDS = 0.1  # within one piece: longer is only waited for outside, for Optimove or a provider
LONGEST_SECONDS = 1.0  # that what has much to do stands still
FEW = 200  # rows at once beside triggered messages: a few milliseconds
LATELY_SECONDS = 1.0  # after triggered messages
URGENT_MILLISECONDS = 8  # left to triggered messages before each slice
REST = 0.5  # of the time for which it stood still, it goes on undisturbed


class Way:
    """The right of way in one process. Long work is done in slices of a millisecond, and says so before each: whoever
    handled many rows lately waits there while somebody who handled few is at work.

    It does not wait for ever: however many little ones there are, a third of the time is left to the large ones.

    Triggered messages (`whose` is None) wait for nobody. While they are accepted and handed over, each slice of the
    others leaves them a few milliseconds.
    """

    def __init__(self) -> None:
        self._lately: dict[Hashable, tuple[float, float]] = {}  # rows that were not forgotten then
        self._little = 0  # of them are at work
        self._from = self._until = 0.0  # large ones stand still
        self._urgent = 0  # groups of triggered messages on their way
        self._triggered_at = 0.0  # the last of them went

    @contextmanager
    def at_work(self, whose: Hashable | None) -> Iterator[None]:
        """A piece of work; where it is one of few rows, it has the right of way until its end."""
        if whose is None or not self._has_little(whose, 0):
            yield
            return
        self._little += 1
        self._take()
        try:
            yield
        finally:
            self._little -= 1
            self._take()

    @contextmanager
    def urgent(self, messages: int = 0) -> Iterator[None]:
        """Triggered messages, so many or not known how many, are on their way until the end."""
        if messages:
            self._triggered_at = time.monotonic()
        self._urgent += 1
        try:
            yield
        finally:
            self._urgent -= 1

    def at_once(self, whose: Hashable | None, most: int) -> int:
        """How many of so many rows somebody's work may handle where it cannot be sliced: few, while triggered messages
        went a moment ago."""
        lately = time.monotonic() - self._triggered_at < LATELY_SECONDS
        return min(most, FEW) if whose is not None and lately else most

    async def give(self, whose: Hashable | None, rows: int = 0) -> None:
        """One step of somebody's work, in which so many rows are handled."""
        if whose is None:
            pass
        elif self._has_little(whose, rows):
            self._take()
        else:
            while (ahead := self._until - time.monotonic()) > 0:
                await asyncio.sleep(min(ahead, LINGER_SECONDS))  # they may be done before
            for _ in range(URGENT_MILLISECONDS if self._urgent else 0):
                await asyncio.sleep(0.001)
                if not self._urgent:
                    break
        await asyncio.sleep(0)  # others of its kind get a turn, too

    async def in_slices(
        self, whose: Hashable | None, things: Sequence[A], work: Callable[[Sequence[A]], Iterable[B]], *, size: int
    ) -> list[B]:
        """What `work` makes of all of them, `size` at a time; a slice should take about a millisecond."""
        done: list[B] = []
        for start in range(0, len(things), size):
            await self.give(whose)
            done += work(things[start : start + size])
        return done

    def _has_little(self, whose: Hashable, rows: int) -> bool:
        now = time.monotonic()
        if len(self._lately) > MOST_KNOWN:
            self._lately = {known: of for known, of in self._lately.items() if now - of[0] < FORGOTTEN_SECONDS}
        before, left = self._lately.get(whose, (now, 0.0))
        left = min(max(0.0, left - (now - before) * LITTLE) + rows, FORGOTTEN_SECONDS * LITTLE)
        self._lately[whose] = now, left
        return left <= LITTLE

    def _take(self) -> None:
        now = time.monotonic()
        if now > self._until:
            if now < self._until + (self._until - self._from) * REST:
                return
            self._from = now
        seconds = STEP_SECONDS if self._little else LINGER_SECONDS
        self._until = min(now + seconds, self._from + LONGEST_SECONDS)
