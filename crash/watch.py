"""Waiting for a campaign: how far it is, when it is over, and when it stands still."""

import asyncio
import time

from crash.errors import Failed
from crash.house import House

STILL_SECONDS = 120.0  # without any movement: it will not come any more
_OPEN = """
select count(*) filter (where c.state = 'open'), coalesce(sum(b.open), 0)::int, coalesce(sum(b.settled), 0)::int
from campaign c left join lateral (
  select count(*) filter (where done_at is null) as open, sum(begun) + sum(accepted) as settled
  from batch where tenant = c.tenant and campaign = c.id
) b on true
where c.campaign_id = %s
"""


class StandsStill(Failed):
    """Nothing has moved for long, and the campaign is not over."""


async def is_over(house: House, campaign: int) -> tuple[bool, int]:
    """Whether it is known and nothing of it is open, and a number that grows while something moves."""
    ((open_campaigns, open_batches, settled_messages),) = await house.rows(_OPEN, str(campaign))
    known = bool(await house.rows("select 1 from campaign where campaign_id = %s", str(campaign)))
    return known and not open_campaigns and not open_batches, settled_messages


async def settled(house: House, campaign: int) -> None:
    """Wait until nothing of the campaign is planned or sending. StandsStill."""
    moved_at, before = time.monotonic(), (-1, -1)
    while True:
        over, number = await is_over(house, campaign)
        if over:
            return
        now = (number, house.receiver.count)
        if now != before:
            moved_at, before = time.monotonic(), now
        if time.monotonic() - moved_at > STILL_SECONDS:
            raise StandsStill(f"campaign {campaign} has stood still for {STILL_SECONDS:.0f} seconds")
        await asyncio.sleep(0.5)


async def announced(house: House, campaign: int) -> None:
    """Have Optimove announce the campaign until our ledger has it: a notification that was answered 200 is never lost.

    Optimove itself tries four times; where all of them met a dead web process, it is told once more.
    """
    deadline = time.monotonic() + 120
    while True:
        await house.tell(f"campaigns/{campaign}/fire")
        for _ in range(80):
            if await house.rows("select 1 from campaign where campaign_id = %s", str(campaign)):
                return
            await asyncio.sleep(0.1)
        if time.monotonic() > deadline:
            raise Failed("no notification of Optimove's was taken within 120 seconds")
