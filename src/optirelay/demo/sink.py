"""A small SMTP server that takes every mail and keeps it readable: one .eml file each, and a line in receipts.txt."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from optirelay.clock import utc_now

MOST_FILES = 10_000  # of a larger campaign the rest is only counted
LARGEST_LINE = 1024 * 1024
_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*<([^>\s]+)>")
_GREETING = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 33554432\r\n"
_ANSWERS = {
    b"HELO": b"250 sink\r\n",
    b"EHLO": _GREETING,
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
}


class Sink:
    """What it has taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received = 0
        self.arrived_at: dict[str, datetime] = {}  # by what stands before the @ of its Message-ID, which is the sid
        self._receipts = (folder / "receipts.txt").open("a", encoding="utf-8", buffering=1)  # read while we run

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen on a free port of 127.0.0.1, until the end."""
        talks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                await self._talk(reader, writer)
            except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
                pass  # the other side is gone, or talks nonsense, or we end
            finally:
                talks.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=32 * LARGEST_LINE)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for talk in list(talks):
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            self._receipts.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink ready\r\n")
        recipients: list[str] = []
        while True:
            line = await reader.readuntil(b"\r\n")
            verb = line[:4].upper()
            if verb in (b"HELO", b"EHLO", b"MAIL", b"RSET"):
                recipients = []
            if verb == b"RCPT":
                recipients.append(line.partition(b"<")[2].partition(b">")[0].decode(errors="replace"))
                writer.write(b"250 2.1.5 Ok\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n" if recipients else b"503 5.5.1 who gets it?\r\n")
                if recipients:
                    self._keep((await reader.readuntil(b"\r\n.\r\n"))[:-3], recipients)
                    writer.write(b"250 2.0.0 Ok: %d\r\n" % self.received)
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                return
            else:
                writer.write(_ANSWERS.get(verb, b"502 5.5.2 not here\r\n"))

    def _keep(self, stuffed: bytes, recipients: list[str]) -> None:
        mail = re.sub(rb"(?m)^\.\.", b".", stuffed)
        found = _MESSAGE_ID.search(mail)
        message_id = found[1].decode(errors="replace") if found else f"none-{self.received}"
        self.received += 1
        now = utc_now()
        self.arrived_at.setdefault(message_id.partition("@")[0], now)
        self._receipts.write(f"{now.isoformat()}\t{','.join(recipients)}\t{message_id}\n")
        if self.received <= MOST_FILES:
            (self.folder / f"{self.received:05}.eml").write_bytes(mail)
