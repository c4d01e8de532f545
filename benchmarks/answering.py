"""Servers that do nothing but answer, each a process of its own: what ours is measured against, or posts to."""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
import uvloop

ANSWER = b'{"kept":1}'


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do with a callback: read it and answer."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", str(len(ANSWER)).encode()), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Receiver(asyncio.Protocol):
    """Takes POSTs and says how many it took, and in which time, to whoever GETs. Bodies are kept for who wants them."""

    taken = 0
    first_at = last_at = 0.0
    bodies: list[bytes] | None = None

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._transport.write(self._answer(get=head.startswith(b"get"), body=body))

    @classmethod
    def _answer(cls, *, get: bool, body: bytes) -> bytes:
        if get:
            said = json.dumps({"taken": cls.taken, "seconds": cls.last_at - cls.first_at}).encode()
            cls.taken = 0
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)
        cls.last_at = time.monotonic()
        cls.first_at = cls.first_at if cls.taken else cls.last_at
        cls.taken += 1
        if cls.bodies is not None:
            cls.bodies.append(body)
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Noting(Receiver):
    """Also notes when it had each numbered message for the first time; says how many to whoever GETs."""

    numbered = re.compile(rb"\bnumber-(\d+)")
    had_at: ClassVar[dict[int, float]] = {}  # seconds since 1970, as time.time() has them

    @classmethod
    def _answer(cls, *, get: bool, body: bytes) -> bytes:
        now = time.time()
        for number in cls.numbered.findall(body):
            cls.had_at.setdefault(int(number), now)
        answer = super()._answer(get=get, body=body)
        if get:
            said = b"%d" % len(cls.had_at)
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)
        return answer


async def note(port: int, kept: Path) -> None:
    """Receive until standard input ends; then the times are written, by number."""
    await asyncio.get_running_loop().create_server(Noting, "127.0.0.1", port)
    await asyncio.to_thread(sys.stdin.read)
    kept.write_text(json.dumps(Noting.had_at))


async def receive(port: int, kept: Path | None) -> None:
    """Receive until standard input ends; then the bodies are written, a line each."""
    Receiver.bodies = None if kept is None else []
    await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", port)
    await asyncio.to_thread(sys.stdin.read)
    if kept is not None and Receiver.bodies is not None:
        kept.write_bytes(b"\n".join(Receiver.bodies))


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        config = uvicorn.Config(  # as optirelay.service has it
            bare,
            interface="asgi3",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            port=int(sys.argv[2]),
        )
        uvloop.run(uvicorn.Server(config).serve())
    elif sys.argv[1] == "note":
        uvloop.run(note(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        uvloop.run(receive(int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
