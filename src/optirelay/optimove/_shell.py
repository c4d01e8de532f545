"""What the async and the sync client share: all but the waiting."""

import contextlib
import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import httpx2
import msgspec

from ._call import Call, Page, PagedCall
from ._read import Unreadable
from .errors import (
    Broken,
    CannotConnect,
    Forbidden,
    Moved,
    NoAnswer,
    OptimoveError,
    RateLimited,
    Refused,
    RepeatedPage,
    TooLong,
    Unauthorized,
)

T = TypeVar("T")
P = TypeVar("P", bound=Page[Any])

MAX_ANSWER_BYTES = 32 * 2**20  # unpacked; what is read of it takes several times the room
MAX_ERROR_BYTES = 4096  # read of an error's text; more of it helps nobody
MAX_QUOTE = 200  # characters of an answer in a message
PATIENCE = 10  # a whole call may take so many times the timeout, however steadily its answer trickles in
KEEP_ALIVE = timedelta(seconds=2)  # short: a connection that Optimove closes as we write leaves a doubt behind

HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",  # exactly this, or Optimove does not read a POST
    "User-Agent": "optirelay",
}
REDIRECTS = (301, 302, 307, 308)
NOTHING_WRITTEN = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
URL_TAIL = re.compile(r"(https?(?::|%3a)(?://|%2f%2f|\\/\\/))[^\s\"'<>]+", re.IGNORECASE)


class Shell:
    """One tenant's address, key and limits; builds requests, reads answers, and puts what goes wrong into our words."""

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: timedelta,
        max_answer_bytes: int,
        metrics_url: str | None,
        metrics_token: str | None,
    ) -> None:
        if not api_key or not all("!" <= character <= "~" for character in api_key):
            raise ValueError("An API key is printable ASCII without spaces")
        self._base = _base_url(api_url)
        self._key = api_key
        self._metrics_url = None if metrics_url is None else _checked_url(metrics_url)
        self._metrics_token = metrics_token
        self._timeout = timeout
        self._patience = PATIENCE * timeout.total_seconds()
        self._max_answer_bytes = max_answer_bytes
        self.clock: datetime | None = None
        """Optimove's, when it last answered, to the second; None where it did not tell (the header Date)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def _request(self, http: httpx2.AsyncClient | httpx2.Client, call: Call[Any]) -> httpx2.Request:
        content = None if call.body is None else msgspec.json.encode(call.body)
        url, headers = self._base + call.path, {"X-API-KEY": self._key}
        if call.signed:
            if self._metrics_url is None or not self._metrics_token:
                raise ValueError(f"{call.name} needs metrics_url and metrics_token")
            url, headers = self._metrics_url, signature_of(content or b"", self._metrics_token)
        return http.build_request(call.method, url, params=dict(call.query), content=content, headers=headers)

    @contextlib.contextmanager
    def _in_our_words(self, call: Call[Any]) -> Iterator[None]:
        """Whatever breaks on the way becomes an OptimoveError."""
        try:
            yield
        except NOTHING_WRITTEN as error:
            text = f"There is no connection to Optimove for {call.name}"
            raise self._error(CannotConnect, call, text, _name(error)) from error
        except httpx2.DecodingError as error:
            text = f"Optimove answered {call.name} with something that cannot be unpacked"
            raise self._error(Broken, call, text) from error
        except (httpx2.HTTPError, OSError) as error:  # OSError: our own TimeoutError is one, too
            text = f"{call.name} went to Optimove and no whole answer came"
            raise self._error(NoAnswer, call, text, _name(error)) from error

    def _look_at_clock(self, response: httpx2.Response) -> None:
        try:
            self.clock = _http_date(response.headers.get("Date", ""))
        except (ValueError, OverflowError):
            self.clock = None

    def _add(self, call: Call[Any], body: bytearray, part: bytes) -> None:
        """One more part of an answer. TooLong for more than we take."""
        body += part
        if len(body) > self._max_answer_bytes:
            text = f"Optimove answered {call.name} with more than {self._max_answer_bytes} bytes"
            raise self._error(TooLong, call, text)

    def _refusal(self, call: Call[Any], response: httpx2.Response, said: bytes) -> OptimoveError:
        """What a status other than 2xx means; `said` is how its body begins."""
        status, text = response.status_code, said[:MAX_ERROR_BYTES].decode(errors="replace")
        if status in (401, 403):
            what = "signature" if call.signed else "key"
            message = f"Optimove does not accept our {what} for {call.name} ({status})"
            return self._error(Forbidden if status == 403 else Unauthorized, call, message, text)
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


class Pages(Generic[P]):
    """How far the reading of a list has come: the call for its next page, and whether a page is the end."""

    def __init__(self, call: PagedCall[P]) -> None:
        self.call = call
        self._digest = b""

    def add(self, page: P, body: bytes) -> bool:
        """Go on behind this page; False if it is empty, the end. RepeatedPage if it is the page before once more."""
        if not len(page):
            return False
        digest = blake2b(body, digest_size=16).digest()
        if digest == self._digest:
            text = f"Optimove answered {self.call.name} with the page before once more at $skip={self.call.skip}"
            raise RepeatedPage(text, call=self.call.name, repeatable=self.call.repeatable)
        self._digest = digest
        self.call = self.call.after(page)
        return True


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
