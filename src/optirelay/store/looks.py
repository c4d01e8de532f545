"""What listings show of one tenant's messages and doubts."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import AppId, CampaignId, CampaignKind, ChannelName, CustomerId, EventKind, TemplateId
from optirelay.store._sql import Statements
from optirelay.store.campaigns import CampaignCounts


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as it stands."""

    planned_on: date
    id: int
    channel: ChannelName
    campaign_id: CampaignId
    kind: CampaignKind
    customer_id: CustomerId
    template_id: TemplateId | None
    app_id: AppId | None
    trigger: str | None  # its name; of a triggered message
    action_id: str | None  # likewise
    send_at: datetime | None
    state: str
    reason: str | None
    at: datetime | None
    provider_id: str | None
    furthest: EventKind | None  # of its events


@dataclass(frozen=True, slots=True)
class Personalized:
    """What a message was, or is to be, made of."""

    kind: CampaignKind
    address: str | None = field(repr=False)
    tags: dict[str, str] = field(repr=False)
    promo_codes: list[str] | None
    trigger: str | None
    action_id: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that was told of a message, as its provider spells it."""

    event: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try that did not end in acceptance."""

    at: datetime
    outcome: str
    detail: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DoubtRow:
    """One message that may have arrived."""

    planned_on: date
    id: int
    batch: int
    channel: ChannelName
    campaign_id: CampaignId
    kind: CampaignKind
    customer_id: CustomerId
    address: str | None = field(repr=False)  # null: whose it was was erased
    since: datetime


@dataclass(frozen=True, slots=True)
class ReportDoubtRow:
    """One report call that Optimove may have taken."""

    id: int
    campaign_id: CampaignId
    kind: CampaignKind
    call: str
    customers: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ReportDay:
    """Where the reports of one day of a campaign stand."""

    id: int
    next_at: datetime | None  # None: nothing was handed off, or all was told for the last time
    handed_off_at: datetime | None
    open: bool  # a call is left to be made, or to be answered


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One message of a campaign, as it stands."""

    planned_on: date
    id: int
    channel: ChannelName
    campaign_id: CampaignId
    customer_id: CustomerId
    address: str | None = field(repr=False)
    template_id: TemplateId | None
    send_at: datetime | None
    state: str
    reason: str | None
    at: datetime | None
    provider_id: str | None
    attempts: int
    furthest: EventKind | None


class Looks:
    """One tenant's listings."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "looks", {"tenant": tenant})

    async def messages(
        self,
        campaign_id: CampaignId,
        customer_id: CustomerId,
        channel: ChannelName | None = None,
        kind: CampaignKind | None = None,
    ) -> list[MessageRow]:
        """Every message of a campaign to a customer, also to one who was erased since."""
        named = {"campaign_id": campaign_id, "channel": channel, "kind": kind}
        return await self._sql.rows(MessageRow, "messages", customer_id=customer_id, **named)

    async def personalization(
        self, campaign_id: CampaignId, customer_id: CustomerId, channel: ChannelName
    ) -> Personalized | None:
        """What the newest message of a campaign to a customer is made of; None where there is none."""
        named = {"campaign_id": campaign_id, "customer_id": customer_id, "channel": channel}
        return await self._sql.row(Personalized, "personalization", **named)

    async def attempts(self, planned_on: date, message: int) -> list[AttemptRow]:
        """A message's tries, oldest first."""
        return await self._sql.rows(AttemptRow, "attempts", planned_on=planned_on, message=message)

    async def events(self, planned_on: date, message: int) -> list[EventRow]:
        """What was told of a message, oldest first."""
        return await self._sql.rows(EventRow, "events", planned_on=planned_on, message=message)

    async def doubts(self) -> list[DoubtRow]:
        """Every message in doubt, oldest first."""
        return await self._sql.rows(DoubtRow, "doubts")

    async def report_doubts(self) -> list[ReportDoubtRow]:
        """Every report call in doubt, oldest first."""
        return await self._sql.rows(ReportDoubtRow, "report_doubts")

    async def report_days(self, campaign: CampaignCounts) -> list[ReportDay]:
        """Where reports stand, of each day of a campaign."""
        return await self._sql.rows(ReportDay, "report_days", days=campaign.days)

    async def export(self, campaign: CampaignCounts) -> AsyncIterator[ExportRow]:
        """Every message of a campaign, page by page; inside a snapshot, so that all are of one moment."""
        named = {"channel": campaign.channel, "campaign_id": campaign.campaign_id}
        for day, planned_on in zip(campaign.days, campaign.planned_on, strict=True):
            async for row in self._sql.stream(ExportRow, "export", campaign=day, planned_on=planned_on, **named):
                yield row
