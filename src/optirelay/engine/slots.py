"""When the messages of one worker may leave, where their channel has a rate."""

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta

Reserve = Callable[[int], Awaitable[float]]
"""Reserves so many of the channel's next slots; when the first of them is, in the event loop's time."""


class Slots:
    """One worker's share of a channel's slots, which lie so far apart that a message may leave a little late.

    Whichever message comes first takes the next slot, of whatever group it is; triggered ones before scheduled ones.
    One that would leave later than a little, because this process or its machine stood still, would crowd those whose
    time it is: its slot goes by unused, and it takes the next. Where none is left, a few new ones are reserved.
    """

    def __init__(self, *, interval: timedelta, may_be_late: timedelta, reserve: Reserve) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval.total_seconds()
        self._may_be_late = may_be_late.total_seconds()
        self._few = max(1, int(may_be_late / interval))
        self._reserve = reserve
        self._runs: list[tuple[float, int]] = []  # when the first of so many is, the earliest run first
        self._first: deque[asyncio.Future[float]] = deque()  # triggered messages that wait
        self._others: deque[asyncio.Future[float]] = deque()
        self._giving: asyncio.Task[None] | None = None

    def add(self, first_at: float, count: int) -> float:
        """Have reserved slots used from here on; when the last of them is, in the event loop's time."""
        insort(self._runs, (first_at, count))
        return first_at + self._interval * (count - 1)

    async def wait(self, *, first: bool = False) -> None:
        """Until the next slot; with `first`, before all others that wait.

        StoreUnavailable where new ones were needed and could not be had.
        """
        waiting = self._first if first else self._others
        while True:
            turn: asyncio.Future[float] = self._loop.create_future()
            waiting.append(turn)
            if self._giving is None or self._giving.done():
                self._giving = asyncio.create_task(self._give())
            slot_at = await turn
            if slot_at + self._may_be_late >= self._loop.time():
                return

    async def _give(self) -> None:
        """One slot after another, each when its time has come, as long as somebody waits."""
        while self._someone_waits():
            try:
                slot_at = await self._next()
                ahead = slot_at - self._loop.time()
                if ahead > 0:
                    await asyncio.sleep(ahead)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                for turn in (*self._first, *self._others):
                    if not turn.done():
                        turn.set_exception(error)
                self._first.clear()
                self._others.clear()
                return
            if self._someone_waits():
                (self._first or self._others).popleft().set_result(slot_at)
            else:  # they went away meanwhile
                insort(self._runs, (slot_at, 1))

    def _someone_waits(self) -> bool:
        for waiting in (self._first, self._others):
            while waiting and waiting[0].done():  # cancelled
                waiting.popleft()
        return bool(self._first or self._others)

    async def _next(self) -> float:
        """The next slot that has not gone by."""
        while True:
            while self._runs:
                slot_at, left = self._runs.pop(0)
                if left > 1:
                    self._runs.insert(0, (slot_at + self._interval, left - 1))
                if slot_at + self._may_be_late >= self._loop.time():
                    return slot_at
            self.add(await self._reserve(self._few), self._few)
