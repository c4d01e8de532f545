"""The way to the database, which ends or goes silent between any two transactions."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


class Killed(BaseException):
    """The process ended here; nothing of it may catch this."""


class How(StrEnum):
    """What happens at one transaction."""

    REFUSED = "refused"  # the database is away: nothing is written
    UNANSWERED = "unanswered"  # it is committed, and its answer is lost
    KILLED = "killed"  # it is committed, and the process ends


@dataclass(frozen=True, slots=True)
class Cut:
    """What happens at a process's transaction of this number, counted from 0."""

    how: How
    at: int


class Line(AsyncConnectionPool):
    """A pool of real connections, each transaction of which can be cut."""

    _cut: Cut | None = None
    _number = 0

    @contextmanager
    def cut(self, cut: Cut | None) -> Iterator[None]:
        """Cut one of the transactions from here on; whatever comes after it is not cut."""
        self._cut, self._number = cut, 0
        try:
            yield
        finally:
            self._cut = None

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection for one transaction."""
        cut, self._number = self._cut, self._number + 1
        how = cut.how if cut is not None and cut.at == self._number - 1 else None
        if how is How.REFUSED:
            raise psycopg.OperationalError("the connection was cut")
        async with super().connection(timeout) as connection:
            yield connection
        if how is How.UNANSWERED:
            raise psycopg.OperationalError("the connection was cut before the commit was answered")
        if how is How.KILLED:
            raise Killed
