"""One thing at a time, most of them broken; each case says what it does, what must come of it, and what it saw."""

from collections.abc import Awaitable, Callable

from crash.cases._campaign import Case
from crash.cases.churn import churn
from crash.cases.clock import clock
from crash.cases.database import database_away, postgres
from crash.cases.disk import disk_full
from crash.cases.optout import optout_race
from crash.cases.triggered import triggered
from crash.cases.workers import cut_off, stopped
from crash.compare import Verdict

CASES: dict[str, Callable[[Case], Awaitable[Verdict]]] = {
    "stopped": stopped,
    "cut-off": cut_off,
    "postgres": postgres,
    "database-away": database_away,
    "disk-full": disk_full,
    "clock": clock,
    "churn": churn,
    "optout-race": optout_race,
    "triggered": triggered,
}

__all__ = ["CASES", "Case"]
