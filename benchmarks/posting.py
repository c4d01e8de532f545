"""Clients that do nothing but post what stands in a file, each a process of its own."""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import uvloop

SEPARATOR = b"\0"  # between two whole requests


class Poster(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    statuses: ClassVar[Counter[str]] = Counter()

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._answer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        place = head.find(b"content-length: ")
        if place >= 0 and len(body) >= int(head[place + 16 :].split(b"\r\n", 1)[0]):
            self.statuses[head[9:12].decode()] += 1
            self._answer = b""
            self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._transport.close()
            self._done.set_result(None)


async def load(port: int, file: Path, connections: int) -> float:
    """Post whole requests, so many at a time; the seconds that it took."""
    requests = iter(file.read_bytes().split(SEPARATOR))
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(connections)]
    began = time.monotonic()
    for one in done:
        await loop.create_connection(lambda one=one: Poster(requests, one), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*done)
    return time.monotonic() - began


class Pacer(asyncio.Protocol):
    """One connection that is either free or waits for an answer; the one that is free for longest is the next, because
    the server closes those that nobody uses."""

    free: ClassVar[deque["Pacer"]] = deque()
    answered: ClassVar[asyncio.Event] = asyncio.Event()
    statuses: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        self._answer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        self.free.append(self)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, _ = self._answer.partition(b"\r\n\r\n")
        if end:  # no notification's answer has a body
            self.statuses[head[9:12].decode()] += 1
            self._answer = b""
            self.free.append(self)
            self.answered.set()

    def write(self, request: bytes) -> float:
        """When its first byte went out, as time.time() has it."""
        now = time.time()
        self._transport.write(request)
        return now


async def pace(port: int, file: Path, connections: int, per_second: float) -> tuple[list[float], float]:
    """Post whole requests at their times, evenly spaced, whatever is not answered yet; when each went out, and by how
    many seconds the latest of them was late."""
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(Pacer, "127.0.0.1", port)
    began, latest, written = loop.time(), 0.0, []
    for number, request in enumerate(file.read_bytes().split(SEPARATOR)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - loop.time()))
        while not Pacer.free:
            Pacer.answered.clear()
            await Pacer.answered.wait()
        latest = max(latest, loop.time() - due)
        written.append(Pacer.free.popleft().write(request))
    while len(Pacer.free) < connections:
        Pacer.answered.clear()
        await Pacer.answered.wait()
    return written, latest


async def post(url: str, file: Path, concurrency: int) -> None:
    """The bare loop: so many tasks, each with one POST after another."""
    bodies = iter(file.read_bytes().split(b"\n"))
    connector = aiohttp.TCPConnector(limit=concurrency)

    async def one_after_another(session: aiohttp.ClientSession) -> None:
        for body in bodies:
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one_after_another(session) for _ in range(concurrency)))


if __name__ == "__main__":
    if sys.argv[1] == "load":
        seconds = uvloop.run(load(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
        print(json.dumps({"seconds": seconds, "statuses": Poster.statuses}))
    elif sys.argv[1] == "pace":
        went_out_at, late = uvloop.run(pace(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
        print(json.dumps({"written": went_out_at, "late": late, "statuses": Pacer.statuses}))
    else:
        uvloop.run(post(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
