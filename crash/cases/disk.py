"""The database's disk is full."""

import asyncio
import time

from crash.cases._campaign import Case, arrived, concluded, under_way
from crash.compare import Verdict
from crash.house import House, Wanted
from crash.listener import Listener
from crash.small_disk import SmallDisk, small_disk

PACE_SECONDS = 0.02
MEGABYTES = 256
FULL_SECONDS = 5.0  # after the first 503
UNAVAILABLE = 503


async def disk_full(case: Case) -> Verdict:
    """The disk on which PostgreSQL keeps its data is full under load; after a while there is space again.

    The listener answers 503 and acknowledges nothing that is not kept. With space everything goes on; PostgreSQL is
    started again where it had given up. Nobody is lost or written to twice.
    """
    async with small_disk(case.folder / "disk", megabytes=MEGABYTES) as disk:
        wanted = Wanted(
            customers=case.messages,
            page_cap=500,
            takeover_after=case.takeover_after,
            postgres={"max_wal_size": "64MB", "min_wal_size": "32MB"},
            disk=disk,
            say=case.say,
        )
        async with under_way(case, pace_seconds=PACE_SECONDS, wanted=wanted) as house:
            await arrived(house, case.messages * 0.2)
            listener, troubles = Listener(house), []
            if not await _full(house, disk, listener):
                troubles.append(f"the listener answered {sorted(set(listener.answers))} on a full disk, and no 503")
            await house.postgres.start()
            before = house.receiver.count
            await arrived(house, before + 1)
            verdict = await concluded(house, interruptions=1, troubles=troubles)
            verdict.troubles += await listener.lost()
            return verdict


async def _full(house: House, disk: SmallDisk, listener: Listener) -> bool:
    """Whether a notification was answered 503 while the disk was full."""
    house.say(f"the disk is full: {disk.fill() // 1024} KiB were free")
    deadline = time.monotonic() + 60
    first: float | None = None
    while time.monotonic() < (deadline if first is None else first + FULL_SECONDS):
        disk.fill()  # what was freed since, as by a checkpoint
        if await listener.post() == UNAVAILABLE and first is None:
            first = time.monotonic()
        await asyncio.sleep(0.05)
    disk.free()
    counts = {status: listener.answers.count(status) for status in sorted(set(listener.answers))}
    house.say(f"there is space again; the listener had answered {counts}")
    return first is not None
