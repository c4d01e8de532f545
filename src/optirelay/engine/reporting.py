"""Reports to Optimove: what is told is frozen first, then each call is made once, and a lost answer stays a doubt."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from optirelay.clock import utc_now
from optirelay.engine.context import Context, ask
from optirelay.errors import GiveUp, InDoubt, NeedsOperator, OptirelayError
from optirelay.model import CampaignId, ChannelName, ProblemKind, TenantId
from optirelay.optimove import MAX_EVENT_AGE
from optirelay.stages import metrics
from optirelay.store import Ledger, StoreUnavailable, TenantStore
from optirelay.store.batches import LockedBatch
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.reports import ClaimedReport, LateReport, LostReport, ToldCustomer

T = TypeVar("T")

SLICE = 200  # rows that are told of, taken in about a millisecond
WRITE_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)  # a worker that ends waits 20 s for its jobs
CALL_TAKES = timedelta(minutes=6)  # at most: by then its sender has an answer, or is gone


# --- when -------------------------------------------------------------------------------------------------------------


async def begin_window(ctx: Context, ledger: Ledger, batch: LockedBatch) -> None:
    """A group of this locked batch begins: from a campaign's first message on Optimove is told of it, and anew where
    nothing of it went for a while."""
    tenant, before, now = ctx.settings.tenants[ledger.tenant], batch.begun_at, utc_now()
    batch.begun_at = now
    lately = before is not None and now - before < min(tenant.report_every, tenant.report_for)
    if not lately and calls_for(ctx, ledger, batch.channel, batch.campaign_id):
        await ledger.reports.tell_by(batch.campaign, now + tenant.report_every)


def first_report(ctx: Context, ledger: Ledger, channel: ChannelName, campaign_id: CampaignId) -> datetime | None:
    """When Optimove is told of a triggered campaign that begins a day now; None: never."""
    if not calls_for(ctx, ledger, channel, campaign_id):
        return None
    return utc_now() + min(ctx.settings.tenants[ledger.tenant].report_every, metrics.FIRST_AFTER)


def calls_for(ctx: Context, ledger: Ledger, channel: ChannelName, campaign_id: CampaignId) -> frozenset[str]:
    """The calls by which Optimove is told of a campaign: none of a dry run, nor of one that no call can name."""
    known = ctx.channels.get((ledger.tenant, channel))
    if known is not None and not known.reported:
        return frozenset()
    return metrics.calls_of(campaign_id, ctx.settings.tenants[ledger.tenant].report)


async def due_now(ctx: Context, ledger: Ledger, campaign: int) -> bool:
    """Whether a report is to be put now; when the next one is, is written. The campaign has to be locked.

    After the end of its window a campaign is not told of any more by itself, until messages of it go again.
    """
    standing = await ledger.reports.standing(campaign)
    tenant, now = ctx.settings.tenants[ledger.tenant], utc_now()
    channel = ctx.channels.get((ledger.tenant, standing.channel))
    shut = metrics.is_shut(standing.handed_off_at, now, lasts=tenant.report_for)
    if not calls_for(ctx, ledger, standing.channel, standing.campaign_id) or (shut and standing.next_at is None):
        return False
    following = metrics.next_report(standing.handed_off_at, now, every=tenant.report_every, lasts=tenant.report_for)
    await ledger.reports.tell_next(campaign, following)
    return channel is not None  # else it is no longer in the settings: what waits for it waits on


# --- what -------------------------------------------------------------------------------------------------------------


async def tell(ctx: Context, tenant: TenantId, campaign: int) -> None:
    """Freeze what was not told yet, then send every frozen call that nobody sends.

    Raises where some were not made and have to go again. Events have a host and a token of their own: what keeps them
    from going does not keep back the other calls, and the other way round.
    """
    async with ctx.store.tenant(tenant).transaction() as ledger:
        days = await ledger.campaigns.days_of(campaign)
        both = sorted({days[0], campaign})  # counts are told of all days together, as the first one's
        for row in both:
            await ledger.reports.alone(row)
        await _freeze(ctx, ledger, await ledger.campaigns.counts_of(campaign), days)
    failed: list[OptirelayError] = []
    for row in both:
        await settle_lost(ctx, tenant, row)
    for calls in metrics.BY_HOST:
        try:
            for row in both:
                await _send_all(ctx, tenant, row, calls)
        except StoreUnavailable:
            raise
        except OptirelayError as error:
            failed.append(error)
    if failed:
        raise failed[0]


async def _send_all(ctx: Context, tenant: TenantId, campaign: int, calls: Sequence[str]) -> None:
    """Every frozen call of these names, one after another."""
    claimed: ClaimedReport | None = None
    while True:
        try:
            async with ctx.store.tenant(tenant).transaction() as ledger:
                for late in await ledger.reports.set_too_late(campaign, metrics.oldest_event(utc_now())):
                    await _tell_too_late(ledger, late)
                claimed = await ledger.reports.claim(campaign, ctx.worker, calls)
                if claimed is not None:
                    ctx.telling.add(claimed.id)  # before others can see that it is claimed
            if claimed is None:
                return
            await send_report(ctx, tenant, claimed)
        finally:
            if claimed is not None:
                ctx.telling.discard(claimed.id)


async def _freeze(ctx: Context, ledger: Ledger, campaign: CampaignCounts, days: Sequence[int]) -> None:
    """Take all that is over and was not told, as calls; counts last, over all that was taken so far of all days."""
    channel_id = ctx.channel_settings(ledger.tenant, campaign.channel).channel_id(campaign.kind)
    calls = calls_for(ctx, ledger, campaign.channel, campaign.campaign_id)
    if channel_id is None:
        setting = f"{campaign.kind}_id"
        raise NeedsOperator(f"channel {campaign.channel} of tenant {ledger.tenant} has no {setting} any more")
    if not calls:
        return
    place = metrics.place_of(campaign.campaign_id, channel_id)
    report = await ledger.reports.take(campaign.id)
    if report is not None:
        await _freeze_customers(ctx, ledger, campaign.id, report, place, calls)
    if metrics.METRICS in calls:
        await _freeze_metrics(ctx, ledger, days, report, place)


async def _freeze_customers(
    ctx: Context, ledger: Ledger, campaign: int, report: int, place: metrics.Place, calls: frozenset[str]
) -> None:
    optimove = ctx.settings.tenants[ledger.tenant].optimove
    told = _in_turn(ctx, ledger.reports.customers(campaign, report), (ledger.tenant, campaign, "report"))
    async for alike, customers in _alike(told, optimove.interactions_per_call):
        if metrics.INTERACTIONS in calls:
            ids = optimove.interaction_ids
            call = metrics.interaction_call(place, alike, customers, interaction_ids=ids)
            await ledger.reports.freeze(campaign, report, call)
        if metrics.SAVE_EVENT in calls:
            await _freeze_events(ledger, campaign, report, place, alike, customers)


async def _freeze_events(
    ledger: Ledger,
    campaign: int,
    report: int,
    place: metrics.Place,
    alike: metrics.Alike,
    customers: Sequence[ToldCustomer],
) -> None:
    oldest = metrics.oldest_event(utc_now())
    if timely := [customer for customer in customers if customer.at >= oldest]:
        await ledger.reports.freeze(campaign, report, metrics.event_call(place, alike, timely))
    if late := [customer for customer in customers if customer.at < oldest]:
        call = metrics.event_call(place, alike, late)
        number = await ledger.reports.freeze(campaign, report, call, state="too_late")
        await _tell_too_late(ledger, LateReport(number, call.call, call.customers))


async def _freeze_metrics(
    ctx: Context, ledger: Ledger, days: Sequence[int], report: int | None, place: metrics.Place
) -> None:
    optimove, first = ctx.settings.tenants[ledger.tenant].optimove, days[0]
    increments = optimove.metrics_are == "increments"
    values = metrics.values_to_tell(await ledger.reports.totals(days, first), increments=increments)
    for call in metrics.metric_calls(
        place,
        values,
        increments=increments,
        metric_ids=optimove.metric_ids,
        per_call=optimove.metrics_per_call,
    ):
        await ledger.reports.freeze(first, report, call)
    await ledger.reports.keep_told(first, {(count.template_id, count.event): count.total for count, _ in values})


async def _in_turn(ctx: Context, rows: AsyncIterator[T], whose: Hashable) -> AsyncIterator[T]:
    """All of them; others get the right of way in between."""
    number = 0
    async for row in rows:
        number += 1
        if number % SLICE == 0:
            await ctx.way.give(whose, SLICE)
        yield row


async def _alike(
    told: AsyncIterator[ToldCustomer], most: int
) -> AsyncIterator[tuple[metrics.Alike, list[ToldCustomer]]]:
    """Runs of customers that share event, template, day and group, at most `most` long."""
    alike: metrics.Alike | None = None
    customers: list[ToldCustomer] = []
    async for row in told:
        of_row = metrics.Alike(row.event, row.template_id, row.on_date, row.recipient_group, row.app)
        if alike is not None and (of_row != alike or len(customers) == most):
            yield alike, customers
            customers = []
        alike = of_row
        customers.append(row)
    if alike is not None:
        yield alike, customers


async def _tell_too_late(ledger: Ledger, late: LateReport) -> None:
    await ledger.problems.tell(
        ProblemKind.BATCH_SET_ASIDE,
        f"Report batch {late.id} ({late.call}) is kept and not sent: what it tells of {late.customers} customers "
        f"happened more than {MAX_EVENT_AGE.days} days ago",
        "Optimove takes nothing older; see what kept the report from going in time",
        subject=f"report {late.id}",
    )


# --- calls ------------------------------------------------------------------------------------------------------------


async def settle_lost(ctx: Context, tenant: TenantId, campaign: int) -> None:
    """A call that was sent so long ago that its sender must be gone may have arrived; and one that this process had in
    hand, until the store went away."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await _settle_lost(ledger, await ledger.reports.lost(campaign, CALL_TAKES, ctx.worker, ctx.telling))


async def settle_lost_of(ctx: Context, tenant: TenantId, worker: str) -> None:
    """The same for what a worker sent that is known to be gone."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await _settle_lost(ledger, await ledger.reports.lost_of(worker))


async def _settle_lost(ledger: Ledger, calls: Sequence[LostReport]) -> None:
    """Totals, and what never left, go again, with the job that was to send them; what may count twice is in doubt."""
    for lost in calls:
        if lost.maybe_counted:
            await _doubt(ledger, lost.id, lost.call, "its sender ended before an answer came")
        else:
            await ledger.reports.settle(lost.id, "ready")


async def send_report(ctx: Context, tenant: TenantId, claimed: ClaimedReport) -> None:
    """Make one frozen call. Raises where it was not made and has to go again."""
    store = ctx.store.tenant(tenant)
    settings = ctx.settings.tenants[tenant]

    async def leaving() -> None:
        async with store.transaction() as ledger:
            await ledger.reports.make(claimed.id)

    try:
        if claimed.call == metrics.SAVE_EVENT and not (settings.metrics_url and settings.metrics_token):
            raise NeedsOperator(f"tenant {tenant} has events to save, and no metrics_url or no metrics_token any more")
        call = metrics.thaw(claimed.call, claimed.body, additive=claimed.additive)
        await ask(ctx, tenant, call, tells_refusal=False, leaving=leaving)
    except InDoubt as error:
        why = str(error)
        await _write(store, lambda ledger: _doubt(ledger, claimed.id, claimed.call, why))
    except GiveUp as error:
        why = str(error)
        await _write(store, lambda ledger: _refused(ledger, claimed, why))
    except OptirelayError as error:
        why = str(error)
        await _write(store, lambda ledger: ledger.reports.settle(claimed.id, "ready", why))
        raise
    else:
        await _write(store, lambda ledger: ledger.reports.settle(claimed.id, "answered"))


async def _write(store: TenantStore, what: Callable[[Ledger], Awaitable[None]]) -> None:
    """Write what came of a call, also where the store is away for a moment: nobody else knows it, and as long as it is
    not written, the call counts as under way."""
    for pause_seconds in (*WRITE_PAUSES_SECONDS, None):
        try:
            async with store.transaction() as ledger:
                await what(ledger)
        except StoreUnavailable:
            if pause_seconds is None:
                raise
            await asyncio.sleep(pause_seconds)
        else:
            return


async def _refused(ledger: Ledger, claimed: ClaimedReport, why: str) -> None:
    await ledger.reports.settle(claimed.id, "refused", why)
    await ledger.problems.tell(
        ProblemKind.BATCH_SET_ASIDE,
        f"Optimove refused report batch {claimed.id} ({claimed.call}): {why}",
        "See what Optimove says; the batch is kept and is not sent again by itself",
        subject=f"report {claimed.id}",
    )


async def _doubt(ledger: Ledger, number: int, call: str, why: str) -> None:
    await ledger.reports.settle(number, "in_doubt", why)
    await ledger.problems.tell(
        ProblemKind.REPORT_IN_DOUBT,
        f"Report batch {number} ({call}) was sent and not answered for: {why}",
        "See `optirelay doubts list --reports`, compare with Optimove, then `optirelay doubts resolve`; it is not sent "
        "again by itself",
        subject=str(number),
    )
