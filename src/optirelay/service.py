"""Processes and signals: the web process, its workers, and how all of it ends."""

import asyncio
import gc
import pickle
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvicorn
import uvloop

from optirelay.engine import reload, runtime
from optirelay.errors import NeedsOperator
from optirelay.settings import Settings
from optirelay.store import Store, StoreUnavailable
from optirelay.web.ingest import WebApp
from optirelay.workers import WorkerEnded, Workers

log = structlog.get_logger()


@dataclass(frozen=True)
class _Told:
    """What signals have told us."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)


def serve(settings: Settings, *, with_parent: bool = False) -> None:
    """Web process and workers, until SIGTERM or Ctrl-C; then all that was started is stopped. Raises NeedsOperator.

    SIGHUP: the settings file is read anew. `with_parent`: it also ends when whoever holds our standard input ends.
    """
    told = _told_before_running()
    with _listen(settings) as listening, runtime.database(settings) as conninfo:
        _run(_serve(settings, conninfo, listening, told), told, with_parent=with_parent)


def work(settings: Settings, *, with_parent: bool = False) -> None:
    """One worker, until SIGTERM or Ctrl-C; SIGHUP and `with_parent` as with `serve`."""
    told = _told_before_running()
    with runtime.database(settings) as conninfo:
        _run(runtime.work(settings, conninfo, told.stop, reload=told.reload), told, with_parent=with_parent)


def work_for_serve() -> None:
    """One worker with the settings that `serve` uses, whatever the file holds by now; it ends when `serve` does."""
    told = _told_before_running()
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent, by a pipe that only it has
    with runtime.database(settings) as conninfo:
        _run(runtime.work(settings, conninfo, told.stop), told, with_parent=True)


def _told_before_running() -> _Told:
    """Signals count while the database is still being started: what was started is stopped on the way out."""
    told = _Told()

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, lambda *_: told.reload.set())
    return told


def _collect_seldom() -> None:
    """Python's collector leaves alone what is loaded by now, and looks only now and then through a page's or a group's
    thousands of rows, none of which is garbage that it would be needed for. By default that is 5 % of a worker's time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _parent_gone(stop: asyncio.Event) -> None:
    """Standard input is a pipe whose other end only our parent has: it ends when the parent does, even by kill -9."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()


def _run(main: Coroutine[Any, Any, None], told: _Told, *, with_parent: bool) -> None:
    async def until_told() -> None:
        for number, event in ((signal.SIGTERM, told.stop), (signal.SIGINT, told.stop), (signal.SIGHUP, told.reload)):
            asyncio.get_running_loop().add_signal_handler(number, event.set)
        watching = asyncio.create_task(_parent_gone(told.stop)) if with_parent else None
        await main
        if watching is not None:
            watching.cancel()

    _collect_seldom()
    uvloop.run(until_told())


async def _serve(settings: Settings, conninfo: str, listening: socket.socket, told: _Told) -> None:
    async with runtime.open_store(settings, conninfo) as store, Workers.of(settings) as workers:
        app = WebApp(settings, store)
        web = _Web(
            uvicorn.Config(
                app,
                interface="asgi3",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # nothing here asks for the client or the scheme
                timeout_graceful_shutdown=10,
            )
        )
        serving = asyncio.create_task(web.serve(sockets=[listening]))
        log.info("serving", listen=str(settings.service.listen), workers=settings.service.workers)
        reloading = asyncio.create_task(_reload(settings, store, app, workers, told.reload))
        stopped = asyncio.create_task(told.stop.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
        web.should_exit = True
        await asyncio.gather(serving, workers.stop())


async def _reload(running: Settings, store: Store, app: WebApp, workers: Workers, told: asyncio.Event) -> None:
    """Each time that we are told, use what the settings file holds by then; where it cannot work, nothing changes."""
    await reload.succeeded(store, running.path)
    while True:
        await told.wait()
        told.clear()
        settings = await reload.read_anew(store, running)
        if settings is None:
            continue
        try:
            await store.know(runtime.names_in(settings))
            app.use(settings)  # first: the workers register listeners with secrets that it must know
            await workers.replace(settings, store)
        except (WorkerEnded, StoreUnavailable) as error:
            app.use(running)
            await reload.failed(store, running.path, str(error))
            continue
        running = settings
        await reload.succeeded(store, running.path)
        log.info("reloaded", workers=running.service.workers)


class _Web(uvicorn.Server):
    """uvicorn without its own idea of signals."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


def _listen(settings: Settings) -> socket.socket:
    """The web process's socket. NeedsOperator where the address is taken or is not ours."""
    where = settings.service.listen
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((where.host, where.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise NeedsOperator(
            f"cannot listen on {where}: {error.strerror or error}; stop what uses it, or change [service] listen"
        ) from error
    return listening
