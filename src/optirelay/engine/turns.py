"""Calls with one tenant's key take turns, over all workers: Optimove's budget holds, and each share gets its part."""

import asyncio
from datetime import timedelta

import structlog

from optirelay.errors import TryLater
from optirelay.model import ProblemKind, Share
from optirelay.settings import Rate
from optirelay.stages import budget
from optirelay.store import TenantStore

MOST_WAITING = timedelta(seconds=15)  # of one call, for all its turns; a worker that ends waits 20 s for its jobs
_LASTS = timedelta(minutes=1)  # refusals for so long are told
_SHARES = {
    "GetCustomerSendDetailsByChannel": Share.PAGES,
    "UpdateCampaignMetrics": Share.REPORTS,
    "UpdateCampaignInteractions": Share.REPORTS,
}
_MEND = "See what else uses the key, or lower the tenant's rate_limit; it is tried again by itself"

log = structlog.get_logger()


class TooManyCalls(TryLater):
    """429: nothing was done, and the key has no calls left for now."""


class Turns:
    """What one call needs until it is answered."""

    def __init__(self, store: TenantStore, rate: Rate, call: str) -> None:
        self._store = store
        self._rate = rate
        self._call = call
        self._left = MOST_WAITING

    async def next(self) -> int:
        """Wait until the key has room for the call: its number. TryLater where that takes longer than MOST_WAITING."""
        number: int | None = None
        while True:
            async with self._store.transaction() as ledger:
                asking = await ledger.budget.ask(number, _SHARES.get(self._call, Share.OTHER), self._rate.per)
                number = asking.id
                wait = budget.wait_for_turn(
                    number,
                    asking.calls,
                    count=self._rate.count,
                    window=self._rate.per,
                    now=asking.now,
                    one_by_one=asking.refusals > 0,
                    not_before=asking.waits_until,
                )
                if not wait:
                    await ledger.budget.make(number)
                    return number
                if late := wait > self._left:
                    await ledger.budget.leave(number)
            if late:
                raise TryLater(
                    f"the key has no calls left for {self._call} for {wait.total_seconds():.0f} s", after=wait
                )
            pause = min(wait, budget.LONGEST_LOOK_AWAY)
            await asyncio.sleep(pause.total_seconds())
            self._left -= pause

    async def refused(self, number: int, error: TooManyCalls) -> None:
        """Nobody calls with this key for a while, in any worker; the operator is told where that lasts."""
        async with self._store.transaction() as ledger:
            refusals = await ledger.budget.refusals()
            lasting = await ledger.budget.refused(number, refusals, budget.pause_after(refusals, error.after))
            if lasting >= _LASTS:
                await ledger.problems.tell(ProblemKind.OPTIMOVE_SILENT, str(error), _MEND, subject=self._call)
        log.info("too_many_calls", tenant=self._store.name, call=self._call, refusals=refusals)
