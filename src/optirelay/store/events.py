"""What providers told of one tenant's messages: each event once, and what of it counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from optirelay.model import CampaignId, ChannelName, CustomerId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class NamedMessage:
    """A message that an event names, and what became of it so far."""

    place: int  # of the event, among those that were asked for
    campaign: int
    customer_id: CustomerId
    address: str | None = field(repr=False)
    state: str | None  # None: nothing is known yet
    reason: str | None
    by_event: bool | None


class EventRow(NamedTuple):
    """An event as it is kept."""

    identity: bytes
    planned_on: date | None
    message: int | None
    name: str
    kind: str | None
    rank: int
    at: datetime
    open: bool
    callback: int


class Fact(NamedTuple):
    """Something that happened to a message, as it is counted and reported."""

    planned_on: date
    message: int
    campaign: int
    kind: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whose message it is."""

    campaign: int
    campaign_id: CampaignId
    channel: ChannelName
    customer_id: CustomerId
    address: str | None = field(repr=False)


class Events:
    """One tenant's delivery events."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "events", {"tenant": tenant})

    async def named(self, channel: ChannelName, messages: Sequence[tuple[int, date, int]]) -> list[NamedMessage]:
        """Of these (place, day, message) the messages of the channel."""
        places, days, numbers = zip(*messages, strict=True) if messages else ((), (), ())
        return await self._sql.rows(
            NamedMessage, "named", channel=channel, places=list(places), days=list(days), messages=list(numbers)
        )

    async def keep(self, channel: ChannelName, rows: Sequence[EventRow]) -> set[bytes]:
        """Keep each once; the identities of those that are new. No identity may be among them twice."""
        columns = list(map(list, zip(*rows, strict=True)))
        names = ("identities", "days", "messages", "names", "kinds", "ranks", "ats", "open", "callbacks")
        return set(
            await self._sql.values("keep_delivery_events", channel=channel, **dict(zip(names, columns, strict=True)))
        )

    async def keep_facts(self, facts: Sequence[Fact]) -> None:
        """Count each kind once a message, and have Optimove told of it."""
        if facts:
            columns = list(map(list, zip(*facts, strict=True)))
            names = ("days", "messages", "campaigns", "kinds", "ats")
            await self._sql.do("keep_facts", **dict(zip(names, columns, strict=True)))

    async def addressee(self, planned_on: date, message: int) -> Addressee | None:
        """Whose message it is; None where there is none of that number."""
        return await self._sql.row(Addressee, "message", planned_on=planned_on, message=message)
