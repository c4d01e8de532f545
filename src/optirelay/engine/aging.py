"""What is personal goes after a while, and in the end who got what: a few rows at a time, beside all other work."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.store.forgetting import Aging

KNOWN_AGAIN_FOR = timedelta(days=7)  # a request that came before: as long it is known by what is kept of it
SHORTEST_MESSAGES = timedelta(days=3)  # else a sweep, which looks at today and yesterday, would take them for new
SHORTEST_PAUSE_SECONDS = 0.05
MOST_APART, LEAST_APART = timedelta(hours=1), timedelta(seconds=1)


def every(keep_personal: timedelta) -> timedelta:
    """How often it is looked for: ten times in the time that it is kept, at least every hour, at most every second."""
    return min(MOST_APART, max(LEAST_APART, keep_personal / 10))


async def forget_by_age(ctx: Context) -> None:
    """All that is old enough goes, unless another worker is at it: what is personal after `keep_personal`, whole
    campaigns after `keep_messages`."""
    service, now = ctx.settings.service, utc_now()
    personal = now - service.keep_personal
    known_again = now - max(service.keep_personal, KNOWN_AGAIN_FOR)
    messages = now - max(service.keep_messages, SHORTEST_MESSAGES)
    steps: list[Callable[[Aging], Awaitable[int]]] = [
        lambda aging: aging.forget_batches(personal),
        lambda aging: aging.drop_requests(known_again),
        lambda aging: aging.empty_requests(personal),
        lambda aging: aging.drop_attribute_results(personal),
        lambda aging: aging.let_campaigns_go(messages),
        lambda aging: aging.drop_batches(),
        lambda aging: aging.drop_campaigns(),
    ]
    for step in steps:
        while await _do(ctx, step):
            pass


async def _do(ctx: Context, step: Callable[[Aging], Awaitable[int]]) -> int:
    """Half of the time, at least, is for others."""
    began = time.monotonic()
    async with ctx.store.transaction() as everyone:
        done = await step(everyone.aging) if await everyone.aging.alone() else 0
    await asyncio.sleep(max(SHORTEST_PAUSE_SECONDS, time.monotonic() - began) if done else 0)
    return done
