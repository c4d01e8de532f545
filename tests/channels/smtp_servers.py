"""SMTP servers for tests: a scripted one that fails where it is told to, and aiosmtpd, whose SMTP is not ours."""

import asyncio
import re
import ssl
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Act(Enum):
    CUT = "close the connection"
    SILENCE = "say nothing more"
    DEAF = "read nothing more"


Script = str | Act | tuple[str | Act, ...]
"""What the server does at one point: lines that it writes, and how that ends."""

ORDINARY: dict[str, Script] = {
    "BANNER": "220 test ready",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 Ok: queued as 4F2A1",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "QUIT": ("221 2.0.0 Bye", Act.CUT),
}


class Ended(Exception):
    """The script ended this connection."""


@dataclass
class ScriptedServer:
    """Does at each point the next thing scripted for it, then the ordinary one.

    The keywords are the points: BANNER, EHLO, MAIL, RCPT, DATA, CONTENT (right after the 354), DOT, RSET, NOOP, QUIT.
    """

    offers: tuple[str, ...] = ("PIPELINING", "SIZE 30000000")
    limit: int | None = None  # connections at a time
    tls: ssl.SSLContext | None = None
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    always: dict[str, Script] = field(default_factory=dict)

    port: int = 0
    taken: list[bytes] = field(default_factory=list)  # contents, dots undone
    commands: list[str] = field(default_factory=list)
    connections: int = 0  # so far
    open: int = 0
    most_open: int = 0

    def then(self, point: str, *scripts: Script) -> "ScriptedServer":
        self.scripts.setdefault(point, []).extend(scripts)
        return self

    def sids(self) -> list[str]:
        return [re.findall(rb"Message-ID: <(\S+?)@", content)[0].decode() for content in self.taken]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            self.open += 1
            self.most_open = max(self.open, self.most_open)
            try:
                await self._talk(reader, writer)
            except (Ended, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self.open -= 1
                writer.close()
                tasks.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.tls, limit=64 * 1024 * 1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # closed connections end

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.limit is not None and self.open > self.limit:
            writer.write(b"421 4.7.0 too many connections\r\n")
            return
        await self._do("BANNER", writer, reader)
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.commands.append(line)
            verb = line[:4].upper()
            answer = await self._do(verb, writer, reader)
            if verb == "DATA" and answer.startswith("354"):
                if self.scripts.get("CONTENT"):
                    await reader.read(100)
                    await self._do("CONTENT", writer, reader)
                content = await reader.readuntil(b"\r\n.\r\n")
                self.taken.append(re.sub(rb"(?m)^\.\.", b".", content[:-3]))
                await self._do("DOT", writer, reader)

    async def _do(self, point: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> str:
        scripts = self.scripts.get(point)
        script = scripts.pop(0) if scripts else self.always.get(point) or self._ordinary(point)
        steps = script if isinstance(script, tuple) else (script,)
        for step in steps:
            if step is Act.CUT:
                raise Ended
            if step is Act.SILENCE:
                while await reader.read(65536):
                    pass
                raise Ended
            if step is Act.DEAF:
                cast("asyncio.Transport", writer.transport).pause_reading()
                await asyncio.sleep(3600)
            assert isinstance(step, str)
            writer.write(step.encode("utf-8", "surrogateescape") + b"\r\n")
        return str(steps[0])

    def _ordinary(self, point: str) -> Script:
        if point == "EHLO":
            lines = ["test", *self.offers]
            return tuple(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)
        return ORDINARY.get(point, "502 5.5.2 not here")


class Mailbox:
    """What aiosmtpd took."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.users: list[bytes] = []
        self.at: list[float] = []  # when each came, by time.monotonic()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.at.append(time.monotonic())
        self.envelopes.append(envelope)
        self.encrypted.append(
            server.transport is not None and server.transport.get_extra_info("sslcontext") is not None
        )
        return "250 2.0.0 Ok: queued as A1B2C3"

    def most_in(self, seconds: float, *, since: float = 0.0) -> int:
        """The most mails in any window of so many seconds."""
        times = [moment for moment in self.at if moment >= since]
        return max((bisect_left(times, start + seconds) - n for n, start in enumerate(times)), default=0)

    def log_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"acme", b"open sesame")
        if good:
            self.users.append(data.login)
        return AuthResult(success=good, handled=False)


@asynccontextmanager
async def aiosmtpd_server(mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """A running aiosmtpd; gives its port. `tls` encrypts from the first byte; options are those of aiosmtpd's SMTP."""
    make: Callable[[], SMTP] = lambda: SMTP(mailbox, hostname="localhost", **options)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.01)
