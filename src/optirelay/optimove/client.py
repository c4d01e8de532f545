"""The shells that carry calls to Optimove over HTTP and tell what came of them: one async, one sync."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from ._call import Call, Page, PagedCall
from ._deadline import PatientTransport, check, within
from ._shell import HEADERS, KEEP_ALIVE, MAX_ANSWER_BYTES, MAX_ERROR_BYTES, Pages, Shell

T = TypeVar("T")
P = TypeVar("P", bound=Page[Any])

LARGE_ANSWER_BYTES = 64 * 1024  # takes longer to read than others should wait


class OptimoveClient(Shell):
    """Sends calls with one tenant's address and key; `async with` it, or `aclose()` it at the end.

    `api_url` is the address that Optimove gave the tenant, such as "https://api5.optimove.net"; "/current" is added
    unless it has a path already. (Optimove's reference writes its newer calls without "/current"; public connectors use
    both forms for all calls.) `timeout` is for each step: connecting, sending, every wait for more of the answer; a
    whole call takes at most PATIENCE times as long. Nothing is tried twice here, no redirect is followed, and neither
    proxies nor passwords come from the environment; who needs a proxy gives a `transport` of his own. An answer of more
    than `max_answer_bytes`, unpacked, is not taken.

    `metrics_url` and `metrics_token` are for calls that are signed, such as saveEvent: the whole address, as in
    "https://metric-777.optimove.net/api/saveEvent", and the tenant's token, which signs and is never sent.

    ValueError for an address that is not http(s), or holds a password, a query or a fragment, and for a key that no
    header can carry.

    https://developer.optimove.com/docs/general-information
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: timedelta = timedelta(seconds=30),
        transport: httpx2.AsyncBaseTransport | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        metrics_url: str | None = None,
        metrics_token: str | None = None,
    ) -> None:
        super().__init__(
            api_url,
            api_key,
            timeout=timeout,
            max_answer_bytes=max_answer_bytes,
            metrics_url=metrics_url,
            metrics_token=metrics_token,
        )
        limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE.total_seconds())
        self._http = httpx2.AsyncClient(
            headers=HEADERS,
            timeout=timeout.total_seconds(),
            transport=transport or httpx2.AsyncHTTPTransport(limits=limits),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. The client cannot be used after."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Make the call once and read its answer. Raises one of the OptimoveErrors for whatever goes wrong.

        ValueError for a signed call where the client was given no `metrics_url` or no `metrics_token`.
        """
        return await self._read_aside(call, await self._answer(call))

    async def pages(self, call: PagedCall[P]) -> AsyncGenerator[P, None]:
        """The pages of a list, from this call's on, each fetched when it is asked for; the empty one at the end is not
        given.

        One page is in memory at a time. Between pages nothing is held open: the reading may rest, be left, or be taken
        up later with `call.after(page)`. Every page is a call of its own: it counts for Optimove's limit, and what goes
        wrong with it is raised as by `send`. RepeatedPage where the page before comes once more; a list that goes on
        for ever with ever new rows is the caller's to leave.
        """
        reading = Pages(call)
        while True:
            body = await self._answer(reading.call)
            page = await self._read_aside(reading.call, body)
            more = reading.add(page, body)
            del body
            if not more:
                return
            yield page
            del page

    async def rows(self, call: PagedCall[Page[T]]) -> AsyncGenerator[T, None]:
        """The rows of a list, one by one, as `pages` fetches them."""
        async with contextlib.aclosing(self.pages(call)) as pages:
            async for page in pages:
                for row in page:
                    yield row
                del page

    async def _answer(self, call: Call[Any]) -> bytes:
        """The body of a 2xx; anything else is an OptimoveError."""
        request = self._request(self._http, call)
        with self._in_our_words(call):
            async with asyncio.timeout(self._patience):
                response = await self._http.send(request, stream=True)
                self._look_at_clock(response)
                async with contextlib.aclosing(response):
                    if not response.is_success:
                        raise self._refusal(call, response, await self._said(response))
                    body = bytearray()
                    async for part in response.aiter_bytes():
                        self._add(call, body, part)
                    return bytes(body)

    async def _said(self, response: httpx2.Response) -> bytes:
        """The beginning of an error's body; the status says enough where it cannot be read."""
        said = bytearray()
        with contextlib.suppress(httpx2.HTTPError, OSError):
            async with asyncio.timeout(self._timeout.total_seconds()):
                async for part in response.aiter_bytes():
                    said += part
                    if len(said) >= MAX_ERROR_BYTES:
                        break
        return bytes(said)

    async def _read_aside(self, call: Call[T], body: bytes) -> T:
        """What else runs in this process goes on while a large answer is read."""
        return (
            await asyncio.to_thread(self._read, call, body)
            if len(body) > LARGE_ANSWER_BYTES
            else self._read(call, body)
        )


class SyncOptimoveClient(Shell):
    """As OptimoveClient, for programs without asyncio: the same calls, answers, errors and promises.

    `with` it, or `close()` it at the end. Several threads may share it. With a `transport` of your own the limit of a
    whole call is looked at between the parts of an answer, so that it may take one `timeout` longer.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: timedelta = timedelta(seconds=30),
        transport: httpx2.BaseTransport | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        metrics_url: str | None = None,
        metrics_token: str | None = None,
    ) -> None:
        super().__init__(
            api_url,
            api_key,
            timeout=timeout,
            max_answer_bytes=max_answer_bytes,
            metrics_url=metrics_url,
            metrics_token=metrics_token,
        )
        self._http = httpx2.Client(
            headers=HEADERS,
            timeout=timeout.total_seconds(),
            transport=transport or PatientTransport(KEEP_ALIVE),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. The client cannot be used after."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Make the call once and read its answer, as `OptimoveClient.send`."""
        return self._read(call, self._answer(call))

    def pages(self, call: PagedCall[P]) -> Generator[P, None, None]:
        """The pages of a list, each fetched when it is asked for, as `OptimoveClient.pages`."""
        reading = Pages(call)
        while True:
            body = self._answer(reading.call)
            page = self._read(reading.call, body)
            more = reading.add(page, body)
            del body
            if not more:
                return
            yield page
            del page

    def rows(self, call: PagedCall[Page[T]]) -> Generator[T, None, None]:
        """The rows of a list, one by one, as `pages` fetches them."""
        for page in self.pages(call):
            yield from page
            del page

    def _answer(self, call: Call[Any]) -> bytes:
        """The body of a 2xx; anything else is an OptimoveError."""
        request = self._request(self._http, call)
        with self._in_our_words(call), within(self._patience):
            response = self._http.send(request, stream=True)
            self._look_at_clock(response)
            with contextlib.closing(response):
                if not response.is_success:
                    raise self._refusal(call, response, self._said(response))
                body = bytearray()
                for part in response.iter_bytes():
                    check()
                    self._add(call, body, part)
                return bytes(body)

    def _said(self, response: httpx2.Response) -> bytes:
        """The beginning of an error's body; the status says enough where it cannot be read."""
        said = bytearray()
        with contextlib.suppress(httpx2.HTTPError, OSError), within(self._timeout.total_seconds()):
            for part in response.iter_bytes():
                check()
                said += part
                if len(said) >= MAX_ERROR_BYTES:
                    break
        return bytes(said)
