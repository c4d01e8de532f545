"""One page of one tenant's recipients into the ledger, all of it or nothing, however often it is told."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection, errors

from optirelay.model import MESSAGES_PER_BATCH, PlannedBatch, Recipient, Skip, TemplateId
from optirelay.store._sql import Statements
from optirelay.store.batches import Batches
from optirelay.store.campaigns import Reading
from optirelay.store.forgetting import ErasedPerson, Forgetting
from optirelay.store.templates import Templates

_MESSAGE_TYPES = (
    *("int4", "date", "int8", "int8", "int8", "int8"),
    *("int4", "text", "text", "timestamptz", "bytea", "int4"),
)
_PERSONALIZATION_TYPES = ("int4", "date", "int8", "bytea")  # the tags are jsonb, in PostgreSQL's own form
_JSONB = b"\x01"  # its version, before the JSON
_OUTCOME_TYPES = ("int4", "date", "int8", "text", "text", "timestamptz")
_ROWS_OF_NOBODY = (Skip.UNREADABLE, Skip.NO_CUSTOMER)
_INCOMING_TYPES = ("int4", "text", "int4", "bytea")


@dataclass(frozen=True, slots=True)
class PageAdded:
    """What a page changed."""

    new: int
    held_templates: frozenset[TemplateId]  # templates of new messages that are not ours yet


@dataclass(frozen=True, slots=True)
class Known:
    """How one row of a page stands to what the ledger has."""

    place: int
    same: bool  # the same message is there
    same_pass: bool  # and this pass put it there
    earlier: bool  # an earlier pass has a message for this customer


@dataclass(frozen=True, slots=True)
class SoFar:
    """What a reading brought."""

    same: int  # pages of it that were the very same answer
    received: int  # rows of it
    handed_over: int  # different messages of the campaign, of every pass


class Pages:
    """One tenant's pages of recipients."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._connection = connection
        self._tenant = tenant
        self._sql = Statements(connection, "pages", {"tenant": tenant})

    async def known(self, reading: Reading, skip: int) -> bool:
        """Whether this page is in the ledger already."""
        return bool(
            await self._sql.value("has_page", pass_=reading.pass_, reading=reading.reading, skip=skip),
        )

    async def so_far(self, reading: Reading, digest: bytes) -> SoFar:
        """What the reading brought until now, beside a page whose answer has this digest."""
        so_far = await self._sql.row(
            SoFar,
            "so_far",
            pass_=reading.pass_,
            reading=reading.reading,
            campaign=reading.campaign,
            digest=digest,
        )
        assert so_far is not None
        return so_far

    async def add(
        self,
        reading: Reading,
        skip: int,
        batches: Sequence[PlannedBatch],
        *,
        received: int,
        digest: bytes,
        expire_after: timedelta,
        now: datetime,
        between: Callable[[], Awaitable[None]],
    ) -> PageAdded:
        """Write a page's recipients as messages in batches, and count it.

        `batches` holds each distinct message of the page once; `received` counts its rows, `digest` is that of the
        answer. The reading must be locked and the page not known. Messages that the ledger has, and customers that an
        earlier pass had, are left out. `between` is awaited between two batches: a page has thousands of rows.
        """
        adding = _Adding(reading, expire_after, now, between)
        batches = await self._without_erased(reading, batches)
        known, held = await self._write_new(adding, batches)
        distinct = sum(len(batch.recipients) for batch in batches)
        new = distinct - len(known)
        await self._sql.do(
            "add_page",
            pass_=reading.pass_,
            reading=reading.reading,
            skip=skip,
            received=received,
            digest=digest,
            new=new,
            known=received - new,
            changed=sum(row.earlier and not row.same for row in known),
            repeated=received - distinct + sum(row.same_pass for row in known),
            unreadable=sum(r.skip in _ROWS_OF_NOBODY for batch in batches for r in batch.recipients),
        )
        return PageAdded(new, held)

    async def _without_erased(self, reading: Reading, batches: Sequence[PlannedBatch]) -> Sequence[PlannedBatch]:
        """Of who was erased nothing is kept but that there was a row of them, which is skipped."""
        forgetting = Forgetting(self._connection, self._tenant)
        if not await forgetting.has_erased():
            return batches
        people = {r.customer_id: r.address for batch in batches for r in batch.recipients}
        erased = await forgetting.erased_of(reading.channel, people, [reading.campaign])
        if not erased:
            return batches
        return [
            replace(batch, recipients=tuple(_as_erased(r, erased.get(r.customer_id)) for r in batch.recipients))
            for batch in batches
        ]

    async def _write_new(
        self, adding: "_Adding", batches: Sequence[PlannedBatch]
    ) -> tuple[list[Known], frozenset[TemplateId]]:
        """In a first reading all rows should be new: they are written at once, and only looked up where one is not."""
        if adding.reading.number == 1 and adding.reading.reading == 1:
            try:
                async with self._connection.transaction():
                    return [], await self._write(adding, batches)
            except errors.UniqueViolation:
                pass
        known = await self._known_rows(adding.reading, batches)
        return known, await self._write(adding, _without(batches, known))

    async def _known_rows(self, reading: Reading, batches: Sequence[PlannedBatch]) -> list[Known]:
        await self._sql.do("incoming")
        rows = [
            (place, r.customer_id, r.template_id, r.occurrence)
            for place, r in enumerate(r for batch in batches for r in batch.recipients)
        ]
        await self._sql.copy("copy_incoming", rows, _INCOMING_TYPES)
        return await self._sql.rows(
            Known, "known_rows", pass_=reading.pass_, planned_on=reading.planned_on, campaign=reading.campaign
        )

    async def _write(self, adding: "_Adding", batches: Sequence[PlannedBatch]) -> frozenset[TemplateId]:
        if not batches:
            return frozenset()
        reading = adding.reading
        wanted = {b.template_id for b in batches if b.template_id is not None}
        templates = Templates(self._connection, self._tenant)
        await templates.share(reading.channel)
        versions = await templates.versions(reading.channel, wanted)
        numbers = await Batches(self._connection, self._tenant).numbers(len(batches))
        rows = _Rows(adding.now)
        held = set()
        for number, batch in zip(numbers, batches, strict=True):
            version = None if batch.template_id is None else versions.get(batch.template_id)
            waits = _first_send_at(batch)
            if version is None and waits is not None and batch.template_id is not None:
                held.add(batch.template_id)
                waits += adding.expire_after
            rows.add(self._tenant, reading, number, batch, version, waits)
            await adding.between()
        await self._sql.copy("copy_batches", rows.batches)
        await self._sql.copy("copy_messages", rows.messages, _MESSAGE_TYPES)
        await self._sql.copy("copy_personalization", rows.personalization, _PERSONALIZATION_TYPES)
        await self._sql.copy("copy_outcomes", rows.outcomes, _OUTCOME_TYPES)
        return frozenset(held)


@dataclass(frozen=True, slots=True)
class _Adding:
    """How a page is added."""

    reading: Reading
    expire_after: timedelta
    now: datetime
    between: Callable[[], Awaitable[None]]


class _Rows:
    """A page's rows, table by table."""

    def __init__(self, now: datetime) -> None:
        self.batches: list[tuple[Any, ...]] = []
        self.messages: list[tuple[Any, ...]] = []
        self.personalization: list[tuple[Any, ...]] = []
        self.outcomes: list[tuple[Any, ...]] = []
        self._now = now

    def add(
        self,
        tenant: int,
        reading: Reading,
        number: int,
        batch: PlannedBatch,
        version: int | None,
        due_at: datetime | None,
    ) -> None:
        """Rows of one batch; a recipient that is skipped already comes with its outcome."""
        skipped: dict[str, int] = {}
        for place, recipient in enumerate(batch.recipients):
            self._add_message(tenant, reading, number, number * MESSAGES_PER_BATCH + place, recipient)
            if recipient.skip is not None:
                skipped[recipient.skip] = skipped.get(recipient.skip, 0) + 1
        total = len(batch.recipients)
        done_at = self._now if sum(skipped.values()) == total else None
        due = due_at or self._now
        counts = msgspec.json.encode(skipped).decode()
        named = (tenant, number, reading.campaign, reading.channel, batch.template_id, version)
        self.batches.append((*named, due, total, counts, done_at))

    def _add_message(self, tenant: int, reading: Reading, batch: int, id_: int, r: Recipient) -> None:
        key = (tenant, reading.planned_on, id_)
        owners = (reading.campaign, batch, reading.pass_, r.template_id)
        self.messages.append((*key, *owners, r.customer_id, r.address, r.send_at, r.occurrence, r.group))
        if r.skip is not None:
            self.outcomes.append((*key, "skipped", r.skip.value, self._now))
        elif r.personalization:
            self.personalization.append((*key, _JSONB + msgspec.json.encode(r.personalization)))


def _as_erased(recipient: Recipient, person: ErasedPerson | None) -> Recipient:
    if person is None:
        return recipient
    whose = (person.customer_id, recipient.template_id, recipient.send_at)
    return Recipient(*whose, skip=person.skip, group=recipient.group)


def _first_send_at(batch: PlannedBatch) -> datetime | None:
    return next((r.send_at for r in batch.recipients if r.skip is None), None)


def _without(batches: Sequence[PlannedBatch], known: Sequence[Known]) -> list[PlannedBatch]:
    """The batches without the rows that are known; an empty one goes."""
    places = {row.place for row in known}
    left = []
    place = 0
    for batch in batches:
        new: list[Recipient] = []
        for recipient in batch.recipients:
            if place not in places:
                new.append(recipient)
            place += 1
        if new:
            left.append(replace(batch, recipients=tuple(new)))
    return left
