"""Campaigns that Optimove has executed, and of which it never told us."""

from collections.abc import AsyncIterator

import structlog

from optirelay.clock import utc_now
from optirelay.engine.context import Context, ask
from optirelay.errors import GiveUp, NeedsOperator
from optirelay.model import CampaignId, ChannelName, TenantId
from optirelay.optimove import EventType, get_executed_campaigns_by_channel
from optirelay.stages import campaigns

log = structlog.get_logger()


async def unannounced(ctx: Context, tenant: TenantId) -> AsyncIterator[campaigns.SendPlan]:
    """A plan for each campaign of today and yesterday that was executed on a channel and of which nobody told us.

    None of a channel that was not listened to yet, and none that had been executed before it was. A channel of which
    Optimove refuses to tell is left out: the operator is told, and the next sweep asks again. Raises TryLater.
    """
    for name, channel in ctx.settings.tenants[tenant].channels.items():
        if channel.scheduled_id is None:
            continue
        place = ChannelName(name)
        async with ctx.store.tenant(tenant).transaction() as ledger:
            before = await ledger.listeners.executed_before(EventType.CHANNEL_EXECUTED, channel.scheduled_id, place)
        if before is None:
            continue
        try:
            found = await executed(ctx, tenant, channel.scheduled_id)
        except (GiveUp, NeedsOperator) as error:
            log.warning("sweep_refused", tenant=tenant, channel=name, why=str(error))
            continue
        async with ctx.store.tenant(tenant).transaction() as ledger:
            new = await ledger.campaigns.unheard_of(found - before, place)
        for campaign_id in new:
            log.warning("campaign_swept", tenant=tenant, channel=name, campaign=campaign_id)
            yield campaigns.swept(campaign_id, place, utc_now())


async def executed(ctx: Context, tenant: TenantId, channel_id: int) -> frozenset[CampaignId]:
    """What Optimove has executed today and yesterday on one of its channels. Raises what `ask` raises."""
    found: set[CampaignId] = set()
    for day in campaigns.days_to_sweep(utc_now(), ctx.settings.tenants[tenant].timezone):
        numbers = await ask(ctx, tenant, get_executed_campaigns_by_channel(channel_id, day))
        found.update(CampaignId(str(number)) for number in numbers)
    return frozenset(found)
