"""Workers that are gone and come back: they must do no harm with what they still believe."""

import asyncio
import signal

from crash.cases._campaign import Case, arrived, concluded, under_way
from crash.compare import Verdict
from crash.house import DATABASE, WORKERS, House

PACE_SECONDS = 0.04
LONGER_THAN_THE_LEASE = 1.6


async def stopped(case: Case) -> Verdict:
    """A worker is stopped (SIGSTOP) for longer than its lease and continued, then the other one.

    Meanwhile the batches that it holds are taken over. Continued, it starts nothing of them; what it had handed over
    it still tells. Nobody is lost or written to twice, and at most one message a connection is in doubt.
    """
    async with under_way(case, pace_seconds=PACE_SECONDS) as house:
        for number, worker in enumerate(WORKERS):
            await arrived(house, case.messages * (0.2 + 0.3 * number))
            await _stop_for_long(case, house, worker)
        return await concluded(house, interruptions=len(WORKERS), troubles=[])


async def _stop_for_long(case: Case, house: House, worker: str) -> None:
    pause = case.lease_seconds * LONGER_THAN_THE_LEASE
    house.processes[worker].signal(signal.SIGSTOP)
    before = house.receiver.count
    case.say(f"{worker} stopped for {pause:.1f} s, its lease is {case.takeover_after}")
    await asyncio.sleep(pause)
    house.processes[worker].signal(signal.SIGCONT)
    case.say(f"{worker} continued; meanwhile {house.receiver.count - before} messages arrived from the other one")


async def cut_off(case: Case) -> Verdict:
    """A worker is cut off from the database for longer than its lease, and it comes back.

    First as by a dead cable: nothing comes through, and nothing is closed. Then, for the other worker, as by a host
    that is down: connections are closed, and refused. What they had begun is known or in doubt, the rest is sent by
    the other worker. Nobody is lost or written to twice.
    """
    pause = case.lease_seconds * LONGER_THAN_THE_LEASE
    async with under_way(case, pace_seconds=PACE_SECONDS) as house:
        for number, worker in enumerate(WORKERS):
            await arrived(house, case.messages * (0.2 + 0.3 * number))
            proxy = house.proxies[worker, DATABASE]
            if number == 0:
                proxy.go_silent()
            else:
                proxy.go_away()
            how = "silence" if number == 0 else "refusals"
            case.say(f"{worker} cut off from the database for {pause:.1f} s, by {how}")
            await asyncio.sleep(pause)
            proxy.come_back()
            case.say(f"{worker} reaches the database again; it was started {house.processes[worker].starts} times")
        return await concluded(house, interruptions=len(WORKERS), troubles=[])
