"""Whether a connection out of the pool still works."""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

_WORKS_SECONDS = 1.0  # after it did


def check_now_and_then() -> Callable[[AsyncConnection[Any]], Awaitable[None]]:
    """Whoever takes a connection out of the pool that nobody used for a while looks whether it still works.

    Each look waits for the server, and a busy pool has no time for that.
    """
    looked_at: WeakKeyDictionary[AsyncConnection[Any], float] = WeakKeyDictionary()

    async def check(connection: AsyncConnection[Any]) -> None:
        now = time.monotonic()
        if now - looked_at.get(connection, 0.0) > _WORKS_SECONDS:
            await AsyncConnectionPool.check_connection(connection)
            looked_at[connection] = now

    return check
