"""Receivers of webhooks as they occur: one that takes everything, and whatever can go wrong, over real sockets."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import standardwebhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Act(Enum):
    """What a receiver does instead of answering."""

    CUT = "reads the request and closes"
    RESET = "reads the request and resets the connection"
    RESET_UNREAD = "resets the connection when the request begins"
    HALF_HEAD = "answers half a status line and closes"
    HALF_BODY = "answers 200, half of the body it promised, and closes"
    SILENCE = "reads the request and says nothing"
    SLOW_BODY = "answers 200 and then the body, an octet at a time, for ever"
    GARBAGE = "answers what is no HTTP"


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False  # the connection, right after
    unread: bool = False  # before the request's body is read

    def octets(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Reason", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def reply(status: int = 200, said: object = None, /, *, close: bool = False, **headers: str) -> Reply:
    """An answer; `retry_after="5"` is a header of it."""
    body = said.encode() if isinstance(said, str) else b"" if said is None else json.dumps(said).encode()
    return Reply(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()), close)


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    def messages(self) -> list[dict[str, Any]]:
        data = self.said["data"]
        return data.get("messages", [data])  # type: ignore[no-any-return]

    def verify(self, secret: str = SECRET) -> None:
        """Raises unless it is signed with this secret, now."""
        standardwebhooks.Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """An HTTP server that plays its script, request by request, and then accepts.

    `keyed`: it goes by the ids of messages, and takes none twice. A request that is not signed gets no answer.
    """

    keyed: bool = True
    secrets: Sequence[str] = (SECRET,)  # each must have signed
    answers_after: float = 0.0  # seconds
    always: Reply | Act | None = None
    to_head: Reply | Act | None = None
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    script: deque[Reply | Act] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def then(self, *script: Reply | Act) -> "Receiver":
        self.script.extend(script)
        return self

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/send?key=1"

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.tls, reuse_address=True, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Listen no more; what is open stays."""
        assert self._server is not None
        self._server.close()

    async def close_idle(self) -> None:
        """Close what is open, while nothing is in hand, and let the other side see it."""
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        act = self._next() if method != "HEAD" else self.to_head
        if act is Act.RESET_UNREAD:
            return reset(writer)
        unread = isinstance(act, Reply) and act.unread
        body = b"" if unread else await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, path, headers, body)
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.answers_after)
            return await self._answer(act, request, reader, writer)
        finally:
            self.in_flight -= 1

    def _next(self) -> Reply | Act | None:
        return self.script.popleft() if self.script else self.always

    async def _answer(
        self, act: Reply | Act | None, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if isinstance(act, Reply):
            writer.write(act.octets())
            await writer.drain()
            return not act.close and not act.unread
        if act is not None:
            self._take(request)
            return await misbehave(act, reader, writer)
        self._take(request)
        writer.write(Reply().octets())
        return True

    def _take(self, request: Request) -> None:
        if request.method == "POST":
            for secret in self.secrets:
                request.verify(secret)
            for message in request.messages():
                if not (self.keyed and message["id"] in self.taken):
                    self.taken.append(message["id"])


async def misbehave(act: Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Always False: the connection is done for."""
    match act:
        case Act.RESET:
            return reset(writer)
        case Act.HALF_HEAD:
            writer.write(b"HTTP/1.1 20")
        case Act.HALF_BODY:
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"provider_id"')
        case Act.GARBAGE:
            writer.write(b"220 smtp.example.com ESMTP\r\n\r\n")
        case Act.SILENCE:
            await reader.read()
        case Act.SLOW_BODY:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
    return False


def reset(writer: asyncio.StreamWriter) -> bool:
    """Close so that the other side gets a reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


def ids(requests: Sequence[Request]) -> list[str]:
    """The ids of the messages in these requests."""
    return [message["id"] for request in requests for message in request.messages()]
