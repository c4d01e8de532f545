"""What an operator decides: campaigns and channels stopped and let go on, doubts resolved, refusals tried again.

Each decision is kept in the audit table, with the account and the time, in the transaction that carries it out.
"""

import os
import pwd
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.operate.counting import OVER
from optirelay.engine.operate.looking import tenants_of
from optirelay.engine.settle import go_again
from optirelay.errors import NeedsOperator
from optirelay.model import (
    Accepted,
    CampaignId,
    CampaignKind,
    CampaignState,
    ChannelName,
    ProblemKind,
    Refusal,
    Refused,
    TenantId,
)
from optirelay.settings import ChannelSettings
from optirelay.stages import sending
from optirelay.store import Ledger
from optirelay.store.batches import Again, Attempt, LockedBatch
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.looks import DoubtRow
from optirelay.store.sids import BadSid, read_sid, sid_of

EXPIRES = {False: "expire_after", True: "expire_triggered_after"}  # by whether it is triggered: the setting


class Decision(StrEnum):
    """What the operator says of something in doubt."""

    SENT = "sent"  # it arrived
    RESEND = "resend"  # it did not, or twice does no harm: once more
    GIVE_UP = "give_up"  # it did not arrive and is not to


@dataclass(slots=True)
class Resolved:
    """What a decision did."""

    done: int = 0
    left: list[str] = field(default_factory=list)  # a sentence for what it could not be carried out for


# --- stop and go ------------------------------------------------------------------------------------------------------


async def pause_campaign(
    ctx: Context, tenant: str, campaign_id: str, channel: str, *, kind: CampaignKind = CampaignKind.SCHEDULED
) -> bool:
    """Nothing more of it leaves; what has begun is finished. False where it is paused.

    NeedsOperator where it is over: a scheduled one that is complete, any that is cancelled.
    """
    async with _open_campaign(ctx, tenant, campaign_id, channel, kind) as (ledger, campaign):
        changed = await ledger.campaigns.pause(campaign.id)
        await _keep(ledger, "pause campaign", campaign, changed=changed)
    return changed


async def resume_campaign(
    ctx: Context, tenant: str, campaign_id: str, channel: str, *, kind: CampaignKind = CampaignKind.SCHEDULED
) -> bool:
    """It goes on. False where it is not paused; NeedsOperator where it is over."""
    async with _open_campaign(ctx, tenant, campaign_id, channel, kind) as (ledger, campaign):
        changed = await ledger.campaigns.resume(campaign.id)
        await ledger.batches.wake_senders()
        await _keep(ledger, "resume campaign", campaign, changed=changed)
    return changed


async def cancel_campaign(
    ctx: Context, tenant: str, campaign_id: str, channel: str, *, kind: CampaignKind = CampaignKind.SCHEDULED
) -> None:
    """Nothing more of it leaves, for good, on this channel; what is left, and what comes later of a triggered one, is
    skipped. NeedsOperator where it is over."""
    async with _open_campaign(ctx, tenant, campaign_id, channel, kind) as (ledger, campaign):
        left = await ledger.campaigns.cancel_one(campaign.id)
        for day in left:
            await pipeline.call_off.put(ledger, campaign=day)
        await _keep(ledger, "cancel campaign", campaign, changed=True)
    for day in left:
        await pipeline.call_off.run(ctx, TenantId(tenant), campaign=day)  # beside a worker that does it, too


async def pause_channel(ctx: Context, tenant: str, channel: str) -> bool:
    """Nothing more of any campaign leaves by it; what has begun is finished. False where it is paused."""
    async with _ledger(ctx, tenant) as ledger:
        changed = await ledger.channels.pause(_known_channel(ctx, tenant, channel))
        if changed:
            await ledger.audit.keep("pause channel", [channel], account=account())
    return changed


async def resume_channel(ctx: Context, tenant: str, channel: str) -> bool:
    """It goes on, whether an operator paused it or its provider stopped it. False where neither was so."""
    async with _ledger(ctx, tenant) as ledger:
        name = _known_channel(ctx, tenant, channel)
        paused, stopped = await ledger.channels.resume(name), await ledger.channels.start_again(name)
        changed = paused or stopped
        await ledger.problems.mended(ProblemKind.CHANNEL_STOPPED, channel=channel)
        await ledger.batches.wake_senders()
        if changed:
            await ledger.audit.keep("resume channel", [channel], account=account())
    return changed


async def retry_refused(
    ctx: Context, tenant: str, campaign_id: str, channel: str, *, kind: CampaignKind = CampaignKind.SCHEDULED
) -> tuple[int, int]:
    """Refused messages go again, with their template as it is now; how many do, and how many are too late.

    Never what was accepted, is in doubt or was given up. NeedsOperator where the campaign was cancelled.
    """
    async with _ledger(ctx, tenant) as ledger:
        campaign = await _counts(ledger, campaign_id, channel, kind)
        if campaign.state == CampaignState.CANCELLED:
            raise NeedsOperator(f"campaign {campaign_id} was cancelled; nothing of it is sent any more")
        batches = [number for day in campaign.days for number in await ledger.batches.with_refusals(day)]
    again = late = 0
    for number in batches:
        async with _ledger(ctx, tenant) as ledger:
            batch = await ledger.batches.lock(number)
            assert batch is not None
            moved = await _retry_batch(ctx, ledger, batch)
            again += moved
            late += sum(n for reason, n in batch.refused.items() if reason != Refusal.GIVEN_UP)
    if again:
        async with _ledger(ctx, tenant) as ledger:
            await _keep(ledger, "retry refused", campaign, changed=True)
    return again, late


async def _retry_batch(ctx: Context, ledger: Ledger, batch: LockedBatch) -> int:
    now = utc_now()
    sent_after = _sent_after(ctx, ledger, batch, ctx.channel_settings(ledger.tenant, batch.channel), now)
    undone = await ledger.batches.undo_refusals(batch, sent_after=sent_after)
    await go_again(ledger, batch, undone, Again(now, tries=0, first_tried_at=None, repeats=batch.repeats, newest=True))
    await pipeline.write_batch(ctx, ledger, batch)
    return len(undone)


def _sent_after(ctx: Context, ledger: Ledger, batch: LockedBatch, channel: ChannelSettings, now: datetime) -> datetime:
    """Messages of the batch with a later send time have not expired."""
    expire_after = channel.expire_triggered_after if batch.triggered else channel.expire_after
    return sending.sent_after(now, expire_after, ctx.quiet(ledger.tenant, batch.channel))


# --- doubts -----------------------------------------------------------------------------------------------------------


async def resolve_doubts(
    ctx: Context,
    decision: Decision,
    reason: str,
    *,
    tenant: str | None = None,
    sids: Sequence[str] = (),
    campaign_id: str | None = None,
    kind: CampaignKind | None = None,
) -> Resolved:
    """Messages in doubt become what the operator says: those named, those of a campaign, of that kind or of both, or
    all of them."""
    resolved = Resolved()
    wanted = dict.fromkeys(sids)
    for sid in list(wanted):
        try:
            read_sid(sid)
        except BadSid:
            resolved.left.append(f"{sid} is no sid; `optirelay doubts list` tells them")
            del wanted[sid]
    for name in tenants_of(ctx, tenant):
        async with _ledger(ctx, name) as ledger:
            rows = await ledger.looks.doubts()
        by_batch: dict[int, list[DoubtRow]] = {}
        for row in rows:
            sid = sid_of(ctx.store.number_of(name), row.planned_on, row.id)
            named = sid in wanted if sids else campaign_id in (None, row.campaign_id) and kind in (None, row.kind)
            wanted.pop(sid, None)
            if named:
                by_batch.setdefault(row.batch, []).append(row)
        for number, of_batch in by_batch.items():
            async with _ledger(ctx, name) as ledger:
                await _resolve_batch(ctx, ledger, number, [row.id for row in of_batch], decision, reason, resolved)
    resolved.left += [f"{sid} is not in doubt" for sid in wanted]
    return resolved


async def _resolve_batch(
    ctx: Context,
    ledger: Ledger,
    number: int,
    messages: Sequence[int],
    decision: Decision,
    reason: str,
    resolved: Resolved,
) -> None:
    batch = await ledger.batches.lock(number)
    assert batch is not None
    doubts = await ledger.batches.doubts_in(batch, messages)
    if decision is Decision.RESEND:
        addressed = await ledger.batches.doubts_in(batch, messages, addressed=True)
        if gone := len(doubts) - len(addressed):
            resolved.left.append(
                f"{gone} messages stay in doubt: whom they were for was erased; use --sent or --give-up"
            )
        doubts = _to_send_again(ctx, ledger, batch, addressed, resolved)
    if not doubts:
        return
    now = utc_now()
    match decision:
        case Decision.SENT:
            await ledger.batches.settle(batch, dict.fromkeys(doubts, Accepted()), now)
        case Decision.GIVE_UP:
            await ledger.batches.settle(batch, dict.fromkeys(doubts, Refused(Refusal.GIVEN_UP)), now)
        case Decision.RESEND:
            await ledger.batches.undo_doubts(batch, list(doubts))
            await go_again(ledger, batch, list(doubts), Again(now, 0, None, repeats=batch.repeats + 1))
    words = f"{decision.value}, says {account()}: {reason}"
    await ledger.batches.keep_attempts(batch, [Attempt(message, now, "resolved", words) for message in doubts])
    tenant = ctx.store.number_of(ledger.tenant)
    sids = [sid_of(tenant, batch.planned_on, message) for message in doubts]
    await ledger.audit.keep(f"resolve {decision.value}", sids, account=account(), reason=reason)
    await pipeline.write_batch(ctx, ledger, batch)
    resolved.done += len(doubts)


def _to_send_again(
    ctx: Context, ledger: Ledger, batch: LockedBatch, doubts: Mapping[int, datetime], resolved: Resolved
) -> dict[int, datetime]:
    """Those that may still leave."""
    known = ctx.settings.tenants[ledger.tenant].channels.get(batch.channel)
    why = None
    if known is None:
        why = f"channel {batch.channel} is no longer in the settings"
    elif batch.campaign_state == CampaignState.CANCELLED:
        why = f"campaign {batch.campaign_id} was cancelled"
    if known is None or why is not None:
        resolved.left.append(f"{len(doubts)} messages stay in doubt: {why}; use --sent or --give-up")
        return {}
    limit = _sent_after(ctx, ledger, batch, known, utc_now())
    timely = {message: at for message, at in doubts.items() if at > limit}
    if len(timely) < len(doubts):
        resolved.left.append(
            f"{len(doubts) - len(timely)} messages of campaign {batch.campaign_id} stay in doubt: they are older than "
            f"{EXPIRES[batch.triggered]}; use --sent or --give-up"
        )
    return timely


async def resolve_reports(
    ctx: Context, decision: Decision, reason: str, numbers: Sequence[int], *, tenant: str | None = None
) -> Resolved:
    """Report calls in doubt become what the operator says; one to be sent again goes exactly as it was frozen."""
    resolved = Resolved()
    states = {Decision.SENT: "answered", Decision.RESEND: "ready", Decision.GIVE_UP: "refused"}
    words = f"{decision.value}, says {account()}: {reason}"
    for number in dict.fromkeys(numbers):
        for name in tenants_of(ctx, tenant):
            async with _ledger(ctx, name) as ledger:
                campaign = await ledger.reports.resolve(number, states[decision], words)
                if campaign is None:
                    continue
                if decision is Decision.RESEND:
                    await pipeline.report.put(ledger, campaign=campaign)
                await ledger.problems.mended(ProblemKind.REPORT_IN_DOUBT, subject=str(number))
                await ledger.audit.keep(
                    f"resolve {decision.value}", [f"report {number}"], account=account(), reason=reason
                )
                resolved.done += 1
                break
        else:
            resolved.left.append(f"report {number} is not in doubt")
    return resolved


# --- shared -----------------------------------------------------------------------------------------------------------


def account() -> str:
    """Whose process this is: what the audit table names."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number without a name
        return str(os.getuid())


def _ledger(ctx: Context, tenant: str) -> AbstractAsyncContextManager[Ledger]:
    (name,) = tenants_of(ctx, tenant)
    return ctx.store.tenant(name).transaction()


@asynccontextmanager
async def _open_campaign(
    ctx: Context, tenant: str, campaign_id: str, channel: str, kind: CampaignKind
) -> AsyncIterator[tuple[Ledger, CampaignCounts]]:
    """One that is not over; more may come of a triggered one as long as it is not cancelled."""
    async with _ledger(ctx, tenant) as ledger:
        campaign = await _counts(ledger, campaign_id, channel, kind)
        over = OVER if kind == CampaignKind.SCHEDULED else (CampaignState.CANCELLED,)
        if campaign.state in over:
            raise NeedsOperator(f"campaign {campaign_id} is {campaign.state}; nothing of it is left to send")
        yield ledger, campaign


async def _counts(ledger: Ledger, campaign_id: str, channel: str, kind: CampaignKind) -> CampaignCounts:
    (campaign,) = await ledger.campaigns.counts(CampaignId(campaign_id), ChannelName(channel), kind)
    return campaign


async def _keep(ledger: Ledger, action: str, campaign: CampaignCounts, *, changed: bool) -> None:
    if changed:
        kind = f" ({campaign.kind})" if campaign.kind == CampaignKind.TRIGGERED else ""
        await ledger.audit.keep(action, [f"{campaign.campaign_id} on {campaign.channel}{kind}"], account=account())


def _known_channel(ctx: Context, tenant: str, channel: str) -> ChannelName:
    known = ctx.settings.tenants[tenant].channels
    if channel not in known:
        raise NeedsOperator(f"tenant {tenant} has no channel {channel}; name one of {', '.join(known)}")
    return ChannelName(channel)
