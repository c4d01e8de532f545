"""The shell that carries calls to Optimove over HTTP and tells what came of them."""

import asyncio
import contextlib
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from ._call import Call
from ._read import Unreadable
from .errors import Broken, CannotConnect, Moved, NoAnswer, OptimoveError, RateLimited, Refused, TooLong, Unauthorized

T = TypeVar("T")

MAX_ANSWER_BYTES = 32 * 2**20  # unpacked; what is read of it takes several times the room
MAX_ERROR_BYTES = 4096  # read of an error's text; more of it helps nobody
LARGE_ANSWER_BYTES = 64 * 1024  # takes longer to read than others should wait
MAX_QUOTE = 200  # characters of an answer in a message
PATIENCE = 10  # a whole call may take so many times the timeout, however steadily its answer trickles in
KEEP_ALIVE = timedelta(seconds=2)  # short: a connection that Optimove closes as we write leaves a doubt behind

REDIRECTS = (301, 302, 307, 308)
NOTHING_WRITTEN = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
URL_TAIL = re.compile(r"(https?(?::|%3a)(?://|%2f%2f|\\/\\/))[^\s\"'<>]+", re.IGNORECASE)


class OptimoveClient:
    """Sends calls with one tenant's address and key; `async with` it, or `aclose()` it at the end.

    `api_url` is the address that Optimove gave the tenant, such as "https://api5.optimove.net"; "/current" is added
    unless it has a path already. `timeout` is for each step: connecting, sending, every wait for more of the answer; a
    whole call takes at most PATIENCE times as long. Nothing is tried twice here, no redirect is followed, and neither
    proxies nor passwords come from the environment; who needs a proxy gives a `transport` of his own.

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
        if not api_key or not all("!" <= character <= "~" for character in api_key):
            raise ValueError("An API key is printable ASCII without spaces")
        self._base = _base_url(api_url)
        self._key = api_key
        self._metrics_url = None if metrics_url is None else _checked_url(metrics_url)
        self._metrics_token = metrics_token
        self._timeout = timeout
        self._max_answer_bytes = max_answer_bytes
        limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE.total_seconds())
        self._http = httpx2.AsyncClient(
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",  # exactly this, or Optimove does not read a POST
                "User-Agent": "optirelay",
            },
            timeout=timeout.total_seconds(),
            transport=transport or httpx2.AsyncHTTPTransport(limits=limits),
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"OptimoveClient({self._base!r})"

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
        request = self._request(call)
        try:
            async with asyncio.timeout(PATIENCE * self._timeout.total_seconds()):
                body = await self._answer(call, request)
        except NOTHING_WRITTEN as error:
            raise self._error(
                CannotConnect, call, f"There is no connection to Optimove for {call.name}", _name(error)
            ) from error
        except httpx2.DecodingError as error:
            raise self._error(
                Broken, call, f"Optimove answered {call.name} with something that cannot be unpacked"
            ) from error
        except (httpx2.HTTPError, OSError) as error:  # OSError: our own TimeoutError is one, too
            raise self._error(
                NoAnswer, call, f"{call.name} went to Optimove and no whole answer came", _name(error)
            ) from error
        if len(body) > LARGE_ANSWER_BYTES:
            return await asyncio.to_thread(self._read, call, body)  # what else runs in this process goes on meanwhile
        return self._read(call, body)

    def _request(self, call: Call[Any]) -> httpx2.Request:
        content = None if call.body is None else msgspec.json.encode(call.body)
        url, headers = self._base + call.path, {"X-API-KEY": self._key}
        if call.signed:
            if self._metrics_url is None or not self._metrics_token:
                raise ValueError(f"{call.name} needs metrics_url and metrics_token")
            url, headers = self._metrics_url, signature_of(content or b"", self._metrics_token)
        return self._http.build_request(call.method, url, params=dict(call.query), content=content, headers=headers)

    async def _answer(self, call: Call[Any], request: httpx2.Request) -> bytes:
        """The body of a 2xx; any other status is an OptimoveError."""
        response = await self._http.send(request, stream=True)
        async with contextlib.aclosing(response):
            if not response.is_success:
                raise self._refusal(call, response, await self._error_text(response))
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > self._max_answer_bytes:
                    text = f"Optimove answered {call.name} with more than {self._max_answer_bytes} bytes"
                    raise self._error(TooLong, call, text)
                parts.append(part)
            return b"".join(parts)

    async def _error_text(self, response: httpx2.Response) -> str:
        """The beginning of an error's body; the status says enough where it cannot be read."""
        text = bytearray()
        with contextlib.suppress(httpx2.HTTPError, OSError):
            async with asyncio.timeout(self._timeout.total_seconds()):
                async for part in response.aiter_bytes():
                    text += part
                    if len(text) >= MAX_ERROR_BYTES:
                        break
        return bytes(text[:MAX_ERROR_BYTES]).decode(errors="replace")

    def _refusal(self, call: Call[Any], response: httpx2.Response, text: str) -> OptimoveError:
        status = response.status_code
        if status in (401, 403):
            what = "signature" if call.signed else "key"
            message = f"Optimove does not accept our {what} for {call.name} ({status})"
            return self._error(Unauthorized, call, message, text)
        if status == 429:
            wait = _retry_after(response.headers)
            message = self._message(f"Optimove has had too many calls for {call.name} ({status})", text)
            return RateLimited(message, call=call.name, repeatable=call.repeatable, retry_after=wait)
        if status in REDIRECTS:
            return self._error(Moved, call, f"Another address answers for Optimove to {call.name} ({status})", text)
        if 400 <= status < 500 and status != 408:  # 408 is a passing thing, and may be some proxy's view of it only
            return self._error(Refused, call, f"Optimove refuses {call.name} ({status})", text)
        return self._error(Broken, call, f"Optimove failed at {call.name} ({status})", text)

    def _read(self, call: Call[T], body: bytes) -> T:
        try:
            return call.read(body)
        except Unreadable as error:
            text = f"Optimove's answer to {call.name} is not what it promises: {error}"
            raise self._error(Broken, call, text, error.quote) from error
        except (ValueError, TypeError, LookupError, msgspec.MsgspecError, RecursionError) as error:
            raise self._error(Broken, call, f"Optimove's answer to {call.name} cannot be read") from error

    def _error(
        self,
        kind: type[Broken | CannotConnect | Moved | NoAnswer | Refused | Unauthorized],
        call: Call[Any],
        *said: str,
    ) -> OptimoveError:
        return kind(self._message(*said), call=call.name, repeatable=call.repeatable)

    def _message(self, what: str, text: str = "") -> str:
        """One line: what happened, and how what was said begins, without our secrets and the inside of any URL."""
        for secret in filter(None, (self._key, self._metrics_token)):
            text = text.replace(secret, "…")
        text = URL_TAIL.sub(r"\1…", text)
        text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
        return f"{what}: {text[:MAX_QUOTE]}" if text else what


def signature_of(content: bytes, token: str) -> dict[str, str]:
    """The headers that sign these very bytes: HMAC-SHA256 with the tenant's token, in lower-case hex.

    https://developer.optimove.com/docs/external-vendors-campaign-engagement-metrics
    """
    signature = hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
    return {"X-Optimove-Signature-Version": "1", "x-optimove-signature-content": signature}


def _base_url(api_url: str) -> str:
    base = _checked_url(api_url)
    return base if httpx2.URL(base).path.strip("/") else f"{base}/current"


def _checked_url(address: str) -> str:
    """The same without a slash at its end. ValueError, which does not show it, where it cannot be used."""
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL:
        raise ValueError("The address of Optimove's API is not a URL") from None  # it may hold a password: not shown
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("The address of Optimove's API starts with https:// and a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("The address of Optimove's API has no user, password, query or fragment")
    return str(url).rstrip("/")


def _name(error: Exception) -> str:
    """ "ReadTimeout", or "ConnectError: [Errno 111] Connection refused" """
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _retry_after(headers: httpx2.Headers) -> timedelta | None:
    """Seconds, or a date, which is measured against the answer's own. None if absent, or neither."""
    text = headers.get("Retry-After", "").strip()
    try:
        if text.isascii() and text.isdecimal():
            return timedelta(seconds=int(text))
        return max(_http_date(text) - _http_date(headers.get("Date", "")), timedelta(0))
    except (ValueError, OverflowError):
        return None


def _http_date(text: str) -> datetime:
    time = parsedate_to_datetime(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
