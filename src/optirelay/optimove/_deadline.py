"""A time by which blocking I/O is over, however steadily it trickles: what asyncio.timeout is to the async client."""

import contextlib
import math
import ssl
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from time import monotonic
from typing import Any

import httpcore2
import httpx2

CHUNK = 16 * 1024  # bytes written between two looks at the time

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=math.inf)  # of this thread's call


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done inside has so long; an end that was set outside and is nearer stays."""
    token = _ends_at.set(min(_ends_at.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def check() -> None:
    """TimeoutError if the time is over."""
    _left(None)


def _left(timeout: float | None) -> float | None:
    """How long the next step may take. TimeoutError if the time is over."""
    left = _ends_at.get() - monotonic()
    if left <= 0:
        raise TimeoutError("the whole call took too long")
    return timeout if left == math.inf else min(left, math.inf if timeout is None else timeout)


class PatientTransport(httpx2.HTTPTransport):
    """HTTP whose every wait ends with `within`, where httpx2 begins its timeout anew with each byte."""

    def __init__(self, keep_alive: timedelta) -> None:
        trusted = httpx2.create_ssl_context()
        super().__init__(verify=trusted)
        self._pool = httpcore2.ConnectionPool(  # httpx2 itself has no way to hand over a network
            ssl_context=trusted,
            keepalive_expiry=keep_alive.total_seconds(),
            network_backend=_Network(),
        )


class _Network(httpcore2.NetworkBackend):
    def __init__(self) -> None:
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self._network.connect_tcp(host, port, _left(timeout), local_address, socket_options))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for at in range(0, len(view), CHUNK):
            self._stream.write(view[at : at + CHUNK], _left(timeout))  # type: ignore[arg-type]

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
