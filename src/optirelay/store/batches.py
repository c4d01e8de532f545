"""One tenant's batches: taken under a lease, started group by group, settled outcome by outcome."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from psycopg import AsyncConnection, errors

from optirelay.model import (
    Accepted,
    ChannelName,
    Doubtful,
    Fired,
    Message,
    Refused,
    Skip,
)
from optirelay.store._sql import Statements
from optirelay.store.batch_shapes import Again, Attempt, LockedBatch, TakenBatch, Undecided
from optirelay.store.sids import sid_of

__all__ = ["Again", "Attempt", "Batches", "LockedBatch", "Settled", "TakenBatch", "Undecided"]

Settled = Accepted | Refused | Doubtful | Skip
"""What ends a message."""


FEW = 100  # outcomes; more are copied
_OUTCOME_TYPES = ("int4", "date", "int8", "text", "text", "text", "timestamptz", "text")
_TAGS = msgspec.json.Decoder(dict[str, str]).decode


class Batches:
    """One tenant's batches."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._connection = connection
        self._tenant = tenant
        self._sql = Statements(connection, "batches", {"tenant": tenant})

    async def take(
        self, channel: ChannelName, *, owner: str, lease: timedelta, now: datetime, triggered: bool = False
    ) -> TakenBatch | None:
        """The channel's next due batch of this kind, now the caller's for the length of the lease; None where nothing
        is due."""
        return await self._sql.row(
            TakenBatch, "take_batch", channel=channel, triggered=triggered, owner=owner, lease=lease, now=now
        )

    async def merge_waiting(self, channel: ChannelName, now: datetime) -> int:
        """Due triggered messages of one day and template, of which nothing has begun, become one batch of at most
        1,000; how many batches it replaces."""
        return await self._sql.count("merge_waiting", channel=channel, now=now)

    async def numbers(self, count: int) -> list[int]:
        """Numbers for so many new batches."""
        return await self._sql.values("batch_numbers", count=count)

    async def lock(self, batch: int) -> LockedBatch | None:
        """Lock a batch, whoever's it is."""
        locked = await self._sql.row(LockedBatch, "lock_batch", batch=batch)
        if locked is not None and locked.added_up:
            await self._sql.do("take_back", batch=batch)
        return locked

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
            begun_at=batch.begun_at,
        )

    async def free(self, batch: int, fence: int, due_at: datetime | None) -> None:
        """Give a batch back, due at its next message."""
        await self._sql.do("free_batch", batch=batch, fence=fence, due_at=due_at)

    async def next_messages(self, batch: LockedBatch, limit: int) -> list[Message]:
        """The next messages that did not start and have no outcome, by send time, each with what its customer said.

        An opt-out that is not committed yet waits for the end of the transaction.
        """
        await self._sql.value("hear_opt_outs")
        rows = await self._sql.tuples(
            "next_messages",
            batch=batch.id,
            planned_on=batch.planned_on,
            channel=batch.channel,
            started=batch.started,
            limit=limit,
        )
        sid = partial(sid_of, self._tenant, batch.planned_on)
        fired = await self._fired(batch, [row[0] for row in rows]) if batch.triggered else {}
        return [
            Message(
                *(number, sid(number), customer_id, address or "", send_at, _TAGS(tags), opted_in, suppressed),
                fired.get(number),
            )
            for number, customer_id, address, send_at, tags, opted_in, suppressed in rows
        ]

    async def _fired(self, batch: LockedBatch, messages: Sequence[int]) -> dict[int, Fired]:
        rows = await self._sql.tuples("fired", batch=batch.id, planned_on=batch.planned_on, messages=list(messages))
        return {number: Fired(name, action_id, tuple(codes or ())) for number, name, action_id, codes in rows}

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

    async def settle(
        self, batch: LockedBatch, outcomes: Mapping[int, Settled], at: datetime, *, worker: str | None = None
    ) -> None:
        """Append outcomes and count them. An outcome that is there stays, but for one in doubt, which a later answer
        settles; where the batch was told already, that is kept for the next report.

        `worker`: who had those in doubt in hand, and may still know more. All messages must be the batch's.
        """
        rows = [
            (self._tenant, batch.planned_on, message, *_columns(ended), at, _doubted(ended, worker))
            for message, ended in outcomes.items()
        ]
        if not rows:
            return
        new = await self._add_outcomes(batch, rows, at) if len(rows) <= FEW else await self._copy_outcomes(rows)
        for (state, reason), count in Counter((row[3], row[4]) for row in new).items():
            batch.count(state, reason, count)
        batch.begun += sum(row[2] > batch.started and row[3] != "skipped" for row in new)
        if len(new) < len(rows):
            added = {row[2] for row in new}
            await self._merge(batch, [row for row in rows if row[2] not in added])

    async def _copy_outcomes(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """All of them, or, where one is there already, none."""
        try:
            async with self._connection.transaction():
                await self._sql.copy("copy_outcomes", rows, _OUTCOME_TYPES)
        except errors.UniqueViolation:
            return []
        return rows

    async def _add_outcomes(
        self, batch: LockedBatch, rows: list[tuple[Any, ...]], at: datetime
    ) -> list[tuple[Any, ...]]:
        """Those that are not there already: one statement instead of five."""
        outcomes = [
            {"message": message, "state": state, "reason": reason, "provider_id": provider_id, "worker": worker}
            for _, _, message, state, reason, provider_id, _, worker in rows
        ]
        encoded = msgspec.json.encode(outcomes).decode()
        added = await self._sql.values("add_outcomes", planned_on=batch.planned_on, outcomes=encoded, at=at)
        return rows if len(added) == len(rows) else [row for row in rows if row[2] in set(added)]

    async def _merge(self, batch: LockedBatch, rows: list[tuple[Any, ...]]) -> None:
        await self._sql.do("incoming_outcomes")
        await self._sql.copy("copy_incoming_outcomes", rows, _OUTCOME_TYPES)
        merged = await self._sql.rows(_Merged, "merge_outcomes", batch=batch.id)
        for written in merged:
            batch.count(written.state, written.reason)
            if written.was_in_doubt:
                batch.in_doubt -= 1
            else:
                batch.begun += written.message > batch.started and written.state != "skipped"
        if batch.told is not None:
            for state, kind in (("accepted", "sent"), ("refused", "dropped")):
                messages = [written.message for written in merged if written.was_in_doubt and written.state == state]
                await self._keep_events(batch, messages, kind, told=None)

    async def _keep_events(self, batch: LockedBatch, messages: Sequence[int], kind: str, *, told: int | None) -> None:
        if messages:
            await self._sql.do(
                "keep_events",
                planned_on=batch.planned_on,
                campaign=batch.campaign,
                messages=list(messages),
                kind=kind,
                told=told,
            )

    async def undecided(self, batch: LockedBatch) -> list[Undecided]:
        """Its messages that have an outcome, and had none or were in doubt when an event of them came."""
        return await self._sql.rows(Undecided, "undecided", batch=batch.id, planned_on=batch.planned_on)

    async def decide(self, batch: LockedBatch, decided: Mapping[Undecided, Accepted | Refused], at: datetime) -> None:
        """What was in doubt, or refused without a word of the provider, becomes what events tell. Of what `undecided`
        said since the batch was locked."""
        for state, reason in {_columns(ended)[:2] for ended in decided.values()}:
            rows = [row for row, ended in decided.items() if _columns(ended)[:2] == (state, reason)]
            messages = [row.message for row in rows]
            await self._sql.do(
                "decide", planned_on=batch.planned_on, messages=messages, state=state, reason=reason, at=at
            )
            batch.count(state, reason, len(rows))
            for row in rows:
                if row.state == "in_doubt":
                    batch.in_doubt -= 1
                else:
                    batch.uncount_refusal(row.reason or "")
            if state == "accepted":
                await self._keep_accepted(batch, rows)

    async def _keep_accepted(self, batch: LockedBatch, messages: Sequence[Undecided]) -> None:
        """What Optimove is to hear of messages that an event makes accepted: who was refused before was told so, if any
        of the batch was."""
        if batch.told is not None:
            await self._keep_events(batch, [row.message for row in messages], "sent", told=None)
        dropped = [row.message for row in messages if row.dropped and row.state == "refused"]
        await self._keep_events(batch, dropped, "dropped", told=batch.told)

    async def compared(self, batch: LockedBatch, messages: Sequence[int]) -> None:
        """The outcomes of these messages go with their events."""
        await self._sql.do("compared", planned_on=batch.planned_on, messages=list(messages))

    async def undo_doubts(self, batch: LockedBatch, messages: Sequence[int], worker: str | None = None) -> list[int]:
        """Of these messages of the batch, those in doubt are open again; with `worker`, only those that it had in
        hand. They have to be moved, in the same transaction."""
        undone = await self._sql.values(
            "undo_doubts", planned_on=batch.planned_on, batch=batch.id, messages=list(messages), worker=worker
        )
        batch.in_doubt -= len(undone)
        return undone

    async def disown_doubts(self, batch: LockedBatch, messages: Sequence[int], worker: str) -> None:
        """The worker that had these in hand has said all that it knows: its journal need not be asked any more."""
        await self._sql.do(
            "disown_doubts", planned_on=batch.planned_on, batch=batch.id, messages=list(messages), worker=worker
        )

    async def doubts_in(
        self, batch: LockedBatch, messages: Sequence[int], *, addressed: bool = False
    ) -> dict[int, datetime]:
        """Of these messages those that the batch has and that are in doubt, with their send time; `addressed`: only
        those whose address is still known."""
        named = {"planned_on": batch.planned_on, "batch": batch.id, "messages": list(messages)}
        rows = await self._sql.rows(_Doubt, "doubts_in", **named, addressed=addressed)
        return {row.message: row.send_at for row in rows}

    async def undo_refusals(self, batch: LockedBatch, *, sent_after: datetime) -> list[int]:
        """What was refused, by the provider or by us, with a later send time is open again; but not what was given up,
        which may have arrived. They have to be moved, in the same transaction."""
        undone = await self._sql.rows(
            _Undone, "undo_refusals", planned_on=batch.planned_on, batch=batch.id, sent_after=sent_after
        )
        for row in undone:
            batch.uncount_refusal(row.reason)
        messages = [row.message for row in undone]
        if batch.told is not None:  # so that nobody is told again
            await self._keep_events(batch, messages, "dropped", told=batch.told)
        return messages

    async def keep_attempts(self, batch: LockedBatch, attempts: Iterable[Attempt]) -> None:
        """Remember tries that did not end in acceptance."""
        await self._sql.copy(
            "copy_attempts", [(self._tenant, batch.planned_on, a.message, a.at, a.outcome, a.detail) for a in attempts]
        )

    async def move(self, batch: LockedBatch, messages: Sequence[int], again: Again) -> bool:
        """Put started messages that have no outcome into a new batch, to go again. False where there are none."""
        here = await self._sql.values(
            "still_here", batch=batch.id, planned_on=batch.planned_on, messages=list(messages)
        )
        if not here:
            return False
        new_batch = await self._sql.value(
            "new_batch",
            batch=batch.id,
            due_at=again.due_at,
            tries=again.tries,
            first_tried_at=again.first_tried_at,
            repeats=again.repeats,
            newest=again.newest,
            total=len(here),
        )
        await self._sql.do("move_messages", planned_on=batch.planned_on, messages=here, new_batch=new_batch)
        batch.total -= len(here)
        batch.begun -= len(here)
        return True

    async def batches_of(self, planned_on: date, messages: Iterable[int]) -> dict[int, list[int]]:
        """The batches that these messages are in by now, with those of each."""
        rows = await self._sql.rows(_Place, "batches_of", planned_on=planned_on, messages=list(messages))
        return _by_batch(rows)

    async def open_of_worker(self, worker: str) -> list[int]:
        """The batches that a worker has."""
        return await self._sql.values("open_of_worker", worker=worker)

    async def doubts_of_worker(self, worker: str) -> dict[int, list[int]]:
        """What a worker had in hand and is in doubt, by batch."""
        return _by_batch(await self._sql.rows(_Place, "doubts_of_worker", worker=worker))

    async def with_refusals(self, campaign: int) -> list[int]:
        """A campaign's batches with refusals that can be tried again."""
        return await self._sql.values("refused_batches", campaign=campaign)

    async def next_due(self, channel: ChannelName, *, lease: timedelta, triggered: bool) -> datetime | None:
        """When the next batch of this kind that nobody has is due."""
        due: datetime | None = await self._sql.value("next_due", channel=channel, lease=lease, triggered=triggered)
        return due

    async def open_of(self, campaign: int) -> list[int]:
        """A campaign's batches that are not done."""
        return await self._sql.values("open_batches", campaign=campaign)

    async def wake_senders(self) -> None:
        """At the commit, workers look for due batches at once."""
        await self._sql.do("wake_senders")


@dataclass(frozen=True, slots=True)
class _Merged:
    message: int
    state: str
    reason: str | None
    was_in_doubt: bool


@dataclass(frozen=True, slots=True)
class _Undone:
    message: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Doubt:
    message: int
    send_at: datetime


@dataclass(frozen=True, slots=True)
class _Place:
    batch: int
    message: int


def _by_batch(rows: Iterable[_Place]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.batch, []).append(row.message)
    return found


def _doubted(ended: Settled, worker: str | None) -> str | None:
    return worker if isinstance(ended, Doubtful) else None


def _columns(ended: Settled) -> tuple[str, str | None, str | None]:
    """State, reason and provider id of an outcome."""
    if isinstance(ended, Accepted):  # first, and quickly: it is nearly all of them
        return "accepted", None, ended.provider_id
    match ended:
        case Refused(reason):
            return "refused", reason.value, None
        case Doubtful():
            return "in_doubt", None, None
        case Skip():
            return "skipped", ended.value, None


def _json(counts: Mapping[str, int]) -> str:
    return msgspec.json.encode(counts).decode()
