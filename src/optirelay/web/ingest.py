"""The hot path: what Optimove and providers tell is kept, raw, in one commit with all that came at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from optirelay.clock import utc_now
from optirelay.engine.operate import WORKER_SILENCE, prometheus_text
from optirelay.model import ChannelName, TenantId
from optirelay.nesting import NoObject, read_object
from optirelay.scalars import read_number
from optirelay.settings import Secret, Settings
from optirelay.signatures import read_key, verify
from optirelay.stages.callbacks import MalformedCallback, events_in, is_readable
from optirelay.stages.notifications import MalformedNotification, check
from optirelay.store import Store, StoreUnavailable
from optirelay.web.keeping import Keeper
from optirelay.web.unsubscribe import TRY_LATER, Unsubscribing

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY = 1024 * 1024
LARGEST_CALL = 2**63 - 1
DATABASE_SECONDS = 5
RETRY_AFTER = (b"retry-after", b"5")
log = structlog.get_logger()


class WebApp:
    """POST /optimove/{tenant}/{listener_secret}, the same with /attributes, and
    /callbacks/{tenant}/{channel}/{callback_secret}, GET and POST /u/{token}, /healthz, /readyz and /metrics.

    An ASGI application without a framework.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._notifications = Keeper(store.keep_notifications)
        self._callbacks = Keeper(store.keep_callbacks)
        self._attribute_results = Keeper(store.keep_attribute_results)
        self._measuring = asyncio.Lock()
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """From the next request on these are the settings; the store knows their tenants already."""
        self._settings = settings
        self._callers = _callers(settings)
        self._unsubscribing = Unsubscribing(settings, self._store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Any error is one of the promised answers; none is a 5xx but 503."""
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        if answer is not None:
            await _send(send, *answer)

    async def _answer(self, scope: Scope, receive: Receive) -> "Answer | None":
        match scope["path"].split("/"):
            case ["", "optimove", tenant, secret] if self._is_listener(tenant, secret):
                return await self._notification(TenantId(tenant), scope, receive)
            case ["", "optimove", tenant, secret, "attributes"] if self._is_listener(tenant, secret):
                return await self._attribute_result(TenantId(tenant), scope, receive)
            case ["", "callbacks", tenant, channel, secret] if self._is_caller(tenant, channel, secret):
                return await self._callback(self._callers[tenant, channel], scope, receive)
            case ["", "u", token]:
                return await self._unsubscribe(token, scope, receive)
            case ["", "healthz"]:
                return _text(200, "ok") if scope["method"] in ("GET", "HEAD") else _NOT_ALLOWED_GET
            case ["", "readyz"]:
                return await self._readiness() if scope["method"] in ("GET", "HEAD") else _NOT_ALLOWED_GET
            case ["", "metrics"]:
                return await self._metrics() if scope["method"] in ("GET", "HEAD") else _NOT_ALLOWED_GET
            case _:
                return _text(404, "not found")

    def _is_listener(self, tenant: str, secret: str) -> bool:
        known = self._settings.tenants.get(tenant)
        if known is None:
            return False
        matches = [theirs.matches(secret) for theirs in known.listener_secrets]  # each, whichever matches
        return any(matches)

    async def _notification(self, tenant: TenantId, scope: Scope, receive: Receive) -> "Answer | None":
        return await self._posted(
            *("notification", tenant, scope, receive),
            check=check,
            keep=lambda body: self._notifications.keep((tenant, body)),
        )

    async def _attribute_result(self, tenant: TenantId, scope: Scope, receive: Receive) -> "Answer | None":
        return await self._posted(
            *("attribute_result", tenant, scope, receive),
            check=read_object,
            keep=lambda body: self._attribute_results.keep((tenant, _call_of(scope), body)),
        )

    async def _posted(
        self,
        what: str,
        tenant: TenantId,
        scope: Scope,
        receive: Receive,
        *,
        check: Callable[[bytes], object],
        keep: Callable[[bytes], Awaitable[None]],
    ) -> "Answer | None":
        """What Optimove posts is kept as it is, where it is what it should be."""
        if scope["method"] != "POST":
            return _NOT_ALLOWED_POST
        try:
            body = await _read_body(scope, receive)
            if body is None:
                return None
            check(body)
        except _TooLarge:
            return _text(413, "at most 1 MiB")
        except (MalformedNotification, NoObject) as error:
            log.info(f"{what}_malformed", tenant=tenant, why=str(error))
            return _text(400, str(error))
        try:
            await keep(body)
        except StoreUnavailable as error:
            log.warning(f"{what}_not_kept", tenant=tenant, why=str(error))
            return _TRY_AGAIN
        return 200, [], b""

    def _is_caller(self, tenant: str, channel: str, secret: str) -> bool:
        known = self._callers.get((tenant, channel))
        return known is not None and any([theirs.matches(secret) for theirs in known.secrets])  # noqa: C419 - each

    async def _callback(self, caller: "_Caller", scope: Scope, receive: Receive) -> "Answer | None":
        if scope["method"] != "POST":
            return _NOT_ALLOWED_POST
        try:
            body = await _read_body(scope, receive)
            if body is None:
                return None
            key = _verified(caller, scope, body)
            readable = sum(map(is_readable, events_in(body)))
        except _TooLarge:
            return _text(413, "at most 1 MiB")
        except _NotSigned:
            return _text(401, "the signature is missing, wrong or old")
        except MalformedCallback as error:
            log.info("callback_malformed", tenant=caller.tenant, channel=caller.channel, why=str(error))
            return _text(400, str(error))
        try:
            await self._callbacks.keep((caller.tenant, caller.channel, key, body))
        except StoreUnavailable as error:
            log.warning("callback_not_kept", tenant=caller.tenant, channel=caller.channel, why=str(error))
            return _TRY_AGAIN
        return 200, _JSON, b'{"kept":%d}' % readable

    async def _unsubscribe(self, token: str, scope: Scope, receive: Receive) -> "Answer | None":
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, [(b"allow", b"GET, HEAD, POST")], b""
        try:
            if scope["method"] != "POST":
                return await self._unsubscribing.ask(token)
            body = await _read_body(scope, receive)
            return None if body is None else await self._unsubscribing.carry_out(token, body)
        except _TooLarge:
            return _text(413, "at most 1 MiB")
        except StoreUnavailable as error:
            log.warning("unsubscribe_not_kept", why=str(error))
            return TRY_LATER

    async def _readiness(self) -> "Answer":
        """Ready when the database answers and, where there are to be workers, one was seen lately."""
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                workers = await self._store.reporting_workers(WORKER_SILENCE)
        except (StoreUnavailable, TimeoutError) as error:
            return _readiness(503, f"the database does not answer: {error}")
        if self._settings.service.workers and not workers:
            return _readiness(503, "no worker has reported in the last minute")
        return _readiness(200, None)

    async def _metrics(self) -> "Answer":
        """Read from the database, one after the other: whoever asks often takes no connection from notifications."""
        tenants = [TenantId(name) for name in self._settings.tenants]
        try:
            async with asyncio.timeout(DATABASE_SECONDS), self._measuring:
                text = await prometheus_text(self._store, tenants)
        except (StoreUnavailable, TimeoutError) as error:
            return _text(503, f"the database does not answer: {error}")
        return 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], text


Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class _TooLarge(Exception):
    pass


class _NotSigned(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Caller:
    """A channel whose provider may call back; by what is known that it is its provider."""

    tenant: TenantId
    channel: ChannelName
    secrets: Sequence[Secret]  # of the URL
    keys: Sequence[bytes]  # of signatures; none: the URL is all that is checked


def _callers(settings: Settings) -> Mapping[tuple[str, str], _Caller]:
    return {
        (tenant, name): _Caller(
            TenantId(tenant),
            ChannelName(name),
            channel.callback_secrets,
            () if channel.webhook is None else [read_key(secret.reveal()) for secret in channel.webhook.secrets],
        )
        for tenant, of_tenant in settings.tenants.items()
        for name, channel in of_tenant.channels.items()
        if channel.callback_secrets
    }


def _verified(caller: _Caller, scope: Scope, body: bytes) -> bytes:
    """What makes the callback the same when it comes again. _NotSigned where it is not its provider's."""
    if not caller.keys:
        return blake2b(body, digest_size=16).digest()
    signed = {name: value for name, value in scope["headers"] if name.startswith(b"webhook-")}
    webhook_id = signed.get(b"webhook-id", b"")
    timestamp, signature = signed.get(b"webhook-timestamp"), signed.get(b"webhook-signature")
    if not verify(caller.keys, webhook_id, timestamp, signature, body, utc_now()):
        raise _NotSigned
    return blake2b(webhook_id, digest_size=16).digest()


def _call_of(scope: Scope) -> int | None:
    """The call of ours that a result is about, as the address says that Optimove was given; None where it does not."""
    asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    return read_number(asked.get("call"), LARGEST_CALL)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None where the client went away. _TooLarge above 1 MiB, as soon as that is known."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > LARGEST_BODY:
            raise _TooLarge
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _TooLarge
        if not event.get("more_body"):
            return bytes(body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _text(status: int, text: str) -> Answer:
    return status, [(b"content-type", b"text/plain; charset=utf-8")], text.encode()


def _readiness(status: int, why: str | None) -> Answer:
    body = msgspec.json.encode({"ready": status == 200, "why": why})
    return status, [(b"content-type", b"application/json")], body


_JSON = [(b"content-type", b"application/json")]
_TRY_AGAIN: Answer = 503, [RETRY_AFTER], b"try again"
_NOT_ALLOWED_POST: Answer = 405, [(b"allow", b"POST")], b""
_NOT_ALLOWED_GET: Answer = 405, [(b"allow", b"GET, HEAD")], b""
