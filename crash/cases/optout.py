"""People who say no while they are being written to."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import httpx2
import psycopg

from crash.cases._campaign import Case, concluded
from crash.compare import Verdict, ledger_rows
from crash.house import WEB, WORKERS, House, Wanted, open_house
from crash.run import CAMPAIGN, launch
from crash.watch import announced
from optirelay.store.link_tokens import LinkTokens
from optirelay.store.sids import sid_of

TIMES = 4  # as many people as in other cases
PART = 10  # one of so many says no
AT_ONCE = 20
PACE_SECONDS = 0.05  # 20 connections take 400 messages a second
BEFORE_SECONDS = 0.25  # the pace until everybody is in the ledger and has a link
EARLIEST, LATEST = -800, 200  # in messages: when people say no, counted from about when their own leaves
ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# When each group of each batch was started, and where messages were before they were handed back: for this case alone.
_KEEP_STARTS = """
create table crash_started (number bigint generated always as identity primary key, batch bigint, started bigint);
create index on crash_started (batch);
create table crash_moved (message bigint, batch bigint);
create index on crash_moved (message);
create function crash_keep_start() returns trigger language plpgsql as $$
begin insert into crash_started (batch, started) values (new.id, new.started); return null; end $$;
create function crash_keep_move() returns trigger language plpgsql as $$
begin insert into crash_moved values (old.id, old.batch); return null; end $$;
create trigger crash_started after update of started on batch
  for each row when (new.started is distinct from old.started) execute function crash_keep_start();
create trigger crash_moved after update of batch on message
  for each row when (new.batch is distinct from old.batch) execute function crash_keep_move();
"""
_PEOPLE = """
select s.tenant, s.planned_on, s.id, s.customer_id, t.link_key
from message_state s join campaign c on c.tenant = s.tenant and c.id = s.campaign join tenant t on t.id = s.tenant
where c.campaign_id = %s and s.state <> 'skipped' order by s.id
"""
_GONE = "select coalesce(sum(begun + coalesce((skipped ->> 'opted_out')::int, 0)), 0)::int from batch"
# Of each person who said no: when that was committed, and when each group that began with their message was. Of each
# batch that had the message, the first row with a `started` that is not below it is of that group.
_ORDER = """
select m.customer_id, o.at,
       array(select (select pg_xact_commit_timestamp(s.xmin) from crash_started s
                     where s.batch = b.batch and s.started >= m.id order by s.number limit 1)
             from (select m.batch union select v.batch from crash_moved v where v.message = m.id) b)
from message m join campaign c on c.tenant = m.tenant and c.id = m.campaign
join (select customer_id, min(pg_xact_commit_timestamp(xmin)) as at from subscription_statement group by 1) o
  on o.customer_id = m.customer_id
where c.campaign_id = %s
"""


class Link(NamedTuple):
    """The way out that stands in somebody's message, and how many messages are to be gone when it is followed."""

    due: float
    customer_id: str
    sid: str
    token: str


class Said(NamedTuple):
    """Somebody who said no, when they did and when the 200 came, in seconds since 1970."""

    customer_id: str
    sid: str
    asked_at: float
    answered_at: float


class Order(NamedTuple):
    """When an opt-out was committed, and when the groups were that started the person's message."""

    said_at: datetime
    started_at: Sequence[datetime]


async def optout_race(case: Case) -> Verdict:
    """One person in ten says no by the one-click link of their message while two workers send the campaign.

    In the ledger's order nobody is written to whose opt-out was committed before the group of their message started,
    and no message arrives more than a second after the 200. Who is not written to is skipped as `opted_out`, and
    nobody else is. Nobody is lost or written to twice.
    """
    people = case.messages * TIMES
    wanted = Wanted(
        channel="webhook",
        contract="keyed",
        customers=people,
        page_cap=500,
        takeover_after=case.takeover_after,
        postgres={"track_commit_timestamp": "on"},
        say=case.say,
    )
    async with open_house(case.folder, wanted) as house:
        await _keep_starts(house)
        house.receiver.pace(BEFORE_SECONDS)
        house.start(WEB, *WORKERS)
        await house.ready()
        await launch(house, people, second_send_at="+1s")
        await announced(house, CAMPAIGN)
        links = await _links(house, people)
        house.receiver.pace(PACE_SECONDS)
        troubles: list[str] = []
        said = await _say_no(house, links, troubles)
        case.say(f"{len(said)} opt-outs were answered with 200, when {house.receiver.count} messages had arrived")
        verdict = await concluded(house, interruptions=0, troubles=troubles)
        await _judge(house, verdict, said, late_seconds=case.late_seconds)
        return verdict


async def _keep_starts(house: House) -> None:
    async with await psycopg.AsyncConnection.connect(house.postgres.url(), autocommit=True) as connection:
        await connection.execute(_KEEP_STARTS)


async def _links(house: House, people: int) -> list[Link]:
    """The links of those who will say no, drawn from all who have an address, once the ledger has everybody.

    They say no about when their message leaves: some before it, some after.
    """

    async def gathered() -> bool:
        ((count,),) = await house.rows("select count(*) from message")
        return int(count) == people

    await house.until(gathered, f"{people} people were not in the ledger", seconds=120)
    rows, dice = await house.rows(_PEOPLE, str(CAMPAIGN)), random.Random(1)
    links = []
    for place in dice.sample(range(len(rows)), people // PART):
        tenant, day, number, customer_id, key = rows[place]
        due = min(place + dice.uniform(EARLIEST, LATEST), len(rows) - 1)
        token = LinkTokens(bytes(key), tenant, day).of(number)
        links.append(Link(due, customer_id, sid_of(tenant, day, number), token))
    return sorted(links)


async def _say_no(house: House, links: Sequence[Link], troubles: list[str]) -> list[Said]:
    """Follow each link when it is due, AT_ONCE at a time."""
    said: list[Said] = []
    free = asyncio.Semaphore(AT_ONCE)

    async def follow(link: Link) -> None:
        url = f"http://127.0.0.1:{house.listen}/u/{link.token}"
        async with free:
            asked_at = time.time()
            try:
                status: int | str = (await house.optimove.post(url, content=ONE_CLICK, headers=FORM)).status_code
            except httpx2.TransportError as error:
                status = type(error).__name__
        if status == 200:
            said.append(Said(link.customer_id, link.sid, asked_at, time.time()))
        else:
            troubles.append(f"an opt-out was answered with {status}")

    waiting = deque(links)
    following: list[asyncio.Task[None]] = []

    async def all_followed() -> bool:
        ((gone,),) = await house.rows(_GONE)
        while waiting and waiting[0].due <= int(gone):
            following.append(asyncio.create_task(follow(waiting.popleft())))
        return not waiting

    await house.until(all_followed, "the campaign did not come to its end", seconds=600)
    await asyncio.gather(*following)
    return said


async def _judge(house: House, verdict: Verdict, said: Sequence[Said], *, late_seconds: float) -> None:
    """Add what was missed to the verdict's troubles, and what there was to its numbers."""
    arrived_at = {receipt.sid: receipt.at for receipt in house.receiver.receipts() if not receipt.again}
    delays = [arrived_at[one.sid] - one.answered_at for one in said if one.sid in arrived_at]
    order = {
        customer_id: Order(said_at, [at for at in started if at is not None])
        for customer_id, said_at, started in await house.rows(_ORDER, str(CAMPAIGN))
    }
    rows = await ledger_rows(house, CAMPAIGN)
    silenced = {row.customer_id for row in rows if (row.state, row.reason) == ("skipped", "opted_out")}
    told = {one.customer_id for one in said}
    unsent = {one.customer_id for one in said if one.sid not in arrived_at}
    verdict.more = [
        ("opt-outs", str(len(said))),
        ("  in time", str(len(told & silenced))),
        ("  when their group had started", str(len(delays))),
        ("  of those arrived after the 200", str(sum(delay > 0 for delay in delays))),
        ("  the latest of them", f"{max([0.0, *delays]):.2f} s after it"),
        ("  the slowest 200", f"{max((one.answered_at - one.asked_at for one in said), default=0.0):.2f} s"),
    ]
    missed = {
        "opt-outs answered with 200 and not kept": told - order.keys(),
        "written to, although the opt-out was committed before the group started": _overruled(said, arrived_at, order),
        f"received more than {late_seconds:g} s after the opt-out's 200": [
            one.customer_id for one in said if arrived_at.get(one.sid, 0.0) > one.answered_at + late_seconds
        ],
        "said no, were not written to, and were not skipped for it": unsent - silenced,
        "skipped as opted_out, and never said no": silenced - told,
    }
    verdict.troubles += [
        f"{what}: {len(names)}, such as {', '.join(sorted(names)[:3])}" for what, names in missed.items() if names
    ]
    if not told & silenced:
        verdict.troubles.append("no opt-out came before its group had started, so that this shows nothing")


def _overruled(said: Sequence[Said], arrived_at: Mapping[str, float], order: Mapping[str, Order]) -> list[str]:
    """Who was written to by a group that started after their opt-out; of several groups, the last before it arrived."""
    found = []
    for one in said:
        if one.sid in arrived_at and one.customer_id in order:
            said_at, started_at = order[one.customer_id]
            before = [at for at in started_at if at.timestamp() <= arrived_at[one.sid]]
            if not before or max(before) > said_at:
                found.append(one.customer_id)
    return found
