"""A tiny listener that keeps what it hears."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Listener:
    """Answers over keep-alive connections with the statuses that it is given, then 200."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.contents: list[bytes] = []
        self.statuses: list[int] = []
        self.connections: list[asyncio.StreamWriter] = []
        self._handlers: list[asyncio.Task[Any] | None] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        self._handlers.append(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")
                )
                content = await reader.readexactly(length)
                self.heard.append((head.split()[1], json.loads(content)))
                self.contents.append(content)
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        """Hang up, and wait until everything is closed."""
        for connection in self.connections:
            connection.close()
        await asyncio.gather(*(handler for handler in self._handlers if handler), return_exceptions=True)
        await asyncio.sleep(0)

    async def until(self, count: int) -> list[dict[str, Any]]:
        """The bodies, as soon as there are so many."""
        async with asyncio.timeout(30):
            while len(self.heard) < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # and no more than that
        return [body for _, body in self.heard]


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener on a free port."""
    listener = Listener()
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield listener
    server.close()
    await listener.stop()
    await server.wait_closed()
