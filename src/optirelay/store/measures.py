"""What /metrics tells, over all tenants: a few small statements, none of which reads the rows of messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import CampaignKind, ChannelName, TenantId
from optirelay.store._sql import Statements

LATELY = timedelta(days=8)
"""Campaigns that ended longer ago are not measured: the seven days of their reports are over."""


@dataclass(frozen=True, slots=True)
class MeasuredCampaign:
    """One campaign that is not over, or ended lately; such days of a triggered one together."""

    tenant: TenantId
    channel: ChannelName
    kind: CampaignKind
    state: str
    channel_paused: bool
    fetching: bool
    total: int
    begun: int
    accepted: int
    in_doubt: int
    open: int
    held: int
    next_due_at: datetime | None
    skipped: dict[str, int]
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late a channel is with what could go; 0 where nothing waits."""

    tenant: TenantId
    channel: ChannelName
    seconds: float


@dataclass(frozen=True, slots=True)
class WaitingRequests:
    """A tenant's notifications, or callbacks, that nobody has read."""

    tenant: TenantId
    waiting: int


@dataclass(frozen=True, slots=True)
class SweptCampaigns:
    """Campaigns of a channel that a sweep found."""

    tenant: TenantId
    channel: ChannelName
    campaigns: int


@dataclass(frozen=True, slots=True)
class WaitingJobs:
    """Jobs of one kind that are to be done, now or later."""

    tenant: TenantId
    job: str
    waiting: int


@dataclass(frozen=True, slots=True)
class CountedProblems:
    """Problems of one kind; of the service itself where the tenant is empty."""

    tenant: str
    kind: str
    problems: int


@dataclass(frozen=True, slots=True)
class CountedReports:
    """Calls of reports in one state."""

    tenant: TenantId
    state: str
    batches: int


@dataclass(frozen=True, slots=True)
class CountedEvents:
    """Messages with a delivery event of a kind."""

    tenant: TenantId
    channel: ChannelName
    kind: str
    messages: int


class Measures:
    """Reads what is measured of some tenants."""

    def __init__(self, connection: AsyncConnection[Any], tenants: Sequence[TenantId]) -> None:
        self._sql = Statements(connection, "everyone", {"tenants": list(tenants)})

    async def campaigns(self) -> list[MeasuredCampaign]:
        """Campaigns that are not over or ended lately."""
        return await self._sql.rows(MeasuredCampaign, "measured_campaigns", lately=LATELY)

    async def lateness(self, now: datetime) -> list[Lateness]:
        """How late each channel is."""
        return await self._sql.rows(Lateness, "measured_lateness", now=now)

    async def notifications(self) -> list[WaitingRequests]:
        """Notifications that nobody has read."""
        return await self._sql.rows(WaitingRequests, "measured_notifications")

    async def callbacks(self) -> list[WaitingRequests]:
        """Callbacks that nobody has read."""
        return await self._sql.rows(WaitingRequests, "measured_callbacks")

    async def events(self) -> list[CountedEvents]:
        """Events of campaigns that are not over or ended lately."""
        return await self._sql.rows(CountedEvents, "measured_events", lately=LATELY)

    async def swept(self) -> list[SweptCampaigns]:
        """Campaigns that a sweep found and that are not over or ended lately."""
        return await self._sql.rows(SweptCampaigns, "measured_swept", lately=LATELY)

    async def jobs(self) -> list[WaitingJobs]:
        """Jobs that are to be done."""
        return await self._sql.rows(WaitingJobs, "measured_jobs")

    async def problems(self) -> list[CountedProblems]:
        """Problems that the operator is told."""
        return await self._sql.rows(CountedProblems, "measured_problems")

    async def reports(self) -> list[CountedReports]:
        """Calls of reports of campaigns that are not over or ended lately."""
        return await self._sql.rows(CountedReports, "measured_reports", lately=LATELY)

    async def clock(self) -> float:
        """The database's clock, in seconds since 1970."""
        return float(await self._sql.value("clock"))

    async def workers(self, silence: timedelta) -> int:
        """Workers that were seen lately."""
        return int(await self._sql.value("reporting_workers", silence=silence))
