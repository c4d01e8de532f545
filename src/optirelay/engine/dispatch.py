"""A worker's loops: notifications are accepted as they come, and each channel's due batches are sent group by group."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import structlog

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine.aging import every, forget_by_age
from optirelay.engine.context import Context
from optirelay.engine.ending import end
from optirelay.engine.jobs import Job, JobRunner
from optirelay.engine.journal import DeadJournal, Journal, dead_journal, journals_in
from optirelay.engine.lane import Lane
from optirelay.engine.recording import compare_outcomes
from optirelay.engine.recovery import recover
from optirelay.engine.reporting import due_now
from optirelay.engine.sharing import to_share
from optirelay.engine.starting import Started, slots_of
from optirelay.engine.troubles import tell_clock
from optirelay.errors import OptirelayError
from optirelay.model import ChannelName, TenantId, day_of
from optirelay.store import (
    ATTRIBUTES_CHANNEL,
    BATCH_CHANNEL,
    CALLBACK_CHANNEL,
    NOTIFICATION_CHANNEL,
    StoreUnavailable,
)

LANES = 2  # of a channel without a rate: while one waits for the database, the other makes mails
ADD_UP_AFTER = timedelta(seconds=10)  # batches that are done; until then somebody may still be at them
MOST_ADDED_UP = 2000  # at once
MOST_REPORTS = 100  # put in one transaction
SHARED_AT_ONCE = 6  # channels: each holds a connection
SHARED_OF_ONE = 3  # tenant, likewise: however long it takes, others come to theirs
SHARE_SECONDS = 2.0
POLL_SECONDS = 1.0  # where a NOTIFY was missed
CLOCK_MAY_DIFFER = timedelta(seconds=1)
log = structlog.get_logger()


class Dispatch:
    """One worker's share of the work that is taken straight from the ledger."""

    def __init__(self, ctx: Context, journal: Journal, folder: Path, jobs: JobRunner) -> None:
        """`folder` is where every worker of this machine keeps its journal."""
        self._ctx = ctx
        self._folder = folder
        self._jobs = jobs
        self._notified = asyncio.Event()
        self._called_back = asyncio.Event()
        self._results = asyncio.Event()
        self._clock_ok = True
        slots = {place: slots_of(ctx, *place) for place in ctx.channels}
        self._lanes = [
            Lane(ctx, journal, *place, slots[place])
            for place in ctx.channels
            for _ in range(LANES if slots[place] is None else 1)
        ]
        self._triggered = {
            place: Lane(ctx, journal, *place, slots[place], triggered=True)
            for place in ctx.channels
            if ctx.channel_settings(*place).triggered_id is not None
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then nothing new starts, and what is under way is finished or handed back."""
        await asyncio.to_thread(import_module, "optirelay.stages.content")  # or the first message would wait for it
        accepting = asyncio.create_task(self._accept_until(stop))
        beats = [
            asyncio.create_task(self._again_and_again(self._listen)),
            asyncio.create_task(self._again_and_again(self._record)),
            asyncio.create_task(self._again_and_again(self._beat)),
            asyncio.create_task(self._again_and_again(self._recover)),
            asyncio.create_task(self._again_and_again(self._heal)),
            asyncio.create_task(self._again_and_again(self._sweep)),
            asyncio.create_task(self._again_and_again(self._report)),
            asyncio.create_task(self._again_and_again(self._share)),
            asyncio.create_task(self._again_and_again(self._add_up)),
            asyncio.create_task(self._again_and_again(self._forget)),
        ]
        all_given = asyncio.Event()
        try:
            lanes = [lane.run(stop, may_take=lambda: self._clock_ok) for lane in self._lanes]
            lanes += [lane.run(all_given, may_take=lambda: self._clock_ok) for lane in self._triggered.values()]
            running = asyncio.gather(*lanes)
            await stop.wait()
            self._notified.set()
            await accepting  # what it starts last is still handed over
            all_given.set()
            await running
        finally:
            await end([accepting, *beats])

    async def _again_and_again(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Whatever stops a loop, it starts again: the store may be away for a while."""
        while True:
            try:
                await loop()
            except StoreUnavailable as error:
                log.warning("store_unavailable", loop=loop.__name__, why=str(error))
            except Exception:
                log.exception("loop_failed", loop=loop.__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        async for name in self._ctx.store.listen():
            if name == NOTIFICATION_CHANNEL:
                self._notified.set()
            elif name == CALLBACK_CHANNEL:
                self._called_back.set()
            elif name == ATTRIBUTES_CHANNEL:
                self._results.set()
            elif name == BATCH_CHANNEL:
                for lane in self._all_lanes():
                    lane.wake()

    def _all_lanes(self) -> Iterator[Lane]:
        yield from self._lanes
        yield from self._triggered.values()

    async def _accept_until(self, stop: asyncio.Event) -> None:
        """Notifications are read as they come; what they start is handed over at once."""
        while not stop.is_set():
            self._notified.clear()
            try:
                with self._ctx.way.urgent():
                    accepted = await pipeline.accept(self._ctx, self)
                if not accepted:
                    await _set_or_polled(self._notified)
            except StoreUnavailable as error:
                log.warning("store_unavailable", loop="accept", why=str(error))
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                log.exception("loop_failed", loop="accept")
                await asyncio.sleep(POLL_SECONDS)

    def room(self, tenant: TenantId, channel: ChannelName) -> int:
        """How many triggered messages of the channel may start in this worker."""
        return self._triggered[tenant, channel].room if self._clock_ok else 0

    def give(self, started: Sequence[Started]) -> None:
        """Groups of triggered messages that have started."""
        for one in started:
            self._triggered[one.tenant, one.channel].give(one)

    def maybe_started(self, started: Sequence[Started]) -> None:
        """The same, where the commit was not answered: nothing of them has left."""
        for one in started:
            self._triggered[one.tenant, one.channel].maybe_started(one.batch)

    async def _record(self) -> None:
        """Events are kept; and outcomes that came after their events are compared with them."""
        while True:
            self._called_back.clear()
            recorded = await pipeline.record(self._ctx)
            if not (recorded or await compare_outcomes(self._ctx)):
                await _set_or_polled(self._called_back)

    async def _beat(self) -> None:
        """Say that we are alive, keep what we hold, and compare clocks."""
        lease = self._ctx.settings.service.takeover_after
        while True:
            before = utc_now()
            database = await self._ctx.store.seen(self._ctx.worker, socket.gethostname(), os.getpid())
            middle = before + (utc_now() - before) / 2
            off = timedelta(seconds=abs(database - middle.timestamp()))
            was_ok, self._clock_ok = self._clock_ok, off <= CLOCK_MAY_DIFFER
            if not (was_ok and self._clock_ok):
                await tell_clock(self._ctx, off, ok=self._clock_ok)
            held = [(lane.tenant, batch) for lane in self._all_lanes() for batch in lane.held()]
            await self._ctx.store.renew_leases(self._ctx.worker, lease, held)
            await asyncio.sleep(lease.total_seconds() / 3)

    async def _recover(self) -> None:
        """What dead workers of this machine left is taken over, at once when we start."""
        lease = self._ctx.settings.service.takeover_after
        while True:
            for path in journals_in(self._folder):
                with dead_journal(path) as journal:
                    if journal is not None:
                        log.warning("worker_recovered", worker=journal.worker)
                        await self._settle(journal, lease)
            await asyncio.sleep(lease.total_seconds() / 3)

    async def _settle(self, journal: DeadJournal, lease: timedelta) -> None:
        for tenant in self._ctx.optimove:
            await recover(self._ctx, tenant, journal)
        if journal.jobs is not None:
            await self._jobs.take_over(journal.jobs, lease)
        await self._ctx.store.gone(journal.worker)
        journal.remove()

    async def _heal(self) -> None:
        """Listeners and templates are compared with Optimove's, now and again."""
        await self._put_every(pipeline.sync, self._ctx.settings.service.heal_every)

    async def _sweep(self) -> None:
        """Campaigns that never announced themselves are looked for, now and again."""
        await self._put_every(pipeline.sweep, self._ctx.settings.service.sweep_every)

    async def _put_every(self, job: Job[[]], every: timedelta) -> None:
        """Have it done for each tenant, now and then every so often."""
        while True:
            for tenant in self._ctx.optimove:
                async with self._ctx.store.tenant(tenant).transaction() as ledger:
                    await job.put(ledger)
            await asyncio.sleep(every.total_seconds())

    async def _report(self) -> None:
        """Optimove is told when it is time to, for as long as it takes reports."""
        while True:
            if not (self._clock_ok and await put_due_reports(self._ctx)):
                await asyncio.sleep(POLL_SECONDS)

    async def _share(self) -> None:
        """Optimove is told who opted in, of several channels side by side."""
        sharing: dict[tuple[TenantId, ChannelName], asyncio.Task[None]] = {}
        try:
            while True:
                self._results.clear()
                sharing = {place: task for place, task in sharing.items() if not task.done()}
                for place in await to_share(self._ctx):
                    of_tenant = sum(place[0] == tenant for tenant, _ in sharing)
                    if place not in sharing and len(sharing) < SHARED_AT_ONCE and of_tenant < SHARED_OF_ONE:
                        sharing[place] = asyncio.create_task(self._share_one(*place))
                await _set_or_polled(self._results, SHARE_SECONDS)
        finally:
            await end(sharing.values())

    async def _share_one(self, tenant: TenantId, channel: ChannelName) -> None:
        try:
            await pipeline.share(self._ctx, tenant, channel)
        except OptirelayError as error:
            log.warning("opt_ins_wait", tenant=tenant, channel=channel, why=str(error))
        except Exception:
            log.exception("loop_failed", loop="share", tenant=tenant, channel=channel)

    async def _add_up(self) -> None:
        """Counters of triggered batches that are done go into their day's; days that are over are closed."""
        while True:
            store = self._ctx.store
            async with store.transaction() as everyone:
                batches = await everyone.add_up(MOST_ADDED_UP, after=ADD_UP_AFTER)
                await everyone.close_days(day_of(utc_now() - timedelta(days=1)), MOST_ADDED_UP)
            if batches < MOST_ADDED_UP:
                await asyncio.sleep(ADD_UP_AFTER.total_seconds())

    async def _forget(self) -> None:
        """What is old enough goes: what is personal, requests as they arrived, and at last whole campaigns."""
        while True:
            if self._clock_ok:
                await forget_by_age(self._ctx)
            await asyncio.sleep(every(self._ctx.settings.service.keep_personal).total_seconds())


async def put_due_reports(ctx: Context) -> int:
    """Put the reports of campaigns of which Optimove is to be told by now; how many there were. Each is put once."""
    async with ctx.store.transaction() as everyone:
        due = await everyone.take_due_reports(utc_now(), MOST_REPORTS)
        for tenant, campaign in due:
            if await due_now(ctx, ledger := everyone.ledger(tenant), campaign):
                await pipeline.report.put(ledger, campaign=campaign)
        return len(due)


async def _set_or_polled(event: asyncio.Event, seconds: float = POLL_SECONDS) -> None:
    """Until it is set, or it is time to look anyway."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
