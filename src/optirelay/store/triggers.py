"""One tenant's triggered messages into the ledger, those of a group of notifications at once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection

from optirelay.model import CampaignId, ChannelName, CustomerId, Skip, TemplateId, Triggered
from optirelay.store._sql import Asked, Statements


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
    erased: CustomerId | None  # its customer was erased: what stands for their id
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
        self._sql = Statements(connection, "triggers", {"tenant": tenant})

    async def look(
        self, channel: ChannelName, people: Sequence[Triggered]
    ) -> tuple[list[Looked], dict[tuple[CampaignId, date], Day]]:
        """Of each, in their order, what has to be known before it is written; and those of their campaigns' days that
        there are, which nobody closes before the transaction ends.

        From here on nothing is overlooked that stops a message, and no template is pushed on the channel; nothing of
        it comes before the transaction ends.
        """
        rows = [
            {
                "place": place,
                "customer_id": one.recipient.customer_id,
                "address": one.recipient.address,
                "template_id": one.recipient.template_id,
            }
            for place, one in enumerate(people)
        ]
        keys = sorted({(one.campaign_id, one.day) for one in people})
        _, days, looked = await self._sql.together(
            Asked("hear", {"channel": channel}),
            Asked("days", {"channel": channel, **_columns(keys)}, Day),
            Asked("look", {"channel": channel, "people": _json(rows)}, Looked),
        )
        return looked, _by_key(days)

    async def add_days(
        self,
        channel: ChannelName,
        new: Sequence[tuple[CampaignId, date]],
        *,
        report_at: Mapping[CampaignId, datetime | None],
    ) -> dict[tuple[CampaignId, date], Day]:
        """These campaigns on these days, made known; nobody closes one before the transaction ends.

        `report_at`: of each campaign id, when Optimove is told of a new day first; None: never.
        """
        for at in set(map(report_at.__getitem__, (campaign_id for campaign_id, _ in new))):
            of_them = _columns([key for key in new if report_at[key[0]] == at])
            await self._sql.do("add_days", channel=channel, report_at=at, **of_them)
        await self._sql.do("add_passes", channel=channel, **_columns(new))
        return _by_key(await self._sql.rows(Day, "days", channel=channel, **_columns(new)))

    async def add_messages(self, messages: Mapping[int, tuple[int, Day, Triggered]]) -> frozenset[int]:
        """Write messages, by their number, each with its batch; the numbers of those that the ledger did not have."""
        rows = [
            {
                "planned_on": day.planned_on,
                "id": number,
                "campaign": day.id,
                "batch": batch,
                "pass": day.pass_,
                "template_id": one.recipient.template_id,
                "customer_id": one.recipient.customer_id,
                "address": one.recipient.address,
                "send_at": one.recipient.send_at,
                "occurrence": one.occurrence.hex(),
                "trigger_name": one.fired.trigger,
                "action_id": one.fired.action_id,
            }
            for number, (batch, day, one) in messages.items()
        ]
        return frozenset(await self._sql.values("add_messages", messages=_json(rows)))

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
        await self._sql.do(
            "add",
            channel=channel,
            owner=owner,
            lease=lease,
            now=now,
            batches=_json([_columns_of(batch) for batch in batches]),
            personal=_json([row for batch in batches for row in _personal(batch)]),
            skips=_json([row for batch in batches for row in _skips(batch)]),
            received=_json(_counts(batches, received)),
        )


def _by_key(days: Iterable[Day]) -> dict[tuple[CampaignId, date], Day]:
    return {(day.campaign_id, day.planned_on): day for day in days}


def _columns(keys: Sequence[tuple[CampaignId, date]]) -> dict[str, list[Any]]:
    return {"campaign_ids": [campaign_id for campaign_id, _ in keys], "days": [day for _, day in keys]}


def _columns_of(batch: NewBatch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "campaign": batch.day.id,
        "template_id": batch.template_id,
        "template_version": batch.template_version,
        "due_at": batch.due_at,
        "started": batch.started,
        "total": len(batch.messages),
        "begun": batch.begun,
        "skipped": Counter(batch.skips.values()),
        "done": not batch.unstarted and not batch.begun,
    }


def _counts(batches: Sequence[NewBatch], received: Mapping[int, Sequence[Triggered]]) -> list[dict[str, int]]:
    """Of each pass how much was received, and how much of that is new."""
    new = dict.fromkeys(received, 0)
    for batch in batches:
        new[batch.day.pass_] += len(batch.messages)
    return [
        {
            "pass": pass_,
            "received": len(of),
            "new": new[pass_],
            "unreadable": sum(one.recipient.skip is Skip.UNREADABLE for one in of),
        }
        for pass_, of in received.items()
    ]


def _personal(batch: NewBatch) -> Iterator[dict[str, Any]]:
    """Of who is skipped for good nothing personal is kept beside the message."""
    for number, one in batch.messages.items():
        if number not in batch.skips and (one.recipient.personalization or one.fired.promo_codes):
            yield {
                "planned_on": batch.day.planned_on,
                "message": number,
                "tags": one.recipient.personalization,
                "promo_codes": one.fired.promo_codes or None,
            }


def _skips(batch: NewBatch) -> Iterator[dict[str, Any]]:
    for number, skip in batch.skips.items():
        yield {"planned_on": batch.day.planned_on, "message": number, "reason": skip}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of a statement: as one value they cost a fifth of an array a column."""
    return msgspec.json.encode(rows).decode()
