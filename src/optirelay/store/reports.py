"""What one tenant's Optimove is told: frozen in numbered batches, each sent once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from optirelay.model import CustomerId, FrozenCall, TemplateId
from optirelay.store._sql import Statements, statements

_ROWS_PER_FETCH = 5000


@dataclass(frozen=True, slots=True)
class ToldCustomer:
    """One customer to be told of: `sent` or `dropped`, by which template, on which day (UTC)."""

    event: str
    template_id: TemplateId
    on_date: date
    customer_id: CustomerId


@dataclass(frozen=True, slots=True)
class ToldTotals:
    """What was told of one template so far, this report included."""

    template_id: TemplateId
    sent: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """A frozen call that the caller alone sends."""

    id: int
    call: str
    body: bytes


@dataclass(frozen=True, slots=True)
class LostReport:
    """A frozen call whose sender is gone."""

    id: int
    call: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What Optimove was told of a campaign."""

    accepted: int
    in_doubt_batches: int
    open: int
    refused: int
    last_at: datetime | None


class Reports:
    """One tenant's reports."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._connection = connection
        self._tenant = tenant
        self._sql = Statements(connection, "reports", {"tenant": tenant})

    async def take(self, campaign: int) -> int | None:
        """Take every batch that is done and was not told, and what changed since others were, into a new report; None
        where there is nothing."""
        number: int = await self._sql.value("report_number")
        taken: int = await self._sql.value("take_told", campaign=campaign, report=number)
        return number if taken else None

    async def customers(self, campaign: int, report: int) -> AsyncIterator[ToldCustomer]:
        """Everybody of a report, event by event, template by template, day by day; streamed."""
        name = statements("reports")["told_customers"]
        async with self._connection.cursor("told", row_factory=class_row(ToldCustomer)) as cursor:
            cursor.itersize = _ROWS_PER_FETCH
            await cursor.execute(name, {"tenant": self._tenant, "campaign": campaign, "report": report})
            async for row in cursor:
                yield row

    async def totals(self, campaign: int) -> list[ToldTotals]:
        """Totals by template over everything told so far."""
        return await self._sql.rows(ToldTotals, "told_totals", campaign=campaign)

    async def freeze(self, campaign: int, call: FrozenCall) -> None:
        """Keep one call exactly as it will be sent."""
        await self._sql.do(
            "freeze",
            campaign=campaign,
            call=call.call,
            event=call.event,
            customers=call.customers,
            body=call.body,
        )

    async def claim(self, campaign: int, worker: str) -> ClaimedReport | None:
        """The next frozen call that nobody sends, now marked as sent by this worker; to be committed before it
        leaves."""
        return await self._sql.row(ClaimedReport, "claim_report_batch", campaign=campaign, worker=worker)

    async def settle(self, report_batch: int, state: str, answer: str | None = None) -> None:
        """What became of a call: answered, ready (nothing was written), in_doubt or refused."""
        await self._sql.do("settle_report_batch", id=report_batch, state=state, answer=answer)

    async def lost(self, campaign: int, silence: timedelta) -> list[LostReport]:
        """Calls that were marked as sent so long ago that their sender must be gone."""
        return await self._sql.rows(LostReport, "lost_report_batches", campaign=campaign, silence=silence)

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

    async def reported(self, campaign: int, call: str) -> Reported:
        """What Optimove answered for; `call` is the one that names customers."""
        row = await self._sql.row(Reported, "reported", campaign=campaign, call=call)
        assert row is not None
        return row

    async def untold(self, campaign: int) -> bool:
        """Whether a batch is done of which nothing was told, or something changed since it was."""
        return bool(await self._sql.value("untold", campaign=campaign))
