"""One tenant's campaigns and passes: who is to be fetched, what is cancelled, what is complete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import CampaignId, CampaignKind, CampaignState, ChannelName
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a pass stands: what the gather job of one of its pages must know."""

    pass_: int
    number: int  # the campaign's first pass is 1
    reading: int
    state: str
    campaign: int
    campaign_id: CampaignId
    channel: ChannelName
    planned_on: date
    campaign_state: str
    announced: bool  # on this channel; else nobody is shown the campaign until it has a row

    @property
    def open(self) -> bool:
        """Whether its pages are still to be fetched."""
        return self.state == "reading" and self.campaign_state != CampaignState.CANCELLED


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """A campaign in numbers, from its pages and batch counters; all days of a triggered one together."""

    id: int  # of its first day
    days: list[int]  # the first one first; a scheduled campaign has one
    planned_on: list[date]  # each of them
    channel: ChannelName
    kind: CampaignKind
    campaign_id: CampaignId
    state: str  # of its newest day
    channel_paused: bool
    handed_over: int
    fetching: bool
    total: int
    begun: int
    accepted: int
    in_doubt: int
    open: int
    held: int
    next_due_at: datetime | None
    skipped: list[dict[str, int]]
    refused: list[dict[str, int]]
    templates: list[tuple[int, int]]
    events: dict[str, int]  # messages with an event of a kind
    swept: bool  # a sweep found it, and no notification of it has come


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many messages of a campaign are in one state, counted by rows."""

    state: str
    reason: str | None
    template_id: int | None
    messages: int


class Campaigns:
    """One tenant's campaigns."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "campaigns", {"tenant": tenant})

    async def keep(
        self,
        campaign_id: CampaignId,
        channel: ChannelName,
        planned_on: date,
        *,
        cancelled: bool = False,
        announced: bool = True,
    ) -> None:
        """Make the campaign known on this channel, if it is not; nobody is shown it until it is `announced` there."""
        await self._sql.do(
            "keep_campaign",
            campaign_id=campaign_id,
            channel=channel,
            planned_on=planned_on,
            state="cancelled" if cancelled else "open",
            announced=announced,
        )

    async def remember(
        self, campaign_id: CampaignId, channel: ChannelName, kind: CampaignKind, planned_on: date
    ) -> None:
        """It was cancelled before anything of it was heard: make it known on this channel, as cancelled."""
        if kind == CampaignKind.SCHEDULED:
            await self.keep(campaign_id, channel, planned_on, cancelled=True)
        else:
            await self._sql.do("keep_cancelled", campaign_id=campaign_id, channel=channel, planned_on=planned_on)

    async def announce(self, campaign: int) -> None:
        """It has a part on this channel: from now on it is shown."""
        await self._sql.do("announce", campaign=campaign)

    async def known(self, campaign_id: CampaignId) -> bool:
        """Whether anybody is shown it, on any channel."""
        return bool(await self._sql.value("known", campaign_id=campaign_id))

    async def unheard_of(self, executed: Collection[CampaignId], channel: ChannelName) -> list[CampaignId]:
        """Of these campaigns those that are not shown on this channel, nor cancelled, and are not being read."""
        return await self._sql.values("unheard_of", campaign_ids=sorted(executed), channel=channel)

    async def cancelled(self, campaign_id: CampaignId, channel: ChannelName) -> bool:
        """Whether it was cancelled: Optimove's cancel counts on every channel, the operator's on this one."""
        return bool(await self._sql.value("cancelled", campaign_id=campaign_id, channel=channel))

    async def add_pass(self, campaign_id: CampaignId, channel: ChannelName, occasion: str) -> int | None:
        """A pass for this occasion, if there is none: its number in the table when it is to be read now, else None.

        A complete campaign is open again; a cancelled one gets no pass. Passes of one campaign run one after another.
        """
        campaign = await self._sql.row(_Standing, "lock_campaign", campaign_id=campaign_id, channel=channel)
        if campaign is None or campaign.state == CampaignState.CANCELLED:
            return None
        row = await self._sql.row(_Standing, "add_pass", campaign=campaign.id, occasion=occasion)
        if row is None:
            return None
        await self._sql.do("reopen", campaign=campaign.id)
        return row.id if row.state == "reading" else None

    async def cancel(self, campaign_id: CampaignId) -> list[int]:
        """Nothing more of it starts from the commit on, on any channel. Of what this ended, the rows of which something
        may be left to skip."""
        await self._sql.value("no_new_days")
        await self._sql.do("lock_passes", campaign_id=campaign_id, campaign=None)
        return await self._cancelled(await self._sql.values("cancel", campaign_id=campaign_id))

    async def cancel_one(self, campaign: int) -> list[int]:
        """The operator's cancel, on one channel, of all days of a triggered one; the same. A scheduled one that is
        complete, and one that is cancelled, stay so."""
        await self._sql.value("no_new_days")
        await self._sql.do("lock_passes", campaign_id=None, campaign=campaign)
        return await self._cancelled(await self._sql.values("cancel_one", campaign=campaign))

    async def _cancelled(self, campaigns: Sequence[int]) -> list[int]:
        if not campaigns:
            return []
        await self._sql.do("end_passes", campaigns=campaigns)
        return await self._sql.values("to_call_off", campaigns=campaigns)

    async def pause(self, campaign: int) -> bool:
        """Nothing of it starts from the commit on, also of new days of a triggered one. False where it is paused or
        cancelled; a scheduled one also where it is complete."""
        await self._sql.value("no_new_days")
        return await self._sql.count("pause", campaign=campaign) > 0

    async def resume(self, campaign: int) -> bool:
        """It goes on, all days of it. False where it is not paused."""
        await self._sql.value("no_new_days")
        return await self._sql.count("resume", campaign=campaign) > 0

    async def reopen(self, campaign: int) -> None:
        """Messages of it go again: where it was complete it is not any more. Locks it until the transaction ends."""
        await self._sql.do("reopen", campaign=campaign)

    async def days_of(self, campaign: int) -> list[int]:
        """The numbers of all days of this campaign on its channel, the first one first; a scheduled one has one."""
        return await self._sql.values("days_of", campaign=campaign)

    async def reading(self, pass_: int) -> Reading | None:
        """Where the pass stands, or None where there is none."""
        return await self._sql.row(Reading, "reading", pass_=pass_)

    async def lock_reading(self, pass_: int) -> Reading | None:
        """The same, and nobody else adds a page to it or ends it until the transaction ends."""
        return await self._sql.row(Reading, "lock_reading", pass_=pass_)

    async def keep_running(self, campaign: int) -> bool:
        """Whether it was not cancelled; nobody cancels it until the transaction ends."""
        return bool(await self._sql.value("keep_running", campaign=campaign))

    async def read_again(self, reading: Reading, most: int) -> bool:
        """At a pass's empty page: start another reading where rows repeated in this one, `most` times in all."""
        so_far = await self._sql.row(_SoFar, "reading_so_far", pass_=reading.pass_, reading=reading.reading)
        assert so_far is not None
        moved = so_far.repeated > 0 if reading.reading == 1 else so_far.new > 0
        if not moved or reading.reading >= most:
            return False
        await self._sql.do("next_reading", pass_=reading.pass_)
        return True

    async def end_pass(self, reading: Reading) -> int | None:
        """The pass is done; the pass that waited for it, if any, is to be read now."""
        await self._sql.value("close", campaign=reading.campaign)
        await self._sql.do("end_pass", pass_=reading.pass_)
        started: int | None = await self._sql.value("start_waiting_pass", campaign=reading.campaign)
        return started

    async def close_if_done(self, campaign: int) -> bool:
        """Lock the campaign; where no pass and no batch is open, it is complete, or stays cancelled. True where that is
        to be told: not of a campaign that was never announced.
        """
        await self._sql.value("close", campaign=campaign)
        if await self._sql.value("anything_open", campaign=campaign):
            return False
        await self._sql.do("complete", campaign=campaign)
        return bool(await self._sql.value("announced", campaign=campaign))

    async def counts(
        self,
        campaign_id: CampaignId | None = None,
        channel: ChannelName | None = None,
        kind: CampaignKind | None = None,
    ) -> list[CampaignCounts]:
        """Campaigns in numbers, oldest first; those named alone. None that was never announced."""
        return await self._sql.rows(
            CampaignCounts, "counts", campaign_id=campaign_id, channel=channel, kind=kind, campaign=None
        )

    async def counts_of(self, campaign: int) -> CampaignCounts:
        """One campaign in numbers, by our own number; of a triggered one this day alone."""
        row = await self._sql.row(
            CampaignCounts, "counts", campaign_id=None, channel=None, kind=None, campaign=campaign
        )
        assert row is not None
        return row

    async def row_counts(self, campaign: int, planned_on: date) -> list[RowCount]:
        """The same numbers by counting rows: slow at a million, for --audit."""
        return await self._sql.rows(RowCount, "row_counts", campaign=campaign, planned_on=planned_on)

    async def event_counts(self, campaign: int) -> dict[str, int]:
        """Messages with an event of a kind, counted by rows."""
        rows = await self._sql.tuples("event_counts", campaign=campaign)
        return {kind: messages for kind, messages in rows}  # noqa: C416 - rows of Any

    async def batch_faults(self, campaign: int, planned_on: date) -> list[int]:
        """Batches whose counters differ from their rows; there should be none."""
        return await self._sql.values("batch_faults", campaign=campaign, planned_on=planned_on)


@dataclass(frozen=True, slots=True)
class _Standing:
    id: int
    state: str


@dataclass(frozen=True, slots=True)
class _SoFar:
    new: int
    repeated: int
