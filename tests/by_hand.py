"""A campaign's steps taken one by one, without a worker, so that a test can look between any two of them."""

from typing import Any

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.settle import Known
from optirelay.engine.starting import Begun
from optirelay.model import Accepted, Answer
from tests.house import ACME, NEWSLETTER, House


async def announced(house: House, **plan: Any) -> str:
    """A campaign that Optimove has told of, in all the ways of the plan, with a pass put; its id."""
    await operate.sync_listeners(house.ctx)
    campaign_id = await house.plan(**plan)
    await accepted(house, await house.fire(campaign_id))
    return campaign_id


async def accepted(house: House, notifications: int = 1) -> None:
    """So many different notifications are read, once they are here."""
    read = 0

    async def all_read() -> bool:
        nonlocal read
        read += await pipeline.accept(house.ctx)
        return read >= notifications

    await house.until(all_read)


async def fetched(house: House, **plan: Any) -> str:
    """The same with all its pages in the ledger."""
    campaign_id = await announced(house, **plan)
    await gather_all(house)
    return campaign_id


async def gather_all(house: House) -> None:
    """Every page of every open pass."""
    while place := await _next_page(house):
        await pipeline.gather.run(house.ctx, ACME, pass_=place[0], skip=place[1])


async def _next_page(house: House) -> tuple[int, int] | None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select p.id, coalesce(sum(g.received), 0)::int from pass p "
            "left join page g on g.pass = p.id and g.reading = p.reading where p.state = 'reading' group by p.id"
        )
        row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


async def started(house: House, most: int = 1000) -> Begun:
    """The next group of the channel's next due batch is on its way."""
    taken = await pipeline.take(house.ctx, ACME, NEWSLETTER)
    assert taken is not None
    return await pipeline.begin(house.ctx, ACME, taken, {}, most=most)


async def sent(house: House, answer: Answer = Accepted(), **plan: Any) -> str:  # noqa: B008 - frozen
    """A campaign fetched, and all that is due of it answered like this; not reported."""
    campaign_id = await fetched(house, **plan)
    while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        known = Known({message.number: answer for message in begun.start})
        await pipeline.write_answers(house.ctx, ACME, {taken: known})
    return campaign_id
