"""When the messages of one group may leave, where their channel has a rate."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

Reserve = Callable[[int], Awaitable[float]]
"""Reserves so many of the channel's next slots; when the first of them is, in the event loop's time."""


class Slots:
    """A group's share of its channel's slots, which lie so far apart that a message may leave a little late.

    One that would leave later than that, because this process or its machine stood still, would crowd those whose time
    it is: its slot goes by unused, and it takes the next. Where none is left, a few new ones are reserved.
    """

    def __init__(
        self, count: int, *, first_at: float, interval: timedelta, may_be_late: timedelta, reserve: Reserve
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval.total_seconds()
        self._may_be_late = may_be_late.total_seconds()
        self._few = max(1, int(may_be_late / interval))
        self._reserve = reserve
        self._reserving = asyncio.Lock()
        self._next_at = first_at
        self._left = count
        self.last_at = first_at + self._interval * max(0, count - 1)

    def last_in(self) -> float:
        """Seconds until the last of the group's slots; 0 where it is over."""
        return max(0.0, self.last_at - self._loop.time())

    async def wait(self) -> None:
        """Until the next slot. StoreUnavailable where new ones were needed and could not be had."""
        while True:
            slot_at = await self._next()
            ahead = slot_at - self._loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if slot_at + self._may_be_late >= self._loop.time():
                return

    async def _next(self) -> float:
        """The next slot that has not gone by."""
        while not self._left or self._next_at + self._may_be_late < self._loop.time():
            if self._left:
                self._left -= 1
                self._next_at += self._interval
            else:
                await self._get_new()
        self._left -= 1
        self._next_at += self._interval
        return self._next_at - self._interval

    async def _get_new(self) -> None:
        async with self._reserving:
            if not self._left:  # else somebody else just did
                self._next_at = await self._reserve(self._few)
                self._left = self._few
