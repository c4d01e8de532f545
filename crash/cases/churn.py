"""A worker that dies every few seconds must not slow the other one down."""

import asyncio
import time

from crash.cases._campaign import Case, concluded, under_way
from crash.compare import Verdict
from crash.house import CONNECTIONS, WEB, WORKERS, House, Wanted

# So slow that neither processor nor database is what holds a worker up: 10 connections take 200 messages a second.
PACE_SECONDS = 0.05
PER_SECOND = CONNECTIONS / PACE_SECONDS
BASELINE_PART = 1 / 6  # of the time under churn, measured before it
EVERY_SECONDS = 4.0  # the second worker is killed so often
LEAST_PART = 2 / 3


async def churn(case: Case) -> Verdict:
    """The second worker is killed every few seconds, for two minutes, and started again at once.

    The throughput of the first, by its receipts, does not fall by more than a third of what it was alone. Nobody is
    lost or written to twice.
    """
    first, second = WORKERS
    alone_seconds = case.seconds * BASELINE_PART
    messages = int(PER_SECOND * (2 * case.seconds + alone_seconds + 5))  # more than both can send
    wanted = Wanted(customers=messages, page_cap=2000, takeover_after=case.takeover_after, say=case.say)
    sized = Case(folder=case.folder, say=case.say, messages=messages, takeover_after=case.takeover_after)
    async with under_way(sized, pace_seconds=PACE_SECONDS, processes=(WEB, first), wanted=wanted) as house:
        await asyncio.sleep(3)  # until it sends at its usual pace
        alone = await _per_second(house, alone_seconds)
        case.say(f"{first} alone: {alone:.0f} messages a second, over {alone_seconds:.0f} s")
        house.start(second)
        killing = asyncio.create_task(_kill_again_and_again(house, second))
        beside = await _per_second(house, case.seconds)
        killing.cancel()
        kills = house.processes[second].starts - 1
        case.say(f"{first} beside {second}, killed {kills} times: {beside:.0f} a second, {beside / alone:.0%} of that")
        troubles = []
        if beside < alone * LEAST_PART:
            troubles.append(f"{first} fell from {alone:.0f} to {beside:.0f} messages a second: more than a third")
        return await concluded(house, interruptions=kills, troubles=troubles)


async def _per_second(house: House, seconds: float) -> float:
    """The first worker's receipts in the next seconds."""
    began = time.time()
    await asyncio.sleep(seconds)
    ended = time.time()
    return sum(began <= r.at < ended and r.door == 0 for r in house.receiver.receipts()) / seconds


async def _kill_again_and_again(house: House, worker: str) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        house.processes[worker].kill()
