"""Requests are made durable in groups: what arrives while one commit is under way shares the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from optirelay.store import StoreUnavailable

APART_SECONDS = 0.006  # two commits begin: each costs as much as a dozen requests
log = structlog.get_logger()
Request = TypeVar("Request")


class Keeper(Generic[Request]):
    """Keeps requests, all that wait at a time in one go."""

    def __init__(self, keep: Callable[[Sequence[Request]], Awaitable[None]]) -> None:
        self._keep = keep
        self._waiting: list[tuple[Request, asyncio.Future[None]]] = []
        self._busy: asyncio.Task[None] | None = None
        self._next_at = 0.0  # a commit may begin, in the loop's time

    async def keep(self, request: Request) -> None:
        """Returns when it is durable. StoreUnavailable: it may not be."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, kept))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._keep_all())
        await kept

    async def _keep_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(max(0.0, self._next_at - loop.time()))
            self._next_at = loop.time() + APART_SECONDS
            group, self._waiting = self._waiting, []
            try:
                await self._keep([request for request, _ in group])
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    log.exception("requests_not_kept")
                for _, kept in group:
                    if not kept.done():
                        kept.set_exception(StoreUnavailable(str(error)))
            else:
                for _, kept in group:
                    if not kept.done():
                        kept.set_result(None)
