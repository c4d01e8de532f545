"""Tasks that run until they are cancelled are ended for sure."""

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.5


async def end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until each has ended, whatever it raises.

    Once is not enough: before Python 3.12 `asyncio.wait_for` loses a cancellation that comes in the moment in which
    what it waits for is there, and the pool of connections waits with it for its next free connection.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
