"""Our processes as a service manager keeps them, started again whenever they end; and those that are never killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from crash.errors import Failed

PAUSE_SECONDS = 0.5  # before one that ended by itself is started again
STOP_SECONDS = 45.0


class Kept:
    """One process that runs until `stop`, whatever befalls it."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.starts = 0
        self._command = command
        self._log = log
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._may_run = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._killed = False

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Have it run from now on; `extra` is added to its environment."""
        self._environment |= extra or {}
        self._may_run.set()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=self.name)

    def signal(self, number: signal.Signals) -> bool:
        """Whether it ran. SIGKILL also ends one that is stopped by SIGSTOP."""
        pid = self.pid
        if pid is None:
            return False
        self._killed = self._killed or number == signal.SIGKILL
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def kill(self, *, for_good: bool = False) -> bool:
        """kill -9. Started again at once, or `for_good`: when `start` is called again."""
        if for_good:
            self._may_run.clear()
        return self.signal(signal.SIGKILL)

    async def stop(self) -> int | None:
        """SIGTERM, and wait; its exit status, None where it did not run. It stays down until `start`."""
        self._may_run.clear()
        process = self._process
        if process is None or process.returncode is not None:
            return None
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            return await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def end(self) -> None:
        """Stop it and keep it no longer."""
        await self.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.pid is not None:
            self.signal(signal.SIGKILL)

    async def _keep(self) -> None:
        while True:
            await self._may_run.wait()
            self._killed = False
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,  # it ends when we do
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
            self.starts += 1
            await self._process.wait()
            if not self._killed:
                await asyncio.sleep(PAUSE_SECONDS)


async def start_helper(
    stack: AsyncExitStack,
    words: tuple[str, ...],
    log: Path,
    *,
    started: Callable[[asyncio.subprocess.Process], None] = lambda _: None,
) -> str:
    """Start a Python process that is never killed, until the stack's end; the first line that it prints."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment(),
            start_new_session=True,
        )
    started(process)

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
            await process.wait()

    stack.push_async_callback(end)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line:
        raise Failed(f"{' '.join(words[:2])} did not start: {log.read_text(errors='replace')[-500:]}")
    return line


def environment() -> dict[str, str]:
    """What our processes get: our own, and where the project is."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
