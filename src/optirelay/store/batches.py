"""One tenant's batches: taken under a lease, started group by group, settled outcome by outcome."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection, errors

from optirelay.model import (
    Accepted,
    CampaignId,
    ChannelName,
    CustomerId,
    Doubtful,
    Message,
    Refused,
    Skip,
    TemplateId,
)
from optirelay.store._sql import Statements
from optirelay.store.sids import sid_of

Settled = Accepted | Refused | Doubtful | Skip
"""What ends a message."""


@dataclass(frozen=True, slots=True)
class TakenBatch:
    """A batch in the hands of one worker, until its lease lapses."""

    id: int
    campaign: int
    campaign_id: CampaignId
    planned_on: date
    template_id: TemplateId
    template_version: int | None
    started: int
    fence: int
    tries: int
    first_tried_at: datetime | None
    lapsed: bool  # it was taken from a worker that went silent


@dataclass(slots=True)
class LockedBatch:
    """A batch and its counters, locked until the transaction ends. Change the counters here, then `write` it."""

    id: int
    campaign: int
    campaign_id: CampaignId
    started: int
    tries: int
    first_tried_at: datetime | None
    template_id: TemplateId
    template_version: int | None
    channel: ChannelName
    planned_on: date
    total: int
    begun: int
    accepted: int
    in_doubt: int
    skipped: dict[str, int]
    refused: dict[str, int]
    fence: int
    done: bool
    campaign_state: str
    waiting: bool

    @property
    def settled(self) -> bool:
        """Whether every message of it has an outcome."""
        return self.total == self.accepted + self.in_doubt + sum(self.skipped.values()) + sum(self.refused.values())

    def count(self, state: str, reason: str | None) -> None:
        """One more message ended so."""
        if state == "accepted":
            self.accepted += 1
        elif state == "in_doubt":
            self.in_doubt += 1
        else:
            reasons = self.skipped if state == "skipped" else self.refused
            reasons[reason or ""] = reasons.get(reason or "", 0) + 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that did not end in acceptance."""

    message: int
    at: datetime
    outcome: str
    detail: str = field(repr=False)


class Batches:
    """One tenant's batches."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._connection = connection
        self._tenant = tenant
        self._sql = Statements(connection, "batches", {"tenant": tenant})

    async def take(self, channel: ChannelName, *, owner: str, lease: timedelta, now: datetime) -> TakenBatch | None:
        """The channel's next due batch, now the caller's for the length of the lease; None where nothing is due."""
        return await self._sql.row(TakenBatch, "take_batch", channel=channel, owner=owner, lease=lease, now=now)

    async def lock(self, batch: int) -> LockedBatch | None:
        """Lock a batch, whoever's it is."""
        return await self._sql.row(LockedBatch, "lock_batch", batch=batch)

    async def write(self, batch: LockedBatch) -> None:
        """Write the counters of a locked batch; it is done once every message of it has an outcome."""
        batch.done = batch.settled
        await self._sql.do(
            "write_batch",
            batch=batch.id,
            started=batch.started,
            total=batch.total,
            begun=batch.begun,
            accepted=batch.accepted,
            in_doubt=batch.in_doubt,
            skipped=_json(batch.skipped),
            refused=_json(batch.refused),
            done=batch.done,
        )

    async def free(self, batch: int, fence: int, due_at: datetime | None) -> None:
        """Give a batch back, due at its next message."""
        await self._sql.do("free_batch", batch=batch, fence=fence, due_at=due_at)

    async def next_messages(self, batch: LockedBatch, limit: int) -> list[Message]:
        """The next messages that did not start and have no outcome, by send time."""
        rows = await self._sql.rows(
            _MessageRow,
            "next_messages",
            batch=batch.id,
            planned_on=batch.planned_on,
            started=batch.started,
            limit=limit,
        )
        return [
            Message(
                row.id,
                sid_of(self._tenant, batch.planned_on, row.id),
                row.customer_id,
                row.address,
                row.send_at,
                row.tags,
            )
            for row in rows
        ]

    async def open_messages(self, batch: LockedBatch) -> list[int]:
        """What was started and has no outcome."""
        return await self._sql.values(
            "open_messages", batch=batch.id, planned_on=batch.planned_on, started=batch.started
        )

    async def unstarted_messages(self, batch: LockedBatch) -> list[int]:
        """What was not started and has no outcome."""
        return await self._sql.values(
            "unstarted_messages", batch=batch.id, planned_on=batch.planned_on, started=batch.started
        )

    async def settle(self, batch: LockedBatch, outcomes: Mapping[int, Settled], at: datetime) -> None:
        """Append outcomes and count them. An outcome that is there stays, but for one in doubt, which a later answer
        settles."""
        rows = [(self._tenant, batch.planned_on, message, *_columns(ended), at) for message, ended in outcomes.items()]
        if not rows:
            return
        try:
            async with self._connection.transaction():
                await self._sql.copy("copy_outcomes", rows)
        except errors.UniqueViolation:
            await self._merge(batch, rows)
            return
        for _, _, _, state, reason, *_ in rows:
            batch.count(state, reason)

    async def _merge(self, batch: LockedBatch, rows: list[tuple[Any, ...]]) -> None:
        await self._sql.do("incoming_outcomes")
        await self._sql.copy("copy_incoming_outcomes", rows)
        for written in await self._sql.rows(_Merged, "merge_outcomes", batch=batch.id):
            batch.in_doubt -= written.was_in_doubt
            batch.count(written.state, written.reason)

    async def keep_attempts(self, batch: LockedBatch, attempts: Iterable[Attempt]) -> None:
        """Remember tries that did not end in acceptance."""
        await self._sql.copy(
            "copy_attempts", [(self._tenant, batch.planned_on, a.message, a.at, a.outcome, a.detail) for a in attempts]
        )

    async def move(
        self,
        batch: LockedBatch,
        messages: Sequence[int],
        *,
        due_at: datetime,
        tries: int,
        first_tried_at: datetime | None,
    ) -> None:
        """Put started messages that have no outcome into a new batch, to go again."""
        here = await self._sql.values(
            "still_here", batch=batch.id, planned_on=batch.planned_on, messages=list(messages)
        )
        if not here:
            return
        new_batch = await self._sql.value(
            "new_batch", batch=batch.id, due_at=due_at, tries=tries, first_tried_at=first_tried_at, total=len(here)
        )
        await self._sql.do("move_messages", planned_on=batch.planned_on, messages=here, new_batch=new_batch)
        batch.total -= len(here)
        batch.begun -= len(here)

    async def reserve_slots(self, channel: ChannelName, count: int, interval: timedelta) -> timedelta:
        """Reserve the channel's next `count` slots, `interval` apart; how long until the first."""
        wait = await self._sql.value("slots", channel=channel, count=count, interval=interval)
        return max(timedelta(0), timedelta(seconds=wait))

    async def slot_wait(self, channel: ChannelName) -> timedelta:
        """How long until the channel's next free slot."""
        return timedelta(seconds=await self._sql.value("slot_wait", channel=channel) or 0)

    async def next_due(self, channel: ChannelName) -> datetime | None:
        """When the next batch that nobody has is due."""
        due: datetime | None = await self._sql.value("next_due", channel=channel)
        return due

    async def open_of(self, campaign: int) -> list[int]:
        """A campaign's batches that are not done."""
        return await self._sql.values("open_batches", campaign=campaign)

    async def channel_waits(self, channel: ChannelName, pause: timedelta) -> None:
        """No batch of the channel is taken for a while, by any worker; each time counts, once for all workers."""
        await self._sql.do("channel_waits", channel=channel, pause=pause)

    async def waits(self, channel: ChannelName) -> tuple[int, datetime | None]:
        """How often in a row the channel has waited, and until when it waits now."""
        row = await self._sql.row(_Waits, "waits", channel=channel)
        return (row.waits, row.waits_until) if row else (0, None)

    async def channel_works(self, channel: ChannelName) -> bool:
        """Its provider was reached. True where the channel had waited before."""
        return await self._sql.do("channel_works", channel=channel) > 0

    async def wake_senders(self) -> None:
        """At the commit, workers look for due batches at once."""
        await self._sql.do("wake_senders")


@dataclass(frozen=True, slots=True)
class _MessageRow:
    id: int
    customer_id: CustomerId
    address: str
    send_at: datetime
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Merged:
    message: int
    state: str
    reason: str | None
    was_in_doubt: bool


@dataclass(frozen=True, slots=True)
class _Waits:
    waits: int
    waits_until: datetime | None


def _columns(ended: Settled) -> tuple[str, str | None, str | None]:
    """State, reason and provider id of an outcome."""
    match ended:
        case Accepted(provider_id):
            return "accepted", None, provider_id
        case Refused(reason):
            return "refused", reason.value, None
        case Doubtful():
            return "in_doubt", None, None
        case Skip():
            return "skipped", ended.value, None


def _json(counts: Mapping[str, int]) -> str:
    return msgspec.json.encode(counts).decode()
