"""What all workers must know of one tenant's channels: whether anything may start, and the next slots of the rate."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import ChannelName
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class ChannelStanding:
    """Whether anything of a channel may start."""

    waits: int  # in a row, for its provider
    waits_until: datetime | None
    paused: bool
    stopped: bool  # its provider takes nothing until a person changes something


@dataclass(frozen=True, slots=True)
class NextSlots:
    """Where a channel's rate stands; waits in seconds."""

    wait: float  # until the next free slot
    triggered_wait: float  # until triggered messages have had no more than half of the slots
    scheduled_wait: bool  # whether scheduled ones could go


class Channels:
    """One tenant's channels."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "channels", {"tenant": tenant})

    async def standing(self, channel: ChannelName) -> ChannelStanding:
        """Whether anything of the channel may start."""
        row = await self._sql.row(ChannelStanding, "standing", channel=channel)
        assert row is not None, "the store makes every channel of the settings known"
        return row

    async def waits(self, channel: ChannelName, pause: timedelta) -> None:
        """No batch of the channel is taken for a while, by any worker; each time counts, once for all workers."""
        await self._sql.do("waits", channel=channel, pause=pause)

    async def works(self, channel: ChannelName) -> None:
        """Its provider was reached: nothing waits for it."""
        await self._sql.do("works", channel=channel)

    async def pause(self, channel: ChannelName) -> bool:
        """Nothing of it starts from the commit on. False where it was paused before."""
        return await self._sql.count("pause", channel=channel) > 0

    async def resume(self, channel: ChannelName) -> bool:
        """It goes on. False where it was not paused."""
        return await self._sql.count("resume", channel=channel) > 0

    async def stop(self, channel: ChannelName) -> bool:
        """Its provider takes nothing more: nothing of it starts from the commit on. False where it was stopped."""
        return await self._sql.count("stop", channel=channel) > 0

    async def start_again(self, channel: ChannelName) -> bool:
        """What stopped it was mended. False where it was not stopped."""
        return await self._sql.count("start_again", channel=channel) > 0

    async def reserve_slots(
        self, channel: ChannelName, count: int, interval: timedelta, *, triggered: bool = False
    ) -> float:
        """Reserve the channel's next `count` slots, `interval` apart; when the first is, in the event loop's time."""
        wait: float = await self._sql.value(
            "slots", channel=channel, count=count, interval=interval, triggered=triggered
        )
        return asyncio.get_running_loop().time() + max(0.0, wait)

    async def next_slots(self, channel: ChannelName, interval: timedelta) -> NextSlots:
        """How long until the channel's next free slot, `interval` behind the last that is reserved."""
        row = await self._sql.row(NextSlots, "next_slots", channel=channel, interval=interval)
        assert row is not None, "the store makes every channel of the settings known"
        return row
