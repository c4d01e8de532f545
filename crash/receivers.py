"""Who gets the messages: an SMTP server, or what stands behind a signed webhook, with a receipt log of its own.

A process of its own, never killed and never ours to ask: what stands in its log has reached a person. A receipt is
written before the sender hears of it, so that it stands there whatever becomes of the answer.
"""

import asyncio
import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import uvloop
from standardwebhooks import Webhook, WebhookVerificationError

from crash.receipts import Receipt

LARGEST_MESSAGE = 32 * 1024 * 1024
FORGED = "(nobody: a wrong signature)"
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
_OK, _HAD_IT_ALREADY, _WRONG_SIGNATURE = "200 OK", "409 Conflict", "401 Unauthorized"


class Receiver:
    """One kind of receiver on several ports; `pace_seconds` is how long it works on each message."""

    def __init__(self, log: Path, channel: str, contract: str, secret: str) -> None:
        self.pace_seconds = 0.0
        self._serve = {"smtp": self._mail, "webhook": self._posts}[channel]
        self._honours_ids = contract == "keyed"
        self._signed = Webhook(secret)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._known: set[str] = set()  # ids

    async def listen(self, door: int) -> int:
        """Open one more port; its number."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._serve(door, reader, writer)
            except (OSError, EOFError, asyncio.LimitOverrunError):
                pass  # the other side is gone; what it had not finished was not received
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LARGEST_MESSAGE)
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

    async def _posts(self, door: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """HTTP/1.1: one message a request, each request signed."""
        while True:
            request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            await asyncio.sleep(self.pace_seconds)
            status = self._post(door, headers, body) if request.startswith("POST ") else _OK
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    def _post(self, door: int, headers: dict[str, str], body: bytes) -> str:
        """The status. A request that is signed wrongly is written as one that reached a stranger."""
        try:
            message = self._signed.verify(body, headers)["data"]
        except (WebhookVerificationError, ValueError):
            self._write(door, "none", 0, FORGED)
            return _WRONG_SIGNATURE
        again = self._honours_ids and message["id"] in self._known
        self._known.add(message["id"])
        number = message["personalization"].get("number", "")
        self._write(door, message["id"], message["template_id"], message["to"], number=number, again=again)
        return _HAD_IT_ALREADY if again else _OK

    def _write(self, door: int, sid: str, template_id: int, to: str, *, number: str = "", again: bool = False) -> None:
        os.write(self._log, Receipt(time.time(), door, sid, template_id, to, number, again).line())


async def main(log: Path, doors: int, channel: str, contract: str, secret: str) -> None:
    """Tell the ports as a line of JSON, then receive until standard input ends; a number on it is the new pace."""
    receiver = Receiver(log, channel, contract, secret)
    print(json.dumps([await receiver.listen(door) for door in range(doors)]), flush=True)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        receiver.pace_seconds = float(line)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]))
