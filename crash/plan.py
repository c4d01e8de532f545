"""What befalls whom, and when: drawn from a seed alone."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from crash.house import DATABASE, OPTIMOVE, RECEIVER, WEB, WORKERS
from crash.proxy import Cut, Fault

POSTGRES = "PostgreSQL"
LONGEST_DELAY_SECONDS = 3.0
VICTIMS = {WORKERS[0]: 4, WORKERS[1]: 4, WEB: 1, POSTGRES: 2}


class Kill(NamedTuple):
    """kill -9 of a process; PostgreSQL ends as by `pg_ctl stop -m immediate`."""

    at: float  # the part of the messages that has arrived by then
    after_seconds: float  # and so much later
    victim: str
    down_seconds: float  # until PostgreSQL is started again


class Trip(NamedTuple):
    """The next request of a process towards one of the three meets a fault."""

    at: float
    process: str
    towards: str
    fault: Fault


def plan(seed: int, *, kills: int, faults: int) -> list[Kill | Trip]:
    """So many of each, by progress. A tenth each falls on the gathering at the start and on the report at the end."""
    dice = random.Random(seed)
    planned: list[Kill | Trip] = [*_kills(dice, kills), *_trips(dice, faults)]
    return sorted(planned, key=lambda blow: blow.at)


def _kills(dice: random.Random, count: int) -> Iterator[Kill]:
    at_each_end = max(1, count // 10) if count > 2 else 0
    for number in range(count):
        victim = dice.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        down = dice.uniform(0.1, 1.0)
        if number < at_each_end:
            yield Kill(0.0, dice.uniform(0.0, 1.0), victim, down)
        elif number < 2 * at_each_end:
            yield Kill(1.0, dice.uniform(0.0, 0.7), victim, down)
        else:
            yield Kill(dice.random(), dice.uniform(0.0, 0.3), victim, down)


def _trips(dice: random.Random, count: int) -> Iterator[Trip]:
    for _ in range(count):
        cut = dice.choice(list(Cut))
        fault = Fault(cut, dice.uniform(0.2, LONGEST_DELAY_SECONDS) if cut is Cut.DELAY else 0.0)
        towards = dice.choices((RECEIVER, DATABASE, OPTIMOVE), (5, 3, 2))[0]
        process = dice.choice((WEB, *WORKERS) if towards == DATABASE else WORKERS)
        # Optimove is only called at the start and for the report.
        at = dice.choice((0.0, 1.0)) if towards == OPTIMOVE else dice.random()
        yield Trip(at, process, towards, fault)
