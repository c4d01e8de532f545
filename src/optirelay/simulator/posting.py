"""One keep-alive connection that POSTs JSON: many times quicker than a whole HTTP client, and it can nothing else."""

import asyncio
import ssl
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import httptools
import httpx2

from optirelay.simulator.firing import TIMEOUT_SECONDS


class NoAnswer(Exception):
    """Nobody answered; the text says why."""


class Address:
    """Where a listener is, read once. NoAnswer for what is no address."""

    def __init__(self, url: str) -> None:
        try:
            parts = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise NoAnswer(f"InvalidURL: {error}") from error
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.host, parts.port or (443 if self.secure else 80)
        self._head = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\ncontent-length: %%d\r\n\r\n"
            % (parts.raw_path.replace(b"%", b"%%"), parts.netloc)
        )

    def request(self, content: bytes) -> bytes:
        """The bytes of one POST."""
        return self._head % len(content) + content


@lru_cache(maxsize=1024)
def address_of(url: str) -> Address:
    """The address that a URL names."""
    return Address(url)


class Line:
    """One connection to one address, opened when it is needed; one request at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._exchange: _Exchange | None = None

    async def post(self, content: bytes) -> int:
        """The status of the answer; NoAnswer when there was none within TIMEOUT_SECONDS."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._exchange is None or self._exchange.closed:
                    self._exchange = await self._connect()
                return await self._exchange.post(self._address.request(content))
        except (OSError, TimeoutError) as error:
            self.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Hang up at once."""
        if self._exchange:
            self._exchange.close()
            self._exchange = None

    async def _connect(self) -> "_Exchange":
        address = self._address
        secure = ssl.create_default_context() if address.secure else None
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(_Exchange, address.host, address.port, ssl=secure)
        return exchange


class _Exchange(asyncio.Protocol):
    """Requests and answers in turn over one connection."""

    def __init__(self) -> None:
        self.closed = False
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport  # uvloop's is one without being a subclass

    async def post(self, request: bytes) -> int:
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # bytes that nobody asked for
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.connection_lost(ConnectionError(f"the answer is no HTTP ({error})"))
            self.close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:  # "100 Continue": the answer is still to come
            return
        if not self._parser.should_keep_alive():
            self.closed = True
            self._transport.close()
        if self._answer and not self._answer.done():
            self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the connection was closed before the answer"))
