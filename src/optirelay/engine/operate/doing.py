"""What an operator has done: listeners registered, reports sent."""

import asyncio

from optirelay.engine import syncing
from optirelay.engine.context import Context
from optirelay.engine.operate.looking import PATIENCE_SECONDS, PAUSE_SECONDS, Shape, as_listed, of_each, tenants_of
from optirelay.engine.reporting import calls_for, tell
from optirelay.errors import OptirelayError, TryLater
from optirelay.model import CampaignId, CampaignKind, TenantId
from optirelay.store import StoreUnavailable
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.reports import Reported

NOT_IN_TIME = f"Optimove has not answered everything within {PATIENCE_SECONDS:.0f} seconds; a worker goes on"


# --- listeners --------------------------------------------------------------------------------------------------------


async def sync_listeners(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Register what is missing or leads elsewhere; how all stand afterwards. TryLater where it takes over 60 s."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            standing = await of_each(ctx, tenant, syncing.sync_listeners)
    except TimeoutError:
        raise TryLater(NOT_IN_TIME) from None
    return [listener for name, rows in standing for listener in as_listed(name, rows)]


# --- reports ----------------------------------------------------------------------------------------------------------


async def report_now(
    ctx: Context, tenant: str | None = None, campaign_id: str | None = None, kind: CampaignKind | None = None
) -> list[str]:
    """Tell Optimove all that it was not told yet, within 60 s; a sentence for what failed, was left or is in doubt.

    Beside a running worker each row still goes once. A campaign that no call can name is no failure.
    """
    wanted = None if campaign_id is None else CampaignId(campaign_id)
    left: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for name in tenants_of(ctx, tenant):
                async with ctx.store.tenant(name).transaction() as ledger:
                    known = await ledger.campaigns.counts(wanted, kind=kind)
                for campaign in known:
                    left += [
                        f"campaign {campaign.campaign_id} of {name}, channel {campaign.channel}: {sentence}"
                        for sentence in await _report(ctx, name, campaign)
                    ]
    except TimeoutError:
        left.append(NOT_IN_TIME)
    return left


async def _report(ctx: Context, tenant: TenantId, campaign: CampaignCounts) -> list[str]:
    """Tell what is left of one campaign, of all its days; what did not go well."""
    before, days = await _left_to_tell(ctx, tenant, campaign)
    if not days:
        return []
    if (tenant, campaign.channel) not in ctx.channels or (
        ctx.channel_settings(tenant, campaign.channel).channel_id(campaign.kind) is None
    ):
        return [f"its channel, or the channel's {campaign.kind}_id, is no longer in the settings"]
    left = []
    for day in days:
        try:
            await tell(ctx, tenant, day)
        except StoreUnavailable:
            raise
        except OptirelayError as error:
            left.append(str(error))
    while not left and (await _reported(ctx, tenant, campaign)).open:  # a worker may be sending some of the calls
        await asyncio.sleep(PAUSE_SECONDS / 4)
    after = await _reported(ctx, tenant, campaign)
    if (doubts := after.in_doubt_batches - before.in_doubt_batches) > 0:
        left.append(f"{doubts} calls were sent and not answered for, see `optirelay doubts list --reports`")
    if (refused := after.refused - before.refused) > 0:
        left.append(f"Optimove refused {refused} calls, see `optirelay problems list`")
    return list(dict.fromkeys(left))  # each day may fail alike


async def _left_to_tell(ctx: Context, tenant: TenantId, campaign: CampaignCounts) -> tuple[Reported, list[int]]:
    """What was told, and the days of which something is left to tell, or a call to be made or answered."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        left = {day.id for day in await ledger.looks.report_days(campaign) if day.open}
        if calls_for(ctx, ledger, campaign.channel, campaign.campaign_id):
            left.update(await ledger.reports.untold(campaign.days))
        return await ledger.reports.reported(*campaign.days), sorted(left)


async def _reported(ctx: Context, tenant: TenantId, campaign: CampaignCounts) -> Reported:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        return await ledger.reports.reported(*campaign.days)
