"""Any delivery system behind a signed webhook: messages are posted to it in JSON, one or several a request."""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from optirelay import __version__
from optirelay.channels import ChannelSetup, Wire
from optirelay.channels.webhook.answers import STOPS, Reply, answers
from optirelay.channels.webhook.bodies import Bodies
from optirelay.clock import utc_now
from optirelay.errors import NeedsOperator, OptirelayError, TryLater
from optirelay.model import Answer, Contract, Doubtful, Later, Outgoing
from optirelay.net import (
    LARGEST_ANSWER,
    NO_ANSWER,
    NOTHING_WRITTEN,
    GuardedHttp,
    no_connection,
    read_limited,
    server_of,
)
from optirelay.signatures import read_key, sign

LARGEST_RESULT = 1024
"""Octets that an answer may have for each message of a request, where that is more than LARGEST_ANSWER."""
_TOO_MANY = 429


class Secret(Protocol):
    """A value that shows itself only when asked by name."""

    def reveal(self) -> str: ...


class WebhookOptions(Protocol):
    """The channel's own table of settings."""

    @property
    def url(self) -> str: ...
    @property
    def secrets(self) -> Sequence[Secret]: ...
    @property
    def batch(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def contract(self) -> Contract: ...


class WebhookChannel:
    """Posts messages to one URL, a fixed number of requests at a time, whatever the number of groups.

    Each request is signed with every secret (Standard Webhooks 1.0.0). With `batch` = 1 a message's request has its sid
    as `webhook-id` and the same body on every try; else each request is one of its own, and receivers go by the ids of
    the messages in it. Not to be used from two event loops.
    """

    contracts: ClassVar[Sequence[Contract]] = (Contract.KEYED, Contract.HOLD)
    reported: ClassVar[bool] = True
    takes_mail: ClassVar[bool] = False

    def __init__(self, setup: ChannelSetup) -> None:
        options: WebhookOptions = setup.options
        self.contract: Contract = options.contract
        self._place = f"[tenants.{setup.tenant}.channels.{setup.name}.webhook]"
        self._url = options.url
        self._keys = [read_key(secret.reveal()) for secret in options.secrets]
        self._bodies = Bodies(setup.tenant, setup.name, setup.kind)
        self._several = options.batch > 1
        self._most = options.batch if setup.together is None else max(1, min(options.batch, setup.together))
        self._largest_answer = max(LARGEST_ANSWER, LARGEST_RESULT * self._most)
        # Messages that leave together wait for their slots one request after another: else those of one request would
        # lie between those of another, and each request would leave much later than its first message may.
        self._collecting = asyncio.Lock() if self._several and setup.together is not None else None
        self._concurrency = options.concurrency
        self._free = asyncio.Semaphore(options.concurrency)
        self._timeout_seconds = setup.timeout_seconds
        self._http = GuardedHttp(
            setup.allow_networks,
            limit=options.concurrency + 1,  # one for a probe
            timeout_seconds=setup.timeout_seconds,
            headers={"User-Agent": f"optirelay/{__version__}", "Content-Type": "application/json"},
        )

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Post each message; returns or raises once none is in hand. Several groups may be sent at a time.

        Raises TryLater when there is no connection, or the receiver answers 429 and says how long to wait;
        NeedsOperator when it answers 401, 403 or 410. Cancelled, it cuts what is under way, which stays without answer.
        """
        work = _Work(_in_parts(messages, self._most), wire)
        for _ in range(min(self._concurrency, -(-len(messages) // self._most))):
            work.start(self._lane(work))
        try:
            await work.over()
        except asyncio.CancelledError:
            await work.cancel()
            raise
        if work.trouble is not None:
            raise work.trouble

    async def probe(self) -> None:
        """Ask the URL for anything (HEAD); whatever it answers is well. Raises TryLater with the mend."""
        try:
            async with await self._http.request("HEAD", self._url):
                return
        except NOTHING_WRITTEN as error:
            raise TryLater(no_connection(self._url, error)) from error
        except NO_ANSWER as error:
            what = f"{server_of(self._url)} lets us connect and does not answer ({self._what(error)})"
            raise TryLater(f"{what}; check `url` and what stands between") from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _lane(self, work: "_Work") -> None:
        """Request after request. Of one group's lanes only one at a time waits to begin, and keeps a place for it."""
        while True:
            async with work.turn:
                messages = next(work.parts, ())
                if not messages or work.stopped:
                    return
                await self._free.acquire()
                try:
                    begun = await self._begin(messages, work)
                except BaseException:
                    self._free.release()
                    work.failed = True
                    raise
            try:
                if begun:
                    await self._post(begun, work)
            finally:
                self._free.release()

    async def _begin(self, messages: Sequence[Outgoing], work: "_Work") -> Sequence[Outgoing]:
        """The messages of one request that may leave, in their order; none where the work stopped meanwhile."""
        begun: list[Outgoing] = []
        try:
            if self._collecting is None:
                await work.begin(messages, begun)
            else:
                async with self._collecting:
                    await work.begin(messages, begun)
        except BaseException:
            work.tell(begun, Later("it was not posted", tried=False))
            raise
        if begun and work.stopped:
            work.tell(begun, Later("it was not posted", tried=False))
            return ()
        return begun

    async def _post(self, messages: Sequence[Outgoing], work: "_Work") -> None:
        """Post messages that have begun, and tell what became of each."""
        ready = False
        try:
            headers, body = self._signed(messages)
            ready = True
            reply = await self._ask(headers, body)
        except NOTHING_WRITTEN as error:
            why = no_connection(self._url, error)
            work.stop(TryLater(why))
            work.tell(messages, Later(why, tried=False))
            return
        except NO_ANSWER as error:
            work.tell(messages, Doubtful(f"posted, and no answer came: {self._what(error)}"))
            return
        except Exception as error:
            work.failed = True
            why = f"{type(error).__name__} in the channel; see the log"
            work.tell(messages, Doubtful(why) if ready else Later(why))
            raise
        self._stop_after(reply, work)
        sids = [message.sid for message in messages]
        for sid, answer in zip(sids, answers(reply, sids, several=self._several, now=utc_now()), strict=True):
            work.wire.answered(sid, answer)

    def _signed(self, messages: Sequence[Outgoing]) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a request that leaves now."""
        now = utc_now()
        if self._several:
            webhook_id, body = f"b_{secrets.token_urlsafe(18)}", self._bodies.several(messages, now)
        else:
            webhook_id, body = messages[0].sid, self._bodies.single(messages[0])
        timestamp = int(now.timestamp())
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._keys, webhook_id, timestamp, body),
        }, body

    async def _ask(self, headers: Mapping[str, str], body: bytes) -> Reply:
        async with await self._http.request("POST", self._url, headers=headers, body=body) as response:
            said, whole = await read_limited(response, self._largest_answer)
            if response.ok:
                return Reply(response.status, said, whole)
            heard = response.headers
            return Reply(response.status, said, whole, heard.get("Retry-After", ""), heard.get("Date", ""))

    def _stop_after(self, reply: Reply, work: "_Work") -> None:
        """What an answer means for the messages that have not begun."""
        if reply.status in STOPS:
            mend = f"check `url` and `secret` in {self._place}, then `optirelay channels resume`"
            work.stop(NeedsOperator(f"{server_of(self._url)} answers {reply.words}; {mend}"))
        elif reply.status == _TOO_MANY and (after := reply.wait(utc_now())) is not None:
            work.stop(TryLater(f"{server_of(self._url)} asks us to wait: {reply.words}", after=after))

    def _what(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"nothing within {self._timeout_seconds:g} s"
        return type(error).__name__  # its text may hold the URL


class _Work:
    """One call of send: what is under way, and what stopped it."""

    def __init__(self, parts: Iterator[Sequence[Outgoing]], wire: Wire) -> None:
        self.parts = parts  # of each request its messages
        self.wire = wire
        self.turn = asyncio.Lock()
        self.trouble: OptirelayError | None = None
        self.failed = False  # for a reason that nobody foresaw
        self._lanes: list[asyncio.Task[None]] = []

    @property
    def stopped(self) -> bool:
        """Whether nothing further is to begin."""
        return self.trouble is not None or self.failed

    def stop(self, trouble: OptirelayError) -> None:
        """Begin nothing further. What a person must mend is told before all else, a longer wait before a shorter."""
        if _weight(trouble) > _weight(self.trouble):
            self.trouble = trouble

    async def begin(self, messages: Sequence[Outgoing], begun: list[Outgoing]) -> None:
        """Add those of the messages to `begun` that the wire lets begin; no further ones once the work stops."""
        for message in messages:
            if self.stopped:
                return
            if await self.wire.begin(message.sid):
                begun.append(message)

    def tell(self, messages: Sequence[Outgoing], answer: Answer) -> None:
        """The same answer for each."""
        for message in messages:
            self.wire.answered(message.sid, answer)

    def start(self, lane: Coroutine[None, None, None]) -> None:
        """Run a lane beside the others."""
        self._lanes.append(asyncio.create_task(lane))

    async def over(self) -> None:
        """Until no lane goes on. Raises what the first of them failed with."""
        if self._lanes:
            await asyncio.wait(self._lanes)
        for error in [lane.exception() for lane in self._lanes]:
            if error is not None:
                raise error

    async def cancel(self) -> None:
        """Cut what is under way."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)


def _weight(trouble: OptirelayError | None) -> tuple[int, float]:
    if isinstance(trouble, TryLater):
        return 1, 0.0 if trouble.after is None else trouble.after.total_seconds()
    return (0 if trouble is None else 2), 0.0


def _in_parts(messages: Sequence[Outgoing], most: int) -> Iterator[Sequence[Outgoing]]:
    for first in range(0, len(messages), most):
        yield messages[first : first + most]
