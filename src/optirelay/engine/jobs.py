"""Durable work by Procrastinate: what a job is, how it is put, when it is tried again. What it does: pipeline.py."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, cast

import structlog
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.jobs import DeleteJobCondition
from procrastinate.jobs import Job as StoredJob
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task

from optirelay.engine.ending import end
from optirelay.errors import OptirelayError, TryLater
from optirelay.model import TenantId
from optirelay.store import Ledger

P = ParamSpec("P")

_VERSION = 1  # of the arguments that jobs carry
_QUEUE = "optirelay"
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 600.0
_POLL_SECONDS = 1.0
_FETCHED = 100  # most of them wait for a seat, first come first served
_AT_ONCE = 16
_AT_ONCE_OF_A_TENANT = 2  # so that a tenant whose Optimove is slow, or has no calls left, leaves seats to the others
_CONNECTIONS = 6  # none is held while a job runs

log = structlog.get_logger()


@dataclass(frozen=True)
class Job(Generic[P]):
    """One kind of durable work. Its arguments are ids; running it twice changes nothing."""

    name: str
    run: Callable[Concatenate[Any, TenantId, P], Awaitable[None]]

    async def put(self, ledger: Ledger, *args: P.args, **ids: P.kwargs) -> None:
        """Have it done by some worker, once this transaction is committed."""
        assert not args, "a job's arguments have names"
        deferrer = configure_task(
            name=self.name,
            job_manager=JobManager(PsycopgConnector()),
            queue=_QUEUE,
            connection=ledger.connection,
        )
        await deferrer.defer_async(version=_VERSION, tenant=ledger.tenant, **cast("Any", ids))


def job(run: Callable[Concatenate[Any, TenantId, P], Awaitable[None]]) -> Job[P]:
    """Make a function of context, tenant and ids a job of that name."""
    return Job(run.__name__, run)


class _GrowingPauses(BaseRetryStrategy):
    """Whatever went wrong is tried again, after 1 s, 2 s, 4 s … at most 10 minutes; when it is known when, then."""

    def get_retry_decision(self, *, exception: BaseException, job: StoredJob) -> RetryDecision:
        if isinstance(exception, TryLater) and exception.after is not None:
            return RetryDecision(retry_in={"seconds": math.ceil(exception.after.total_seconds()) or 1})
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(job.attempts, 16), _LONGEST_PAUSE_SECONDS)
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, keeps no secret
        return RetryDecision(retry_in={"seconds": round(pause) or 1})


class _Seats:
    """Where jobs run: so many at once in all and for each tenant, in the order in which they came; none at the end."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(_AT_ONCE)
        self._of: defaultdict[TenantId, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_AT_ONCE_OF_A_TENANT)
        )
        self._closed = False

    @asynccontextmanager
    async def taken(self, tenant: TenantId) -> AsyncIterator[None]:
        """One seat. TryLater where the process ends."""
        async with self._of[tenant], self._all:
            if self._closed:
                raise TryLater("this worker ends", after=timedelta(0))
            yield

    def close(self) -> None:
        """Whoever waits for a seat leaves, and nobody gets one any more."""
        self._closed = True
        for seats in (*self._of.values(), self._all):
            for _ in range(_FETCHED):
                seats.release()


class JobRunner:
    """Runs jobs in this process."""

    def __init__(
        self, conninfo: str, jobs: Sequence[Job[...]], context: Any, *, runs_as: Callable[[int], None]
    ) -> None:
        """`runs_as` is told the number under which this process runs jobs, before the first of them."""
        self._app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=_CONNECTIONS))
        self._seats = _Seats()
        self._open = asyncio.Event()
        for known in jobs:
            task = self._app.task(name=known.name, queue=_QUEUE, retry=_GrowingPauses(), pass_context=True)
            task(_handler(known, context, runs_as, self._seats))

    async def run(self, worker: str, *, silence: timedelta, stop: asyncio.Event) -> None:
        """Run jobs until `stop`; what is running then is finished, or left to others after 20 s."""
        async with self._app.open_async():
            self._open.set()
            running = asyncio.create_task(
                self._app.run_worker_async(
                    queues=[_QUEUE],
                    name=worker,
                    concurrency=_FETCHED,
                    fetch_job_polling_interval=_POLL_SECONDS,
                    shutdown_graceful_timeout=20,
                    delete_jobs=DeleteJobCondition.SUCCESSFUL,
                    install_signal_handlers=False,
                    update_heartbeat_interval=silence.total_seconds() / 3,
                    stalled_worker_timeout=silence.total_seconds(),
                )
            )
            recovering = asyncio.create_task(self._recover(silence))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({running, recovering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._seats.close()
            await end((recovering, stopping))
            running.cancel()
            results = await asyncio.gather(running, recovering, stopping, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def take_over(self, number: int, silence: timedelta) -> None:
        """Jobs of a process that is known to be gone, by the number under which it ran them, run again at once."""
        await self._open.wait()
        await self._app.job_manager.unregister_worker(number)
        await self._run_stalled_again(silence)

    async def _recover(self, silence: timedelta) -> None:
        """Jobs of workers that went silent run again."""
        while True:
            await self._run_stalled_again(silence)
            await asyncio.sleep(silence.total_seconds() / 3)

    async def _run_stalled_again(self, silence: timedelta) -> None:
        manager = self._app.job_manager
        for stored in await manager.get_stalled_jobs(seconds_since_heartbeat=silence.total_seconds()):
            log.warning("job_taken_over", job=stored.task_name, id=stored.id)
            await manager.retry_job(stored)


def _handler(
    known: Job[...], context: Any, runs_as: Callable[[int], None], seats: _Seats
) -> Callable[..., Awaitable[None]]:
    async def handle(job_context: JobContext, *, version: int, tenant: TenantId, **ids: Any) -> None:
        if job_context.job.worker_id is not None:
            runs_as(job_context.job.worker_id)
        if version != _VERSION:
            raise TryLater(f"job {known.name} has arguments of version {version}; a newer program will do it")
        try:
            async with seats.taken(tenant):
                await known.run(context, tenant, **ids)
        except OptirelayError as error:
            log.warning("job_waits", job=known.name, tenant=tenant, why=str(error), **ids)
            raise

    return handle
