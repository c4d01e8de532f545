"""Builds the running system from the settings: the only place that picks the parts."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from importlib.metadata import entry_points

from procrastinate.exceptions import ConnectorException

from optirelay import pipeline
from optirelay.channels import Channel, ChannelSetup
from optirelay.engine.context import Context
from optirelay.engine.dispatch import Dispatch
from optirelay.engine.jobs import JobRunner
from optirelay.engine.journal import Journal
from optirelay.engine.reload import read_anew, succeeded
from optirelay.errors import NeedsOperator
from optirelay.model import ChannelName, TenantId
from optirelay.optimove import OptimoveClient
from optirelay.settings import ChannelSettings, Settings, TenantSettings
from optirelay.stages import sending
from optirelay.store import Store, StoreUnavailable
from optirelay.store.embedded import EmbeddedPostgres

EMBEDDED = "embedded"
JOURNALS = "journals"  # the folder in data_dir where each worker keeps what is on the wire


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The database's address; the embedded one is started, or joined, and left at the end. Raises NeedsOperator."""
    if settings.service.database != EMBEDDED:
        yield settings.service.database
        return
    with EmbeddedPostgres(settings.service.data_dir) as conninfo:
        yield conninfo


@asynccontextmanager
async def open_store(settings: Settings, conninfo: str) -> AsyncIterator[Store]:
    """The store with every tenant and channel of the settings. Raises NeedsOperator."""
    async with Store.open(conninfo, names_in(settings)) as store:
        yield store


def names_in(settings: Settings) -> dict[TenantId, tuple[str, ...]]:
    """Every tenant and its channels."""
    return {TenantId(name): tuple(tenant.channels) for name, tenant in settings.tenants.items()}


def _print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the dry run's; whoever reads it through a pipe sees it when it happens


@asynccontextmanager
async def open_context(
    settings: Settings, conninfo: str, *, print_line: Callable[[str], None] = _print_line
) -> AsyncIterator[Context]:
    """All parts that a step of the journey needs, open until the end."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings, conninfo))
        clients = {
            TenantId(name): await stack.enter_async_context(_client(tenant))
            for name, tenant in settings.tenants.items()
        }
        admin = {
            TenantId(name): await stack.enter_async_context(
                OptimoveClient(tenant.api_url, tenant.admin_api_key.reveal())
            )
            for name, tenant in settings.tenants.items()
            if tenant.admin_api_key is not None
        }
        channels: dict[tuple[TenantId, ChannelName], Channel] = {}
        for tenant_name, tenant in settings.tenants.items():
            for name, channel in tenant.channels.items():
                built = build_channel(settings, tenant_name, channel, print_line)
                stack.push_async_callback(built.aclose)
                channels[TenantId(tenant_name), ChannelName(name)] = built
        worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        yield Context(settings, store, clients, channels, worker, admin)


def _client(tenant: TenantSettings) -> OptimoveClient:
    token = tenant.metrics_token
    return OptimoveClient(
        tenant.api_url,
        tenant.api_key.reveal(),
        metrics_url=tenant.metrics_url,
        metrics_token=None if token is None else token.reveal(),
    )


def build_channel(
    settings: Settings, tenant: str, channel: ChannelSettings, print_line: Callable[[str], None]
) -> Channel:
    """Our side of a channel's provider, by its entry point in `optirelay.channels`."""
    (entry,) = entry_points(group="optirelay.channels", name=channel.provider)
    built: Channel = entry.load()(
        ChannelSetup(
            tenant=tenant,
            name=channel.name,
            timeout_seconds=channel.timeout.total_seconds(),
            options=channel.smtp or channel.webhook,
            print_line=print_line,
            allow_networks=settings.service.allow_networks,
            kind=channel.kind,
            together=None if channel.rate is None else sending.most_together(channel.rate),
        )
    )
    return built


def installed_providers() -> list[tuple[str, type[Channel]]]:
    """Every provider's name and class, by name."""
    return sorted((entry.name, entry.load()) for entry in entry_points(group="optirelay.channels"))


async def work(settings: Settings, conninfo: str, stop: asyncio.Event, *, reload: asyncio.Event | None = None) -> None:
    """One worker: jobs, notifications and due batches, until `stop`; what is in hand is finished or handed back.

    What a dead worker of this machine left is taken over at once. Raises StoreUnavailable where the jobs lost their
    database: then all that is in hand is settled, too. Whenever `reload` is set the settings file is read anew; where
    it can work, a new worker with it takes the place of this one.
    """
    following: Settings | None = settings
    while following is not None and not stop.is_set():
        following = await _work_with(following, conninfo, stop, reload)


async def _work_with(
    settings: Settings, conninfo: str, stop: asyncio.Event, reload: asyncio.Event | None
) -> Settings | None:
    """One worker until `stop`, or until there are new settings: these."""
    folder = settings.service.data_dir / JOURNALS
    async with open_context(settings, conninfo) as ctx, AsyncExitStack() as stack:
        try:
            journal = stack.enter_context(Journal.open(folder, ctx.worker))
        except OSError as error:
            why = error.strerror or str(error)
            raise NeedsOperator(f"cannot keep a journal in {folder}: {why}; check [service] data_dir") from error
        jobs = JobRunner(conninfo, pipeline.JOBS, ctx, runs_as=journal.runs_jobs_as)
        ending = asyncio.Event()
        dispatching = asyncio.create_task(Dispatch(ctx, journal, folder, jobs).run(ending))
        following = asyncio.create_task(_end_when_told(ctx, stop, reload, ending))
        try:
            await jobs.run(ctx.worker, silence=settings.service.takeover_after, stop=ending)
        except ConnectorException as error:
            raise StoreUnavailable(f"the database does not answer: {error}") from error
        finally:
            ending.set()
            await dispatching
            following.cancel()
            with suppress(StoreUnavailable):
                await ctx.store.gone(ctx.worker)
        return await following if following.done() else None


async def _end_when_told(
    ctx: Context, stop: asyncio.Event, reload: asyncio.Event | None, ending: asyncio.Event
) -> Settings | None:
    """Set `ending` once the worker is to stop, or there are new settings to work with: these."""
    try:
        if reload is None:
            await stop.wait()
            return None
        await succeeded(ctx.store, ctx.settings.path)
        while True:
            await any_of(stop, reload)
            if stop.is_set():
                return None
            reload.clear()
            found = await read_anew(ctx.store, ctx.settings)
            if found is not None:
                return found
    finally:
        ending.set()


async def any_of(*events: asyncio.Event) -> None:
    """Until one of these is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
