"""One tenant's triggered messages into the ledger, those of a group of notifications at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec
from psycopg import AsyncConnection

from optirelay.model import CampaignId, ChannelName, Skip, TemplateId, Triggered
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a triggered campaign on one channel."""

    id: int
    campaign_id: CampaignId
    planned_on: date
    state: str
    report_at: datetime | None
    pass_: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of a message before it is written."""

    place: int
    batch: int  # the number of the batch that it is in where it is the first of its kind
    opted_in: bool | None  # what its customer said of the channel
    suppressed: bool  # whether nobody writes to its address
    template_version: int | None  # None: the template is not ours
    open: bool  # whether anything of the channel may start


@dataclass(frozen=True, slots=True)
class NewBatch:
    """Messages of one day and one template, and how far they are when they come into the ledger."""

    id: int
    day: Day
    template_id: TemplateId | None
    template_version: int | None
    messages: Mapping[int, Triggered]  # by number
    skips: Mapping[int, Skip]
    begun: int
    started: int  # the highest number that began or was skipped; 0: none
    due_at: datetime

    @property
    def unstarted(self) -> int:
        """How many neither began nor were skipped."""
        return len(self.messages) - len(self.skips) - self.begun


class Triggers:
    """One tenant's triggered messages."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._tenant = tenant
        self._sql = Statements(connection, "triggers", {"tenant": tenant})

    async def hear(self, channel: ChannelName) -> None:
        """From here on nothing is overlooked that stops a message, and no template is pushed on the channel; nothing of
        it comes before the transaction ends."""
        await self._sql.value("hear", channel=channel)

    async def days(
        self,
        channel: ChannelName,
        wanted: Iterable[tuple[CampaignId, date]],
        *,
        report_at: Mapping[CampaignId, datetime | None],
    ) -> dict[tuple[CampaignId, date], Day]:
        """These campaigns on these days, made known where they are not; nobody closes one before the transaction ends.

        `report_at`: of each campaign id, when Optimove is told of a new day first; None: never.
        """
        keys = sorted(set(wanted))
        found = await self._days(channel, keys)
        new = [key for key in keys if key not in found]
        if not new:
            return found
        for at in set(map(report_at.__getitem__, (campaign_id for campaign_id, _ in new))):
            of_them = _columns([key for key in new if report_at[key[0]] == at])
            await self._sql.do("add_days", channel=channel, report_at=at, **of_them)
        await self._sql.do("add_passes", channel=channel, **_columns(new))
        return await self._days(channel, keys)

    async def _days(
        self, channel: ChannelName, keys: Sequence[tuple[CampaignId, date]]
    ) -> dict[tuple[CampaignId, date], Day]:
        rows = await self._sql.rows(Day, "days", channel=channel, **_columns(keys))
        return {(row.campaign_id, row.planned_on): row for row in rows}

    async def add_messages(self, messages: Mapping[int, tuple[int, Day, Triggered]]) -> frozenset[int]:
        """Write messages, by their number, each with its batch; the numbers of those that the ledger did not have."""
        columns: dict[str, list[Any]] = {name: [] for name in _MESSAGE}
        for number, (batch, day, message) in messages.items():
            to, fired = message.recipient, message.fired
            owners = (day.planned_on, number, day.id, batch, day.pass_, to.template_id, to.customer_id)
            row = (*owners, to.address, to.send_at, message.occurrence, fired.trigger, fired.action_id)
            for name, value in zip(_MESSAGE, row, strict=True):
                columns[name].append(value)
        return frozenset(await self._sql.values("add_messages", **columns))

    async def look(self, channel: ChannelName, people: Sequence[Triggered]) -> list[Looked]:
        """Of each, in their order, what has to be known before it is written."""
        return await self._sql.rows(
            Looked,
            "look",
            channel=channel,
            customers=[one.recipient.customer_id for one in people],
            addresses=[one.recipient.address for one in people],
            templates=[one.recipient.template_id for one in people],
        )

    async def add(
        self,
        channel: ChannelName,
        batches: Sequence[NewBatch],
        *,
        received: Mapping[int, Sequence[Triggered]],
        owner: str,
        lease: timedelta,
        now: datetime,
    ) -> None:
        """Write the batches of messages that are added, and count what was `received`, by pass.

        What begins is the owner's for the length of the lease.
        """
        new = dict.fromkeys(received, 0)
        for batch in batches:
            new[batch.day.pass_] += len(batch.messages)
        personal = [row for batch in batches for row in _personal(batch)]
        await self._sql.do(
            "add",
            channel=channel,
            owner=owner,
            lease=lease,
            id=[batch.id for batch in batches],
            campaign=[batch.day.id for batch in batches],
            template_id=[batch.template_id for batch in batches],
            template_version=[batch.template_version for batch in batches],
            due_at=[batch.due_at for batch in batches],
            started=[batch.started for batch in batches],
            total=[len(batch.messages) for batch in batches],
            begun=[batch.begun for batch in batches],
            skipped=[_counted(batch.skips.values()) for batch in batches],
            done=[not batch.unstarted and not batch.begun for batch in batches],
            planned_on=[row[0] for row in personal],
            message=[row[1] for row in personal],
            tags=[row[2] for row in personal],
            promo_codes=[row[3] for row in personal],
            worker=crc32(owner.encode()) & 0x7FFFFFFF,
            passes=list(received),
            received=[len(of) for of in received.values()],
            new=list(new.values()),
            unreadable=[sum(one.recipient.skip is Skip.UNREADABLE for one in of) for of in received.values()],
        )
        await self._sql.copy(
            "copy_skips",
            [
                (self._tenant, batch.day.planned_on, number, "skipped", skip.value, now)
                for batch in batches
                for number, skip in batch.skips.items()
            ],
        )


_MESSAGE = (
    *("planned_on", "id", "campaign", "batch", "pass_", "template_id"),
    *("customer_id", "address", "send_at", "occurrence", "trigger_name", "action_id"),
)


def _columns(keys: Sequence[tuple[CampaignId, date]]) -> dict[str, list[Any]]:
    return {"campaign_ids": [campaign_id for campaign_id, _ in keys], "days": [day for _, day in keys]}


def _counted(skips: Iterable[Skip]) -> str:
    counts: dict[str, int] = {}
    for skip in skips:
        counts[skip] = counts.get(skip, 0) + 1
    return msgspec.json.encode(counts).decode()


def _personal(batch: NewBatch) -> Iterator[tuple[date, int, str, str | None]]:
    """Of who is skipped for good nothing personal is kept beside the message."""
    for number, one in batch.messages.items():
        if number not in batch.skips and (one.recipient.personalization or one.fired.promo_codes):
            codes = msgspec.json.encode(one.fired.promo_codes).decode() if one.fired.promo_codes else None
            yield batch.day.planned_on, number, msgspec.json.encode(one.recipient.personalization).decode(), codes
