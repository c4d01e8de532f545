"""Campaigns in numbers: each one entry, all days of a triggered one added up, and counted again by rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.operate.looking import Shape, iso, tenants_of
from optirelay.engine.reporting import calls_for
from optirelay.model import CampaignId, CampaignKind, CampaignState, ChannelName, TenantId
from optirelay.stages import metrics
from optirelay.store import Ledger
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.measures import MeasuredCampaign

EVENTS = ("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")
OVER = (CampaignState.COMPLETE, CampaignState.CANCELLED)
_UNNAMEABLE = (
    "Optimove's metrics and interactions name a campaign by its number, and this id is none; with the tenant's setting "
    'report = "save_event" or "both" it is told by events'
)
Counted = CampaignCounts | MeasuredCampaign


async def campaigns(
    ctx: Context,
    *,
    tenant: str | None = None,
    campaign_id: str | None = None,
    channel: str | None = None,
    kind: CampaignKind | None = None,
) -> list[Shape]:
    """Campaigns in numbers, from batch counters and pages; oldest first within a tenant. All days of a triggered
    campaign are one entry."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            wanted = None if campaign_id is None else CampaignId(campaign_id)
            known = await ledger.campaigns.counts(wanted, None if channel is None else ChannelName(channel), kind)
            shapes += [_campaign(name, counts, await _reported(ctx, ledger, counts)) for counts in known]
    return shapes


async def _reported(ctx: Context, ledger: Ledger, campaign: CampaignCounts) -> Shape:
    """What Optimove was told, of all days; `why` says why it is told nothing, where no call can name the campaign."""
    reported = await ledger.reports.reported(*campaign.days)
    days = await ledger.looks.report_days(campaign)
    why = {}
    too_late = reported.too_late
    if calls_for(ctx, ledger, campaign.channel, campaign.campaign_id):
        # What is new after the end of a window is not told any more by itself.
        now, lasts = utc_now(), ctx.settings.tenants[ledger.tenant].report_for
        shut = [day.id for day in days if day.next_at is None and metrics.is_shut(day.handed_off_at, now, lasts=lasts)]
        for day in await ledger.reports.untold(shut):
            too_late += await ledger.reports.untold_facts(day)
    elif (channel := ctx.channels.get((ledger.tenant, campaign.channel))) is None or channel.reported:
        why = {"why": _UNNAMEABLE}
    return {
        "accepted": reported.accepted,
        "in_doubt_batches": reported.in_doubt_batches,
        "too_late": too_late,
        "last_at": iso(reported.last_at),
        "next_at": iso(min((day.next_at for day in days if day.next_at is not None), default=None)),
        **why,
    }


def _campaign(tenant: TenantId, counts: CampaignCounts, reported: Shape) -> Shape:
    skipped, refused = _summed(counts.skipped), _summed(counts.refused)
    planned, sending = planned_and_sending(counts, skipped, refused)
    state = _state(counts, planned, sending)
    ended = counts.accepted + sum(skipped.values()) + sum(refused.values()) + counts.in_doubt
    accepted_by_template: Counter[str] = Counter()
    for template_id, accepted in counts.templates:
        accepted_by_template[str(template_id)] += accepted
    return {
        "tenant": tenant,
        "channel": counts.channel,
        "campaign_id": counts.campaign_id,
        "kind": counts.kind,
        "state": state,
        "found_by": "sweep" if counts.swept else "notification",
        "handed_over": counts.handed_over,
        "planned": planned,
        "sending": sending,
        "accepted": counts.accepted,
        "skipped": skipped,
        "refused": refused,
        "in_doubt": counts.in_doubt,
        "balanced": state in OVER and not planned and not sending and counts.handed_over == ended,
        "events": {kind: counts.events.get(kind, 0) for kind in EVENTS},
        "templates": {name: {"accepted": number} for name, number in sorted(accepted_by_template.items())},
        "reported": reported,
    }


def planned_and_sending(counts: Counted, skipped: Mapping[str, int], refused: Mapping[str, int]) -> tuple[int, int]:
    """How many messages have not begun, and how many have and are not answered for."""
    planned = counts.total - counts.begun - sum(skipped.values())
    return planned, counts.begun - counts.accepted - counts.in_doubt - sum(refused.values())


def state_of(campaign: MeasuredCampaign) -> CampaignState:
    """Where a campaign stands."""
    return _state(campaign, *planned_and_sending(campaign, campaign.skipped, campaign.refused))


def _state(counts: Counted, planned: int, sending: int) -> CampaignState:
    triggered = counts.kind == CampaignKind.TRIGGERED
    if counts.state in (CampaignState.CANCELLED, CampaignState.PAUSED):
        return CampaignState(counts.state)
    if counts.state == CampaignState.COMPLETE and not triggered:  # of a triggered one a day is, and more may come
        return CampaignState.COMPLETE
    if counts.fetching:
        return CampaignState.FETCHING
    if counts.open and (counts.held == counts.open or counts.channel_paused):
        return CampaignState.HELD
    if triggered:
        return CampaignState.SENDING if planned or sending else CampaignState.COMPLETE
    if planned and not sending and counts.next_due_at is not None and counts.next_due_at > utc_now():
        return CampaignState.WAITING
    return CampaignState.SENDING


def _summed(by_batch: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for reasons in by_batch:
        total.update(reasons)
    return dict(sorted(total.items()))


async def audit(ctx: Context, tenant: str, campaign: Shape) -> list[str]:
    """Count a campaign's rows again; a sentence for each number that differs from its counters or pages.

    `campaign` is one entry of `campaigns`; its counters and pages are read anew, at the same moment as its rows.
    """
    (name,) = tenants_of(ctx, tenant)
    wanted = (CampaignId(campaign["campaign_id"]), ChannelName(campaign["channel"]), CampaignKind(campaign["kind"]))
    counted: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"skipped": Counter(), "refused": Counter()}
    events: Counter[str] = Counter()
    bad_batches: list[int] = []
    async with ctx.store.tenant(name).snapshot() as ledger:
        (counts,) = await ledger.campaigns.counts(*wanted)
        for day, planned_on in zip(counts.days, counts.planned_on, strict=True):
            for row in await ledger.campaigns.row_counts(day, planned_on):
                counted[row.state] += row.messages
                if row.state in reasons:
                    reasons[row.state][row.reason or ""] += row.messages
            bad_batches += await ledger.campaigns.batch_faults(day, planned_on)
            events.update(await ledger.campaigns.event_counts(day))
        said = _campaign(name, counts, await _reported(ctx, ledger, counts))
    by_rows: dict[str, Any] = {state: counted[state] for state in ("planned", "sending", "accepted", "in_doubt")}
    by_rows |= {state: dict(sorted(by.items())) for state, by in reasons.items()}
    by_rows["handed_over"] = sum(counted.values())
    by_rows["events"] = {kind: events.get(kind, 0) for kind in EVENTS}
    faults = [f"batch {number}: its counters differ from its rows" for number in bad_batches]
    return faults + [
        f"{what}: {number} by rows, {said[what]} by counters and pages"
        for what, number in by_rows.items()
        if number != said[what]
    ]
