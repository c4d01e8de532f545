"""Processes and signals: the web process, its workers, and how all of it ends."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop

from optirelay.engine import runtime
from optirelay.errors import NeedsOperator
from optirelay.settings import Settings
from optirelay.web.ingest import WebApp

STOP_SECONDS = 30  # until a worker that was told to stop is killed
RESTART_SECONDS = 1.0
log = structlog.get_logger()


def serve(settings: Settings, *, with_parent: bool = False) -> None:
    """Web process and workers, until SIGTERM or Ctrl-C; then all that was started is stopped. Raises NeedsOperator.

    `with_parent`: also when whoever holds our standard input ends.
    """
    signal.signal(signal.SIGTERM, _end)
    with _listen(settings) as listening, runtime.database(settings) as conninfo:
        _run(lambda stop: _serve(settings, conninfo, listening, stop), with_parent=with_parent)


def work(settings: Settings, *, with_parent: bool = False) -> None:
    """One worker, until SIGTERM or Ctrl-C; `with_parent`: also when whoever holds our standard input ends."""
    signal.signal(signal.SIGTERM, _end)
    with runtime.database(settings) as conninfo:
        _run(lambda stop: runtime.work(settings, conninfo, stop), with_parent=with_parent)


def _end(_number: int, _frame: object) -> None:
    """SIGTERM while the database is still being started: what was started is stopped on the way out."""
    raise SystemExit(0)


async def _parent_gone(stop: asyncio.Event) -> None:
    """Standard input is a pipe whose other end only our parent has: it ends when the parent does, even by kill -9."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()


def _run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, with_parent: bool) -> None:
    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        # To read the settings anew is not built yet; until then a SIGHUP must not end us half-way.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: log.warning("reload_not_built_yet"))
        watching = asyncio.create_task(_parent_gone(stop)) if with_parent else None
        await main(stop)
        if watching is not None:
            watching.cancel()

    uvloop.run(until_told())


async def _serve(settings: Settings, conninfo: str, listening: socket.socket, stop: asyncio.Event) -> None:
    async with runtime.open_store(settings, conninfo) as store, _workers(settings, stop):
        web = _Web(
            uvicorn.Config(
                WebApp(settings, store),
                interface="asgi3",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=10,
            )
        )
        serving = asyncio.create_task(web.serve(sockets=[listening]))
        log.info("serving", listen=str(settings.service.listen), workers=settings.service.workers)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        web.should_exit = True
        await serving


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


@asynccontextmanager
async def _workers(settings: Settings, stop: asyncio.Event) -> AsyncIterator[None]:
    """Worker processes beside this one; one that ends is started anew, until `stop`."""
    keepers = [
        asyncio.create_task(_keep_worker(settings.path, stop), name=f"worker {n}")
        for n in range(settings.service.workers)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*keepers)


async def _keep_worker(path: Path, stop: asyncio.Event) -> None:
    command = (sys.executable, "-m", "optirelay", "work", "--config", str(path), "--with-parent")
    while not stop.is_set():
        worker = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
        ended = asyncio.create_task(worker.wait())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            worker.terminate()
            try:
                await asyncio.wait_for(ended, STOP_SECONDS)
            except TimeoutError:
                log.warning("worker_killed", pid=worker.pid)
                worker.kill()
                await worker.wait()
        elif not stop.is_set():
            log.warning("worker_ended", pid=worker.pid, status=worker.returncode)
            await asyncio.wait({asyncio.create_task(stop.wait())}, timeout=RESTART_SECONDS)


def configure_logs(level: int = logging.INFO) -> None:
    """Structured lines on standard error: no personal data, no URL paths (secrets stand in them)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries tell URLs and arguments below that
