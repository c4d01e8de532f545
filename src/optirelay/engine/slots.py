"""When the messages of one group may leave, where their channel has a rate."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

Reserve = Callable[[int], Awaitable[timedelta]]
"""Reserves so many of the channel's next slots; how long until the first."""


class Slots:
    """A group's share of its channel's slots, which lie so far apart that a message may leave a little late.

    One that would leave later than that, because this process or its machine stood still, would crowd those whose time
    it is: it lets its slot go, and gets one of a few new ones.
    """

    def __init__(
        self, count: int, *, first_in: timedelta, interval: timedelta, may_be_late: timedelta, reserve: Reserve
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval.total_seconds()
        self._may_be_late = may_be_late.total_seconds()
        self._few = max(1, int(may_be_late / interval))
        self._reserve = reserve
        self._reserving = asyncio.Lock()
        self._next_at = self._loop.time() + first_in.total_seconds()
        self._left = count
        self.last_at = self._next_at + self._interval * max(0, count - 1)

    async def wait(self) -> None:
        """Until the next slot. StoreUnavailable where new ones were needed and could not be had."""
        while True:
            while self._left == 0 or self._next_at + self._may_be_late < self._loop.time():
                await self._get_new()
            slot_at = self._next_at
            self._left -= 1
            self._next_at += self._interval
            ahead = slot_at - self._loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if slot_at + self._may_be_late >= self._loop.time():
                return

    async def _get_new(self) -> None:
        async with self._reserving:
            if self._left and self._next_at + self._may_be_late >= self._loop.time():
                return  # somebody else just did
            first_in = await self._reserve(self._few)
            self._next_at, self._left = self._loop.time() + first_in.total_seconds(), self._few
