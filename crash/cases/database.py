"""The database killed under load, and away for a while."""

import asyncio
import time

from crash.cases._campaign import Case, arrived, concluded, under_way
from crash.compare import Verdict
from crash.listener import Listener

PACE_SECONDS = 0.02
KILLS = 5
AWAY_SECONDS = 8.0
IN_HAND_SECONDS = 2.0  # what was started when the database went away may still leave
UNAVAILABLE = 503


async def postgres(case: Case) -> Verdict:
    """PostgreSQL is killed (`immediate`) again and again under load, and started again after half a second.

    What was committed is there again, what was not is done again. Nobody is lost or written to twice.
    """
    async with under_way(case, pace_seconds=PACE_SECONDS) as house:
        listener = Listener(house)
        for number in range(KILLS):
            await arrived(house, case.messages * (0.1 + 0.15 * number))
            await listener.post()
            case.say("kill (immediate): PostgreSQL")
            await house.restart_postgres(down_seconds=0.5)
            await listener.post()
        return await concluded(house, interruptions=KILLS, troubles=await listener.lost())


async def database_away(case: Case) -> Verdict:
    """The database is away for a while.

    The listener answers 503, nothing is sent beyond what was started already, and when it is back everything goes on
    by itself. Nobody is lost or written to twice.
    """
    troubles: list[str] = []
    async with under_way(case, pace_seconds=PACE_SECONDS) as house:
        listener = Listener(house)
        await arrived(house, case.messages * 0.2)
        await house.postgres.kill()
        case.say(f"PostgreSQL is away for {AWAY_SECONDS:.0f} s")
        await asyncio.sleep(IN_HAND_SECONDS)
        before, until = house.receiver.count, time.monotonic() + AWAY_SECONDS - IN_HAND_SECONDS
        while time.monotonic() < until:
            await listener.post()
            await asyncio.sleep(0.1)
        sent = house.receiver.count - before
        case.say(f"the listener answered {sorted(set(listener.answers))}; {sent} messages arrived meanwhile")
        if set(listener.answers) != {UNAVAILABLE}:
            troubles.append(f"the listener answered {sorted(set(listener.answers))} without a database, not 503 alone")
        if sent:
            troubles.append(f"{sent} messages arrived while the database was away")
        await house.postgres.start()
        case.say("PostgreSQL is back")
        await arrived(house, before + 1)
        verdict = await concluded(house, interruptions=1, troubles=troubles)
        verdict.troubles += await listener.lost()
        return verdict
