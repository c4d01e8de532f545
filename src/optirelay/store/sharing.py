"""What one tenant's Optimove is told of opt-ins: who is to be told, who was, and what came of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from optirelay.model import ChannelName, CustomerId, TenantId
from optirelay.store._sql import Statements

AT_ONCE = 10_000  # rows changed in one transaction: others wait for them


@dataclass(frozen=True, slots=True)
class SharedChannel:
    """A channel whose opt-ins Optimove is told of."""

    tenant: TenantId
    channel: ChannelName
    every: timedelta | None  # how often a file is written; None: told at once
    full: bool  # whether files hold everybody


@dataclass(frozen=True, slots=True)
class RouteRow:
    """How a channel's opt-ins are shared, and how far that is."""

    route: str
    waits: int  # how often it was tried in vain, one after the other
    waits_until: datetime | None
    file_at: datetime | None  # when the last file was written
    checked_to: str  # the last customer whose value was read back


class ToTell(NamedTuple):
    """A customer of whom Optimove is to be told what they said."""

    customer_id: CustomerId
    opted_in: bool


class Told(NamedTuple):
    """A customer, and what Optimove was told of them."""

    customer_id: CustomerId
    told: bool


class FileRow(NamedTuple):
    """What a customer said, and when, for a file."""

    customer_id: CustomerId
    opted_in: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call, or a file, whose customers are not confirmed yet."""

    id: int
    call: str  # the function at Optimove, or "file"
    customers: int
    state: str  # made, answered, written
    request_id: str | None
    made_at: datetime
    answered_at: datetime | None
    file: str | None


@dataclass(frozen=True, slots=True)
class CallOf:
    """The call that a result is of."""

    id: int
    channel: ChannelName
    call: str
    customers: int


class Failure(NamedTuple):
    """A customer whom Optimove did not take; with `again_at`, told again then."""

    customer_id: CustomerId
    why: str
    again_at: datetime | None


@dataclass(frozen=True, slots=True)
class SharedCounts:
    """Customers of a channel, each in one of these."""

    pending: int
    sent: int
    confirmed: int
    failed: int


@dataclass(frozen=True, slots=True)
class FailuresOf:
    """Why so many customers were not taken."""

    why: str
    customers: int


@dataclass(frozen=True, slots=True)
class SharedRow:
    """How the sharing of what one customer said of a channel stands."""

    channel: ChannelName
    why: str | None
    state: str  # pending, sent, confirmed, failed


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """An attribute that was asked for."""

    asked_at: datetime
    added: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What Optimove posted of an attribute call, raw."""

    id: int
    call: int | None
    body: bytes = field(repr=False)
    received_at: datetime


class Sharing:
    """One tenant's outbox of opt-ins: it holds the newest state alone, and what is told twice does no harm."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "sharing", {"tenant": tenant})

    async def route(self, channel: ChannelName) -> RouteRow | None:
        """How far the sharing of a channel is; None before its first time."""
        return await self._sql.row(RouteRow, "route", channel=channel)

    async def keep_route(self, channel: ChannelName, route: str) -> None:
        """From here on it is shared in this way."""
        await self._sql.do("keep_route", channel=channel, route=route)

    async def waits(self, channel: ChannelName, until: datetime) -> None:
        """It was tried in vain once more, and waits."""
        await self._sql.do("waits", channel=channel, until=until)

    async def works(self, channel: ChannelName) -> None:
        """It was not tried in vain."""
        await self._sql.do("works", channel=channel)

    async def untell(self, channel: ChannelName, after: str) -> str | None:
        """Have the next customers told anew, at most AT_ONCE; the last of them, None where there are none."""
        last: str | None = await self._sql.value("untell", channel=channel, after=after, limit=AT_ONCE)
        return last

    async def untell_failed(self, channel: ChannelName) -> None:
        """Have those tried again whom Optimove did not take."""
        await self._sql.do("untell_failed", channel=channel)

    async def open_call(self, channel: ChannelName, call: str, now: datetime, *, file: str | None = None) -> int:
        """A call that is about to be made; its number."""
        return int(await self._sql.value("open_call", channel=channel, call=call, now=now, file=file))

    async def take(
        self, channel: ChannelName, call: int, *, bulk: bool, after: str, limit: int, now: datetime
    ) -> list[ToTell]:
        """The next customers who are to be told of, by id; told by this call from here on. `bulk`: those alone that
        came with many others at once, after this one."""
        rows = await self._sql.tuples("take", channel=channel, call=call, bulk=bulk, after=after, limit=limit, now=now)
        taken = sorted(ToTell(*row) for row in rows)
        await self._sql.do("count_call", call=call, customers=len(taken))
        return taken

    async def answered(self, call: int, request_id: str | None, now: datetime) -> None:
        """Optimove took the call; what comes of it is told later."""
        await self._sql.do("answered", call=call, request_id=request_id, now=now)

    async def written(self, channel: ChannelName, call: int, now: datetime) -> None:
        """The call's files stand under their names."""
        await self._sql.do("written", call=call, now=now)
        await self._sql.do("file_written", channel=channel, now=now)

    async def file_written(self, channel: ChannelName, now: datetime) -> None:
        """There was nothing to write; the next file is due later."""
        await self._sql.do("file_written", channel=channel, now=now)

    async def close_call(self, call: int) -> None:
        """What the call told is confirmed, but for customers who failed."""
        await self._sql.do("close_call", call=call)

    async def take_back(self, channel: ChannelName, call: int, customers: Sequence[CustomerId] | None = None) -> None:
        """Whether the call arrived is not known: its customers are told again. None: whoever they are."""
        await self._sql.do(
            "take_back", channel=channel, call=call, customers=None if customers is None else list(customers)
        )

    async def fail(self, channel: ChannelName, call: int, failures: Sequence[Failure]) -> None:
        """Why customers of the call were not taken; of who has said something new since, nothing changes."""
        if failures:
            await self._sql.do(
                "fail",
                channel=channel,
                call=call,
                customers=[one.customer_id for one in failures],
                whys=Jsonb({one.customer_id: one.why for one in failures}),
                again_ats=Jsonb({one.customer_id: one.again_at.isoformat() for one in failures if one.again_at}),
            )

    async def tries(self, channel: ChannelName, customers: Sequence[CustomerId]) -> int:
        """How often these were tried in vain, at most."""
        return int(await self._sql.value("tries", channel=channel, customers=list(customers)))

    async def calls(self, channel: ChannelName) -> list[OpenCall]:
        """Those whose customers are not confirmed, oldest first."""
        return await self._sql.rows(OpenCall, "calls", channel=channel)

    async def call_of(self, call: int | None, request_id: str) -> CallOf | None:
        """The call that a result is of; None where it is not open any more, or none of ours."""
        return await self._sql.row(CallOf, "call_of", call=call, request_id=request_id)

    async def counts(self, channel: ChannelName) -> SharedCounts:
        """How many customers stand where."""
        counts = await self._sql.row(SharedCounts, "counts", channel=channel)
        assert counts is not None
        return counts

    async def failures(self, channel: ChannelName) -> list[FailuresOf]:
        """Why customers were not taken, the most frequent first."""
        return await self._sql.rows(FailuresOf, "failures", channel=channel)

    async def failed_customers(self, channel: ChannelName, limit: int) -> list[Failure]:
        """Customers who were not taken, by id."""
        return [Failure(*row) for row in await self._sql.tuples("failed_customers", channel=channel, limit=limit)]

    async def shared(self, customer_id: CustomerId) -> list[SharedRow]:
        """How the sharing of what a customer said stands, channel by channel."""
        return await self._sql.rows(SharedRow, "shared", customer_id=customer_id)

    async def told_by(self, channel: ChannelName, call: int, limit: int) -> list[Told]:
        """Some customers whom the call told."""
        return [Told(*row) for row in await self._sql.tuples("told_by", channel=channel, call=call, limit=limit)]

    async def confirmed_after(self, channel: ChannelName, after: str, limit: int) -> list[Told]:
        """The next customers of whom Optimove confirmed what they said."""
        return [
            Told(*row) for row in await self._sql.tuples("confirmed_after", channel=channel, after=after, limit=limit)
        ]

    async def checked_to(self, channel: ChannelName, customer_id: str) -> None:
        """Up to this customer values were read back; empty: it begins anew."""
        await self._sql.do("checked_to", channel=channel, customer_id=customer_id)

    async def drifted(self, channel: ChannelName, customers: Sequence[CustomerId]) -> None:
        """Of these Optimove has something else than it was told: they are told again."""
        await self._sql.do("drifted", channel=channel, customers=list(customers))

    async def file_rows(self, channel: ChannelName, call: int | None) -> AsyncIterator[FileRow]:
        """What customers of a call said, or all of them, streamed by customer id; inside a transaction."""
        async for row in self._sql.stream(FileRow, "file_rows", channel=channel, call=call):
            yield row

    async def attribute(self, name: str) -> AttributeRow | None:
        """Whether an attribute was asked for, and added."""
        return await self._sql.row(AttributeRow, "attribute", name=name)

    async def ask_attribute(self, name: str, now: datetime) -> None:
        """It is asked for."""
        await self._sql.do("ask_attribute", name=name, now=now)

    async def attribute_added(self, name: str) -> None:
        """Optimove has it."""
        await self._sql.do("attribute_added", name=name)

    async def forget_attribute(self, name: str) -> None:
        """Optimove does not have it: it is asked for anew."""
        await self._sql.do("forget_attribute", name=name)

    async def results(self, limit: int) -> list[Result]:
        """What Optimove posted and nobody has read, oldest first, locked until the transaction ends."""
        return await self._sql.rows(Result, "results", limit=limit)

    async def settle_results(self, ids: Sequence[int], *, readable: bool = True) -> None:
        """They are read; what is not readable is kept as set aside."""
        if ids:
            await self._sql.do("settle_results", ids=list(ids), state="done" if readable else "set_aside")
