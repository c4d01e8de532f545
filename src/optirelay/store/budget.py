"""The calls that one tenant's key may make at Optimove, over all workers, by the database's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import KeyCall, Share
from optirelay.store._sql import Statements

_UNSEEN = timedelta(seconds=5)  # who waits and did not look for so long is gone
_UNANSWERED = timedelta(minutes=1)  # a call has reached Optimove by then, or never will


@dataclass(frozen=True, slots=True)
class Asking:
    """How the key stands while one call waits for its turn."""

    id: int  # of this call
    calls: Sequence[KeyCall]  # what waits, this one too, and what counts; by id
    now: datetime
    refusals: int  # in a row
    waits_until: datetime | None  # nobody calls before


class Budget:
    """One tenant's key."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "budget", {"tenant": tenant})

    async def ask(self, number: int | None, share: Share, window: timedelta) -> Asking:
        """A call wants to be made: how the key stands, which is locked until the transaction ends.

        `number` is what the call was given when it asked before; None at first.
        """
        standing = await self._lock()
        await self._sql.do("forget", window=window, unseen=_UNSEEN, unanswered=_UNANSWERED)
        if number is None or not await self._sql.count("see", id=number):
            number = int(await self._sql.value("wait", share=share))
        calls = await self._sql.rows(KeyCall, "calls")
        now = await self._sql.value("now")
        return Asking(number, calls, now, standing.refusals, standing.waits_until)

    async def make(self, number: int) -> None:
        """The call is made, right after the commit."""
        await self._sql.do("make", id=number)

    async def leave(self, number: int) -> None:
        """The call does not wait any more."""
        await self._sql.do("leave", id=number)

    async def answered(self, number: int) -> None:
        """Whatever came of the call: it was not refused for being one too many."""
        await self._sql.do("answered", id=number)
        await self._sql.do("taken")

    async def refusals(self) -> int:
        """Which refusal in a row one is that came now: calls refused while nobody was to call count once."""
        standing = await self._lock()
        waits = standing.waits_until is not None and await self._sql.value("now") < standing.waits_until
        return standing.refusals + (not waits)

    async def refused(self, number: int, refusals: int, pause: timedelta) -> timedelta:
        """Optimove had too many calls: nobody calls for a while. How long that has lasted."""
        await self._sql.do("answered", id=number)
        lasting: timedelta = await self._sql.value("refused", refusals=refusals, pause=pause)
        return lasting

    async def _lock(self) -> "_Standing":
        await self._sql.do("own")
        standing = await self._sql.row(_Standing, "lock")
        assert standing is not None
        return standing


@dataclass(frozen=True, slots=True)
class _Standing:
    refusals: int
    refused_since: datetime | None
    waits_until: datetime | None
