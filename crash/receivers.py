"""Who gets the messages: an SMTP server and one that honours keys, each with a receipt log of its own.

A process of its own, never killed and never ours to ask: what stands in its log has reached a person. A receipt is
written before the sender hears of it, so that it stands there whatever becomes of the answer.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import uvloop

LARGEST_MAIL = 32 * 1024 * 1024
_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*<([^@>\s]+)@")
_SUBJECT = re.compile(rb"(?im)^subject: Template (\d+)\r$")
_ANSWERS = {
    b"HELO": b"250 receiver\r\n",
    b"EHLO": b"250-receiver\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 33554432\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
}


class Receipt(NamedTuple):
    """One message that reached one person."""

    at: float  # seconds since 1970
    door: int  # through which of the receiver's ports
    sid: str
    template_id: int
    to: str
    again: bool  # the same key again: answered, and not delivered a second time


def read_receipts(lines: Iterable[str]) -> list[Receipt]:
    """The lines of a receipt log."""
    found = []
    for line in lines:
        at, door, sid, template_id, to, again = line.rstrip("\n").split("\t")
        found.append(Receipt(float(at), int(door), sid, int(template_id), to, again == "again"))
    return found


class Receiver:
    """One kind of receiver on several ports; `pace_seconds` is how long it works on each message."""

    def __init__(self, kind: str, log: Path) -> None:
        self.pace_seconds = 0.0
        self._kind = kind
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._known: set[str] = set()  # keys

    async def listen(self, door: int) -> int:
        """Open one more port; its number."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await (self._mail if self._kind == "smtp" else self._keyed)(door, reader, writer)
            except (OSError, EOFError, asyncio.LimitOverrunError):
                pass  # the other side is gone; what it had not finished was not received
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LARGEST_MAIL)
        return int(server.sockets[0].getsockname()[1])

    async def _mail(self, door: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 receiver ready\r\n")
        to = ""
        while True:
            line = await reader.readuntil(b"\r\n")
            verb = line[:4].upper()
            if verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                return
            if verb == b"RCPT":
                to = line.partition(b"<")[2].partition(b">")[0].decode()
            if verb != b"DATA":
                writer.write(_ANSWERS.get(verb, b"502 5.5.2 not here\r\n"))
                continue
            writer.write(b"354 go on\r\n")
            mail = await reader.readuntil(b"\r\n.\r\n")
            await asyncio.sleep(self.pace_seconds)
            sid, template = _MESSAGE_ID.search(mail), _SUBJECT.search(mail)
            self._write(door, sid[1].decode() if sid else "none", int(template[1]) if template else 0, to)
            writer.write(b"250 2.0.0 Ok: taken\r\n")

    async def _keyed(self, door: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A line of JSON each way; the same key again is accepted and reaches nobody."""
        while True:
            asked = json.loads(await reader.readuntil(b"\n"))
            await asyncio.sleep(self.pace_seconds)
            again = asked["key"] in self._known
            self._known.add(asked["key"])
            self._write(door, asked["key"], asked["template_id"], asked["to"], again=again)
            writer.write(json.dumps({"key": asked["key"], "status": "accepted"}).encode() + b"\n")

    def _write(self, door: int, sid: str, template_id: int, to: str, *, again: bool = False) -> None:
        fields = (f"{time.time():.3f}", str(door), sid, str(template_id), to, "again" if again else "")
        os.write(self._log, ("\t".join(fields) + "\n").encode())


async def main(kind: str, log: Path, doors: int) -> None:
    """Tell the ports as a line of JSON, then receive until standard input ends; a number on it is the new pace."""
    receiver = Receiver(kind, log)
    print(json.dumps([await receiver.listen(door) for door in range(doors)]), flush=True)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        receiver.pace_seconds = float(line)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
