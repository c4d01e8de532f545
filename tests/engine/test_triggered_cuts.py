"""The database goes away exactly while triggered messages start: each still leaves once, and none is in doubt."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House
from tests.model.cuts import Cut, How, Line
from tests.triggers import body, open_triggered, shape_of, told

from optirelay import pipeline
from optirelay.channels import Wire
from optirelay.engine.context import Context
from optirelay.engine.journal import Journal
from optirelay.engine.lane import Lane
from optirelay.engine.starting import Started
from optirelay.model import Accepted, ChannelName, Contract, Outgoing, TenantId
from optirelay.store import StoreUnavailable


class Hold:
    """A channel whose repeats would arrive twice."""

    contract: ClassVar[Contract] = Contract.HOLD
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = False
    takes_mail: ClassVar[bool] = True

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        for mail in messages:
            if await wire.begin(mail.sid):
                self.taken.append(mail.customer_id)
                wire.answered(mail.sid, Accepted())

    async def probe(self) -> None: ...

    async def aclose(self) -> None: ...


class LaneAsStarter:
    """What a worker has: the groups that it starts go to its lane."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def room(self, tenant: TenantId, channel: ChannelName) -> int:
        return self._lane.room

    def give(self, started: Sequence[Started]) -> None:
        for one in started:
            self._lane.give(one)

    def maybe_started(self, started: Sequence[Started]) -> None:
        for one in started:
            self._lane.maybe_started(one.batch)


@asynccontextmanager
async def cuttable(house: House, database: str, channel: Hold) -> AsyncIterator[tuple[Context, Line]]:
    """The house's context over connections that can be cut, with this channel."""
    async with Line(database, min_size=1, max_size=4, open=False, kwargs={"options": "-c timezone=UTC"}) as line:
        yield replace(house.ctx, channels={(ACME, NEWSLETTER): channel}, store=house.ctx.store.over(line)), line


@asynccontextmanager
async def lane_of(ctx: Context, worker: str, folder: Path) -> AsyncIterator[tuple[Context, Lane]]:
    with Journal.open(folder, worker) as journal:
        mine = replace(ctx, worker=worker)
        yield mine, Lane(mine, journal, ACME, NEWSLETTER, None, triggered=True)


async def run_until(house: House, lane: Lane, channel: Hold, number: int) -> None:
    """The lane sends until so many are taken, and ends."""
    stop = asyncio.Event()
    running = asyncio.create_task(lane.run(stop, may_take=lambda: True))

    async def taken() -> bool:
        return len(channel.taken) >= number

    try:
        await house.until(taken, 20)
    finally:
        stop.set()
        lane.wake()
        await running


async def assert_each_was_sent_once(house: House, channel: Hold, number: int) -> None:
    shape = await shape_of(house)
    assert sorted(channel.taken) == sorted(f"C-{n}" for n in range(number))
    assert (shape["handed_over"], shape["accepted"], shape["in_doubt"], shape["sending"]) == (number, number, 0, 0)
    assert shape["balanced"]


BODIES = [body(customerID=f"C-{n}", templateID=17 + n % 2) for n in range(6)]


@pytest.mark.parametrize("how", [How.UNANSWERED, How.REFUSED])
async def test_what_a_commit_started_that_was_not_answered_leaves_once(
    make_settings: MakeSettings, database: str, tmp_path: Path, how: How
) -> None:
    channel = Hold()
    async with (
        open_triggered(make_settings, workers=0) as house,
        cuttable(house, database, channel) as (ctx, line),
        lane_of(ctx, "w1", tmp_path / "journals") as (mine, lane),
    ):
        await house.push(18)
        await told(house, *BODIES[:4])
        with line.cut(Cut(how, 0)), pytest.raises(StoreUnavailable):
            await pipeline.accept(mine, LaneAsStarter(lane))
        assert channel.taken == []
        await told(house, *BODIES)  # Optimove repeats; two more come
        while await pipeline.accept(mine, LaneAsStarter(lane)):
            pass
        await run_until(house, lane, channel, 6)
        await assert_each_was_sent_once(house, channel, 6)
        await house.audit()


async def test_a_worker_that_ends_after_such_a_commit_leaves_it_to_the_next(
    make_settings: MakeSettings, database: str, tmp_path: Path
) -> None:
    channel = Hold()
    async with (
        open_triggered(make_settings, workers=0) as house,
        cuttable(house, database, channel) as (ctx, line),
    ):
        await told(house, *BODIES[:1])
        async with lane_of(ctx, "w1", tmp_path / "journals") as (mine, lane):
            with line.cut(Cut(How.UNANSWERED, 0)), pytest.raises(StoreUnavailable):
                await pipeline.accept(mine, LaneAsStarter(lane))
            stop = asyncio.Event()
            stop.set()
            await lane.run(stop, may_take=lambda: True)
        async with lane_of(ctx, "w2", tmp_path / "journals") as (_, following):
            await run_until(house, following, channel, 1)
        await assert_each_was_sent_once(house, channel, 1)


async def test_the_same_where_a_lane_began_it(make_settings: MakeSettings, database: str, tmp_path: Path) -> None:
    channel = Hold()
    async with (
        open_triggered(make_settings, workers=0) as house,
        cuttable(house, database, channel) as (ctx, line),
    ):
        await told(house, *BODIES[:1])
        await pipeline.accept(ctx)
        async with lane_of(ctx, "w1", tmp_path / "journals") as (_, lane):
            stop = asyncio.Event()
            with line.cut(Cut(How.UNANSWERED, 1)):  # it takes the batch, and begins
                running = asyncio.create_task(lane.run(stop, may_take=lambda: True))
                await house.until(lambda: is_sending(house), 20)
                stop.set()
                await running
        async with lane_of(ctx, "w2", tmp_path / "journals") as (_, following):
            await run_until(house, following, channel, 1)
        await assert_each_was_sent_once(house, channel, 1)


async def is_sending(house: House) -> bool:
    return bool((await shape_of(house))["sending"])


class Busy(Hold):
    """The same, and it begins nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        await self.go_on.wait()
        await super().send(messages, wire)


async def test_no_more_starts_than_a_busy_channel_would_begin(
    make_settings: MakeSettings, database: str, tmp_path: Path
) -> None:
    channel = Busy()
    async with (
        open_triggered(make_settings, workers=0) as house,
        cuttable(house, database, channel) as (ctx, _),
        lane_of(ctx, "w1", tmp_path / "journals") as (mine, lane),
    ):
        people = [(ACME, body(customerID=f"C-{n}")) for n in range(250)]
        await house.ctx.store.keep_notifications(people)
        for left in (100, 1, 1):  # of 200, where nothing is known of a channel; a hundred at a time are read
            await pipeline.accept(mine, LaneAsStarter(lane))
            await house.until(lambda left=left: has_at_most_room(lane, left), 20)  # type: ignore[misc]
        shape = await shape_of(house)
        assert shape["sending"] <= 201
        assert shape["planned"] >= 49
        channel.go_on.set()
        await run_until(house, lane, channel, 250)
        await assert_each_was_sent_once(house, channel, 250)


async def has_at_most_room(lane: Lane, number: int) -> bool:
    return lane.room <= number
