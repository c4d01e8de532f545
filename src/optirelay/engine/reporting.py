"""Reports to Optimove: what is told is frozen first, then each call is made once, and a lost answer stays a doubt."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from optirelay.engine.context import Context, ask
from optirelay.errors import GiveUp, InDoubt, OptirelayError
from optirelay.model import CustomerId, FrozenCall, ProblemKind, TenantId
from optirelay.stages import metrics
from optirelay.store import Ledger
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.reports import ClaimedReport, LostReport, ToldCustomer

CALL_TAKES = timedelta(minutes=6)  # at most: by then its sender has an answer, or is gone


async def tell(ctx: Context, tenant: TenantId, campaign: int) -> None:
    """Freeze what was not told yet, then send every frozen call that nobody sends."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        counts = await ledger.campaigns.counts_of(campaign)
        channel_id = ctx.channel_settings(tenant, counts.channel).scheduled_id
        assert channel_id is not None
        for call in await freeze(ctx, ledger, counts, channel_id):
            await ledger.reports.freeze(campaign, call)
    await settle_lost(ctx, tenant, campaign)
    while True:
        async with store.transaction() as ledger:
            claimed = await ledger.reports.claim(campaign, ctx.worker)
        if claimed is None:
            return
        await send_report(ctx, tenant, claimed)


async def freeze(ctx: Context, ledger: Ledger, campaign: CampaignCounts, channel_id: int) -> Sequence[FrozenCall]:
    """Take every batch that is done and was not told, as calls; totals last, over all that was told so far."""
    optimove = ctx.settings.tenants[ledger.tenant].optimove
    number = await ledger.reports.take(campaign.id)
    if number is None:
        return ()
    campaign_id = int(campaign.campaign_id)
    calls = [
        metrics.interaction_call(
            campaign_id,
            channel_id,
            first.template_id,
            first.event,
            first.on_date,
            customers,
            interaction_ids=optimove.interaction_ids,
        )
        async for first, customers in _alike(
            ledger.reports.customers(campaign.id, number), optimove.interactions_per_call
        )
    ]
    totals = await ledger.reports.totals(campaign.id)
    calls += metrics.metric_calls(
        campaign_id,
        channel_id,
        [(row.template_id, {"sent": row.sent, "dropped": row.dropped}) for row in totals],
        metric_ids=optimove.metric_ids,
        per_call=optimove.metrics_per_call,
    )
    return calls


async def _alike(told: AsyncIterator[ToldCustomer], most: int) -> AsyncIterator[tuple[ToldCustomer, list[CustomerId]]]:
    """Runs of customers that share event, template and day, at most `most` long."""
    first: ToldCustomer | None = None
    customers: list[CustomerId] = []
    async for row in told:
        same = first is not None and (first.event, first.template_id, first.on_date) == (
            row.event,
            row.template_id,
            row.on_date,
        )
        if first is not None and (not same or len(customers) == most):
            yield first, customers
            customers = []
        if not customers:
            first = row
        customers.append(row.customer_id)
    if first is not None:
        yield first, customers


async def settle_lost(ctx: Context, tenant: TenantId, campaign: int) -> None:
    """A call that was sent so long ago that its sender must be gone may have arrived."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await _settle_lost(ledger, await ledger.reports.lost(campaign, CALL_TAKES))


async def settle_lost_of(ctx: Context, tenant: TenantId, worker: str) -> None:
    """The same for what a worker sent that is known to be gone."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await _settle_lost(ledger, await ledger.reports.lost_of(worker))


async def _settle_lost(ledger: Ledger, calls: Sequence[LostReport]) -> None:
    """Totals go again, with the job that was to send them; what adds up is in doubt."""
    for lost in calls:
        if metrics.thaw(lost.call, b"").repeatable:
            await ledger.reports.settle(lost.id, "ready")
        else:
            await _doubt(ledger, lost.id, lost.call, "its sender ended before an answer came")


async def send_report(ctx: Context, tenant: TenantId, claimed: ClaimedReport) -> None:
    """Make one frozen call. Raises where it was not made and has to go again."""
    store = ctx.store.tenant(tenant)
    try:
        await ask(ctx, tenant, metrics.thaw(claimed.call, claimed.body), tells_refusal=False)
    except InDoubt as error:
        async with store.transaction() as ledger:
            await _doubt(ledger, claimed.id, claimed.call, str(error))
    except GiveUp as error:
        async with store.transaction() as ledger:
            await ledger.reports.settle(claimed.id, "refused", str(error))
            await ledger.problems.tell(
                ProblemKind.BATCH_SET_ASIDE,
                f"Optimove refused report batch {claimed.id} ({claimed.call}): {error}",
                "See what Optimove says; the batch is kept and is not sent again by itself",
                subject=f"report {claimed.id}",
            )
    except OptirelayError as error:
        async with store.transaction() as ledger:
            await ledger.reports.settle(claimed.id, "ready", str(error))
        raise
    else:
        async with store.transaction() as ledger:
            await ledger.reports.settle(claimed.id, "answered")


async def _doubt(ledger: Ledger, number: int, call: str, why: str) -> None:
    await ledger.reports.settle(number, "in_doubt", why)
    await ledger.problems.tell(
        ProblemKind.REPORT_IN_DOUBT,
        f"Report batch {number} ({call}) was sent and not answered for: {why}",
        "See `optirelay doubts list --reports`, compare with Optimove, then `optirelay doubts resolve`; it is not sent "
        "again by itself",
        subject=str(number),
    )
