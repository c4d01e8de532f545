"""Optimove's side of our listener, in a hurry: notifications over a few connections, each until it is answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from crash.watch import STILL_SECONDS, StandsStill

CONNECTIONS = 8
PAUSE_SECONDS = 0.1  # before what was not taken is sent again
ANSWER_SECONDS = 30.0
OK, NOT_NOW, NO_ANSWER = 200, 503, 0


class Sender:
    """Posts bodies, each again until it is answered with 200.

    What is cut, refused, not answered or answered with 503 is repeated. Any other answer is none that the listener may
    give: it is counted in `wrong_answers`, and that body is not sent again.
    """

    def __init__(self, port: int, path: str, bodies: Sequence[bytes]) -> None:
        self.answered = 0  # with 200
        self.repeats: Counter[int] = Counter()  # status, or NO_ANSWER: how often a body went again for it
        self.wrong_answers: Counter[int] = Counter()
        self.seconds = 0.0  # that it took, once all are answered
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._bodies = iter(bodies)
        self._moved_at = 0.0

    async def run(self) -> None:
        """Post them all. StandsStill where nothing is taken any more."""
        began_at = self._moved_at = time.monotonic()
        ended = await asyncio.gather(*(self._post_in_turn() for _ in range(CONNECTIONS)), return_exceptions=True)
        self.seconds = time.monotonic() - began_at
        for error in ended:
            if error is not None:
                raise error

    async def _post_in_turn(self) -> None:
        connection = Connection(self._port)
        try:
            for body in self._bodies:
                request = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
                while (status := await connection.post(request)) in (NOT_NOW, NO_ANSWER):
                    self.repeats[status] += 1
                    if time.monotonic() - self._moved_at > STILL_SECONDS:
                        raise StandsStill(f"no notification has been taken for {STILL_SECONDS:.0f} seconds")
                    await asyncio.sleep(PAUSE_SECONDS)
                self._moved_at = time.monotonic()
                if status == OK:
                    self.answered += 1
                else:
                    self.wrong_answers[status] += 1
        finally:
            connection.close()


class Connection:
    """HTTP/1.1 as bare as can be: one request after another, on a connection that is made anew where it was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, request: bytes) -> int:
        """The answer's status; NO_ANSWER where none came."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(request)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return NO_ANSWER

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"content-length:")
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]) if found else 0)
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1])
