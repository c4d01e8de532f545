"""What one tenant's Optimove is told: frozen in numbered batches, each sent once."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import AppId, CampaignId, ChannelName, CustomerId, FrozenCall, TemplateId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class ToldCustomer:
    """One thing that happened to one customer: `sent`, `dropped`, by which template of which app, on which UTC day."""

    event: str
    template_id: TemplateId
    app: AppId | None
    on_date: date
    recipient_group: int
    customer_id: CustomerId = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class ToldTotal:
    """How often something happened by one template, this report included, and how often Optimove knows of."""

    template_id: TemplateId
    event: str
    total: int
    told: int


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """A frozen call that the caller alone sends."""

    id: int
    call: str
    body: bytes = field(repr=False)
    additive: bool


@dataclass(frozen=True, slots=True)
class LostReport:
    """A frozen call whose sender is gone."""

    id: int
    call: str
    maybe_counted: bool  # it left, and is one that counts again when it is made again


@dataclass(frozen=True, slots=True)
class LateReport:
    """A frozen call that is never sent: what it tells happened too long ago."""

    id: int
    call: str
    customers: int


@dataclass(frozen=True, slots=True)
class Standing:
    """When Optimove is told of a campaign next, and when the last of its messages were handed off."""

    channel: ChannelName
    campaign_id: CampaignId
    next_at: datetime | None  # null: nothing was handed off, or all was told for the last time
    handed_off_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What Optimove was told of a campaign."""

    accepted: int
    in_doubt_batches: int
    open: int
    refused: int
    too_late: int
    last_at: datetime | None


class Reports:
    """One tenant's reports."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._tenant = tenant
        self._sql = Statements(connection, "reports", {"tenant": tenant})

    async def alone(self, campaign: int) -> None:
        """Wait until nobody else freezes or claims calls of the campaign; nobody comes before the transaction ends."""
        await self._sql.value("alone", campaign=campaign)

    async def tell_by(self, campaign: int, at: datetime) -> None:
        """Where it is not known yet when Optimove is told of the campaign, it is told by then."""
        await self._sql.do("report_by", campaign=campaign, at=at)

    async def tell_next(self, campaign: int, at: datetime | None) -> None:
        """When Optimove is told of the campaign next; None: not again."""
        await self._sql.do("report_next", campaign=campaign, at=at)

    async def standing(self, campaign: int) -> Standing:
        """Where the campaign's reports stand in time."""
        row = await self._sql.row(Standing, "standing", campaign=campaign)
        assert row is not None
        return row

    async def take(self, campaign: int) -> int | None:
        """Take all that is over and was not told, and what changed since, into a new report; None where there is
        nothing."""
        number: int = await self._sql.value("report_number")
        taken: int = await self._sql.value("take_told", campaign=campaign, report=number)
        return number if taken else None

    async def customers(self, campaign: int, report: int) -> AsyncIterator[ToldCustomer]:
        """Everybody of a report, event by event, template by template, day by day; streamed."""
        async for row in self._sql.stream(ToldCustomer, "told_customers", campaign=campaign, report=report):
            yield row

    async def totals(self, campaigns: Sequence[int], told_of: int) -> list[ToldTotal]:
        """Totals by template and event over everything taken so far of these rows of one campaign, and what was kept as
        told of one of them."""
        return await self._sql.rows(ToldTotal, "told_totals", campaigns=list(campaigns), told_of=told_of)

    async def keep_told(self, campaign: int, told: Mapping[tuple[TemplateId, str], int]) -> None:
        """Optimove will have been told of these totals, by template and event."""
        await self._sql.do(
            "keep_told",
            campaign=campaign,
            templates=[template_id for template_id, _ in told],
            events=[event for _, event in told],
            told=list(told.values()),
        )

    async def freeze(self, campaign: int, report: int | None, call: FrozenCall, *, state: str = "ready") -> int:
        """Keep one call exactly as it will be sent; its number. It is `ready`, or `too_late` and only kept."""
        number: int = await self._sql.value(
            "freeze",
            campaign=campaign,
            report=report,
            call=call.call,
            event=call.event,
            customers=call.customers,
            body=call.body,
            additive=call.additive,
            oldest_at=call.oldest_at,
            state=state,
        )
        return number

    async def set_too_late(self, campaign: int, before: datetime) -> list[LateReport]:
        """Frozen calls that were not sent in time: something in them happened before that, so they never are."""
        return await self._sql.rows(LateReport, "set_too_late", campaign=campaign, before=before)

    async def claim(self, campaign: int, worker: str, calls: Sequence[str]) -> ClaimedReport | None:
        """The next frozen call of these names that nobody sends, now marked as sent by this worker; to be committed
        before it leaves. Later totals wait until earlier ones are answered for."""
        await self.alone(campaign)
        return await self._sql.row(
            ClaimedReport, "claim_report_batch", campaign=campaign, worker=worker, calls=list(calls)
        )

    async def make(self, report_batch: int) -> None:
        """A claimed call is about to leave; to be committed before it does."""
        await self._sql.do("make_report_batch", id=report_batch)

    async def settle(self, report_batch: int, state: str, answer: str | None = None) -> None:
        """What became of a call: answered, ready (nothing was written), in_doubt or refused."""
        await self._sql.do("settle_report_batch", id=report_batch, state=state, answer=answer)

    async def lost(self, campaign: int, silence: timedelta, worker: str, held: Collection[int]) -> list[LostReport]:
        """Calls that were marked as sent so long ago that their sender must be gone, or by this worker, which does not
        hold them."""
        named = {"campaign": campaign, "silence": silence, "worker": worker, "held": list(held)}
        return await self._sql.rows(LostReport, "lost_report_batches", **named)

    async def under_way(self, campaign: int) -> bool:
        """Whether a call was marked as sent, and what became of it is not known."""
        return bool(await self._sql.value("under_way", campaign=campaign))

    async def lost_of(self, worker: str) -> list[LostReport]:
        """Calls that a worker which is gone had marked as sent."""
        return await self._sql.rows(LostReport, "report_batches_of_worker", worker=worker)

    async def resolve(self, report_batch: int, state: str, answer: str) -> int | None:
        """What became of a call in doubt, as an operator says; the campaign, or None where it is not in doubt."""
        campaign: int | None = await self._sql.value(
            "resolve_report_batch", id=report_batch, state=state, answer=answer
        )
        return campaign

    async def reported(self, *campaigns: int) -> Reported:
        """What Optimove answered for, of these rows together."""
        row = await self._sql.row(Reported, "reported", campaigns=list(campaigns))
        assert row is not None
        return row

    async def untold(self, campaigns: Sequence[int]) -> list[int]:
        """Of these rows those of which something is over and may not be told, or changed since it was."""
        return await self._sql.values("untold", campaigns=list(campaigns))

    async def untold_facts(self, campaign: int) -> int:
        """How much happened to customers of which no report tells."""
        return int(await self._sql.value("untold_facts", campaign=campaign))
