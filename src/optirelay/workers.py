"""Worker processes beside the web process: each is started anew where it ends, and all can be replaced by others."""

import asyncio
import pickle
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Self

import structlog

from optirelay.errors import NeedsOperator
from optirelay.settings import Settings
from optirelay.store import Store, StoreUnavailable

START_SECONDS = 30.0  # until a worker that has not reported yet is given up
STOP_SECONDS = 30.0  # until a worker that was told to stop is killed
RESTART_SECONDS = 1.0
LOOK_SECONDS = 0.1
log = structlog.get_logger()


class WorkerEnded(NeedsOperator):
    """A worker with new settings does not work."""


class Workers:
    """As many worker processes as the settings say."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings) -> AsyncIterator[Self]:
        """Start them; at the end all are stopped."""
        workers = cls()
        workers._workers = [_Worker(settings) for _ in range(settings.service.workers)]
        try:
            yield workers
        finally:
            await workers.stop()

    async def stop(self) -> None:
        """Have all of them end, and wait."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    async def replace(self, settings: Settings, store: Store) -> None:
        """Workers with these settings take the places of those before, one after another, as many as there are to be.

        The new one works before the old one is told to stop. WorkerEnded where the first does not come up: then nothing
        has changed.
        """
        old = list(self._workers)
        for place in range(settings.service.workers):
            new = _Worker(settings)
            self._workers.append(new)
            if not await new.is_up(store) and place == 0:
                await self._stop(new)
                raise WorkerEnded("A worker with these settings does not start; the log says why")
            if old:
                await self._stop(old.pop(0))
        for worker in old:
            await self._stop(worker)

    async def _stop(self, worker: "_Worker") -> None:
        await worker.stop()
        self._workers.remove(worker)


class _Worker:
    """One worker process; where it ends, it is started anew with the same settings, whatever the file holds by then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told = asyncio.Event()
        self._failed = asyncio.Event()
        self._pid: int | None = None
        self._keeping = asyncio.create_task(self._keep())

    async def is_up(self, store: Store) -> bool:
        """Wait until it has reported; False where it ended before, or takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not self._failed.is_set():
                    if await self._has_reported(store):
                        return True
                    await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _has_reported(self, store: Store) -> bool:
        if self._pid is None:
            return False
        try:
            return await store.started(socket.gethostname(), self._pid, timedelta(seconds=START_SECONDS))
        except StoreUnavailable:
            return False

    async def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        self._told.set()
        await asyncio.shield(self._keeping)

    async def _keep(self) -> None:
        while not self._told.is_set():
            process = await self._start()
            ended = asyncio.create_task(process.wait())
            told = asyncio.create_task(self._told.wait())
            await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not ended.done():
                await _end(process, ended)
            elif not self._told.is_set():
                self._failed.set()
                log.warning("worker_ended", pid=process.pid, status=process.returncode)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told.wait(), RESTART_SECONDS)

    async def _start(self) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "optirelay", "work", "--config", str(self._settings.path), "--for-serve")
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
        assert process.stdin is not None
        process.stdin.write(pickle.dumps(self._settings))  # the pipe stays open: the worker ends when we do
        self._pid = process.pid
        return process


async def _end(process: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
    process.terminate()
    try:
        await asyncio.wait_for(ended, STOP_SECONDS)
    except TimeoutError:
        log.warning("worker_killed", pid=process.pid)
        process.kill()
        await process.wait()
