"""A small TCP proxy that cuts and delays: what stands between a process of ours and somebody else."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import NamedTuple

CHUNK = 64 * 1024


class Cut(Enum):
    """What goes wrong with the next request."""

    BEFORE = "cut before the request"
    AFTER = "cut after the request, its answer lost"
    HALF = "cut after half an answer"
    DELAY = "request delayed"


class Fault(NamedTuple):
    """What happens to the next request on any connection; `seconds` is for a delay alone."""

    cut: Cut
    seconds: float = 0.0


class Proxy:
    """Forwards to a port of 127.0.0.1. It knows no protocol: a request is what a client writes at once."""

    def __init__(self, name: str, port: int, *, on_fault: Callable[[str, Fault], None] = lambda *_: None) -> None:
        self.name = name
        self.port = 0  # ours, once it runs
        self.faults: deque[Fault] = deque()  # those that have not met a request yet
        self._target = port
        self._on_fault = on_fault
        self._away = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._talks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port until the end."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._talks.add(task)
            try:
                await self._talk(reader, writer)
            except (OSError, asyncio.CancelledError):
                pass  # refused behind us, or cut by us
            finally:
                self._talks.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut_all()
            await asyncio.gather(*self._talks, return_exceptions=True)

    def arm(self, fault: Fault) -> None:
        """The next request meets this fault."""
        self.faults.append(fault)

    def cut_all(self) -> None:
        """Close every connection."""
        for talk in list(self._talks):
            talk.cancel()

    def go_away(self) -> None:
        """Close every connection and refuse new ones, as a host that is down."""
        self._away = True
        self.cut_all()

    def go_silent(self) -> None:
        """Forward nothing any more, and close nothing, as a cable that is cut."""
        self._flows.clear()

    def come_back(self) -> None:
        """Forward again, also what was held up."""
        self._away = False
        self._flows.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._away:
            return
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._target)
        talk = _Talk(self, reader, writer, behind_reader, behind_writer)
        ways = [asyncio.create_task(talk.requests()), asyncio.create_task(talk.answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if ways[0].done() and not talk.cut:  # the client is gone: what it wrote arrives all the same
                behind_writer.close()
                with suppress(OSError):
                    await behind_writer.wait_closed()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            behind_writer.transport.abort()

    async def flows(self) -> None:
        """Wait while nothing is forwarded."""
        await self._flows.wait()

    def next_fault(self) -> Fault | None:
        """The fault that this request meets."""
        if not self.faults:
            return None
        fault = self.faults.popleft()
        self._on_fault(self.name, fault)
        return fault


class _Talk:
    """One client's connection and ours behind it."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind_reader: asyncio.StreamReader,
        behind_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._behind_reader, self._behind_writer = behind_reader, behind_writer
        self._waits_for_answer: Cut | None = None
        self.cut = False

    async def requests(self) -> None:
        """Forward what the client writes; ends where either side does, or at a cut."""
        while chunk := await self._reader.read(CHUNK):
            await self._proxy.flows()
            fault = None if self._waits_for_answer else self._proxy.next_fault()
            match fault:
                case Fault(Cut.BEFORE):
                    self.cut = True
                    return
                case Fault(Cut.DELAY, seconds):
                    await asyncio.sleep(seconds)
                case Fault(cut):
                    self._waits_for_answer = cut
            self._behind_writer.write(chunk)
            await self._behind_writer.drain()

    async def answers(self) -> None:
        """Forward what comes back; ends where either side does, or at a cut."""
        while chunk := await self._behind_reader.read(CHUNK):
            await self._proxy.flows()
            match self._waits_for_answer:
                case None:
                    self._writer.write(chunk)
                    await self._writer.drain()
                case cut:
                    self.cut = True
                    if cut is Cut.HALF:
                        self._writer.write(chunk[: len(chunk) // 2])
                        await self._writer.drain()
                        await asyncio.sleep(0.05)  # until it is written; then the cut
                    return
