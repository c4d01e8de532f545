"""What arrives is worked on in groups, and one by one where something in a group is refused: that stops nobody."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from optirelay.errors import TryLater
from optirelay.store import Ledger

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MOST_ALONE = 100  # of a group that was refused
log = structlog.get_logger()


async def in_groups(what: str, most: int, work: Callable[[int, bool], Awaitable[int]]) -> int:
    """Work on at most `most` at once; where that fails for good, on so many one by one; how many there were."""
    try:
        return await work(most, False)
    except TryLater:
        raise
    except Exception:  # whatever one of them did: the others must not wait for it
        log.exception("group_refused", what=what)
    done = 0
    while done < min(most, MOST_ALONE) and await work(1, True):
        done += 1
    return done


@asynccontextmanager
async def apart(ledger: Ledger, *, alone: bool) -> AsyncIterator[list[Exception]]:
    """What goes wrong inside is undone. Where it is alone, the error is in the list, and the transaction goes on."""
    refused: list[Exception] = []
    if not alone:  # all of it is undone
        yield refused
        return
    try:
        async with ledger.savepoint():
            yield refused
    except TryLater:
        raise
    except Exception as error:
        log.exception("request_set_aside", tenant=ledger.tenant)
        refused.append(error)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> list[tuple[K, list[T]]]:
    """Items with the same key together, in the order in which each key first comes."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())
