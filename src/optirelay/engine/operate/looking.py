"""What an operator looks at, in the JSON shapes that people script against."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.syncing import look_at_listeners, look_at_templates
from optirelay.errors import NeedsOperator, OptirelayError
from optirelay.model import CampaignId, CampaignState, ChannelName, CustomerId, TenantId
from optirelay.settings import Rate
from optirelay.stages import metrics, outcomes
from optirelay.stages.listeners import ListenerRow, without_secret
from optirelay.store import Ledger, StoreUnavailable
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.looks import AttemptRow, EventRow, MessageRow
from optirelay.store.measures import MeasuredCampaign
from optirelay.store.sids import sid_of

EVENTS = ("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")
_PER = {1.0: "s", 60.0: "min"}
OVER = (CampaignState.COMPLETE, CampaignState.CANCELLED)
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+|\+[0-9][0-9 .()-]{6,}[0-9]")
Shape = dict[str, Any]
T = TypeVar("T")


def iso(moment: datetime | None) -> str | None:
    """A time as our JSON writes it."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def tenants_of(ctx: Context, tenant: str | None) -> list[TenantId]:
    """The tenant that is named, or all. NeedsOperator where there is none of that name."""
    if tenant is None:
        return list(ctx.optimove)
    if tenant not in ctx.settings.tenants:
        known = ", ".join(ctx.settings.tenants)
        raise NeedsOperator(f"there is no tenant {tenant} in the settings; name one of {known}")
    return [TenantId(tenant)]


# --- campaigns and messages -------------------------------------------------------------------------------------------


async def campaigns(
    ctx: Context, *, tenant: str | None = None, campaign_id: str | None = None, channel: str | None = None
) -> list[Shape]:
    """Campaigns in numbers, from batch counters and pages; oldest first within a tenant."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            wanted = None if campaign_id is None else CampaignId(campaign_id)
            known = await ledger.campaigns.counts(wanted, None if channel is None else ChannelName(channel))
            shapes += [_campaign(name, counts, await _reported(ctx, ledger, counts.id)) for counts in known]
    return shapes


async def _reported(ctx: Context, ledger: Ledger, campaign: int) -> Shape:
    """What Optimove was told; what is new after the end of the window is not told any more by itself."""
    reported = await ledger.reports.reported(campaign)
    standing = await ledger.reports.standing(campaign)
    too_late, lasts = reported.too_late, ctx.settings.tenants[ledger.tenant].report_for
    if standing.next_at is None and metrics.is_shut(standing.handed_off_at, utc_now(), lasts=lasts):
        too_late += await ledger.reports.untold_facts(campaign)
    return {
        "accepted": reported.accepted,
        "in_doubt_batches": reported.in_doubt_batches,
        "too_late": too_late,
        "last_at": iso(reported.last_at),
        "next_at": iso(standing.next_at),
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


def planned_and_sending(
    counts: CampaignCounts | MeasuredCampaign, skipped: Mapping[str, int], refused: Mapping[str, int]
) -> tuple[int, int]:
    """How many messages have not begun, and how many have and are not answered for."""
    planned = counts.total - counts.begun - sum(skipped.values())
    return planned, counts.begun - counts.accepted - counts.in_doubt - sum(refused.values())


def state_of(campaign: MeasuredCampaign) -> CampaignState:
    """Where a campaign stands."""
    return _state(campaign, *planned_and_sending(campaign, campaign.skipped, campaign.refused))


def _state(counts: CampaignCounts | MeasuredCampaign, planned: int, sending: int) -> CampaignState:
    if counts.state in (*OVER, CampaignState.PAUSED):
        return CampaignState(counts.state)
    if counts.fetching:
        return CampaignState.FETCHING
    if counts.open and (counts.held == counts.open or counts.channel_paused):
        return CampaignState.HELD
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
    async with ctx.store.tenant(name).snapshot() as ledger:
        (counts,) = await ledger.campaigns.counts(CampaignId(campaign["campaign_id"]), ChannelName(campaign["channel"]))
        rows = await ledger.campaigns.row_counts(counts.id, counts.planned_on)
        bad_batches = await ledger.campaigns.batch_faults(counts.id, counts.planned_on)
        events = await ledger.campaigns.event_counts(counts.id)
        said = _campaign(name, counts, await _reported(ctx, ledger, counts.id))
    counted: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"skipped": Counter(), "refused": Counter()}
    for row in rows:
        counted[row.state] += row.messages
        if row.state in reasons:
            reasons[row.state][row.reason or ""] += row.messages
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


async def messages(
    ctx: Context, tenant: str, campaign_id: str, customer_id: str, channel: str | None = None
) -> list[Shape]:
    """Every message of one campaign to one customer, on that channel or on all."""
    (name,) = tenants_of(ctx, tenant)
    wanted = None if channel is None else ChannelName(channel)
    async with ctx.store.tenant(name).transaction() as ledger:
        rows = await ledger.looks.messages(CampaignId(campaign_id), CustomerId(customer_id), wanted)
        attempts = {row.id: await ledger.looks.attempts(row.planned_on, row.id) for row in rows}
        events = {row.id: await ledger.looks.events(row.planned_on, row.id) for row in rows}
    return [_message(ctx, name, row, attempts[row.id], events[row.id]) for row in rows]


def _message(
    ctx: Context, tenant: TenantId, row: MessageRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow]
) -> Shape:
    tries = [{"at": iso(a.at), "outcome": a.outcome, "detail": without_addresses(a.detail)} for a in attempts]
    if row.state == "accepted":  # the ledger keeps it as the outcome alone
        tries.append({"at": iso(row.at), "outcome": "accepted", "detail": without_addresses(row.provider_id or "")})
    return {
        "sid": sid_of(ctx.store.number_of(tenant), row.planned_on, row.id),
        "tenant": tenant,
        "channel": row.channel,
        "campaign_id": row.campaign_id,
        "customer_id": row.customer_id,
        "template_id": row.template_id,
        "send_at": iso(row.send_at),
        "state": outcomes.stands(row.state, row.furthest),
        "reason": row.reason,
        "attempts": tries,
        "events": [{"event": row.event, "at": iso(row.at)} for row in events],
    }


# --- what waits for the operator --------------------------------------------------------------------------------------


async def doubts(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Every message that may have arrived, oldest first within a tenant."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            rows = await ledger.looks.doubts()
        shapes += [
            {
                "sid": sid_of(ctx.store.number_of(name), row.planned_on, row.id),
                "tenant": name,
                "channel": row.channel,
                "campaign_id": row.campaign_id,
                "customer_id": row.customer_id,
                "to": masked(row.address),
                "since": iso(row.since),
                "contract": _contract(ctx, name, row.channel),
            }
            for row in rows
        ]
    return shapes


async def report_doubts(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Every report call that Optimove may have taken, oldest first within a tenant."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            rows = await ledger.looks.report_doubts()
        shapes += [
            {
                "id": row.id,
                "tenant": name,
                "campaign_id": row.campaign_id,
                "call": row.call,
                "customers": row.customers,
                "since": iso(row.since),
            }
            for row in rows
        ]
    return shapes


def masked(address: str) -> str:
    """An address that its owner would recognise, and nobody else: a…@example.com, +33…78."""
    name, at, domain = address.rpartition("@")
    return f"{name[:1]}…{at}{domain}" if at else f"{address[:3]}…{address[-2:]}" if len(address) > 6 else "…"


def without_addresses(text: str) -> str:
    """A provider's words with every e-mail address and phone number in them masked."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def _contract(ctx: Context, tenant: TenantId, channel: ChannelName) -> str | None:
    """What a repeat does there; None where the settings no longer have the channel."""
    known = ctx.channels.get((tenant, channel))
    return None if known is None else known.contract.value


async def problems(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """What the operator is to be told, oldest first, each with its mend."""
    wanted = None if tenant is None else tenants_of(ctx, tenant)
    return [
        {
            "kind": row.kind,
            "tenant": row.tenant,
            "channel": row.channel,
            "campaign_id": row.campaign_id,
            "since": iso(row.since),
            "problem": row.problem,
            "mend": row.mend,
        }
        for row in await ctx.store.problems()
        if wanted is None or row.tenant in wanted
    ]


# --- what is set up ---------------------------------------------------------------------------------------------------


async def channels(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Every channel of the settings, and whether it waits for its provider."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            for channel in ctx.settings.tenants[name].channels.values():
                standing = await ledger.channels.standing(ChannelName(channel.name))
                shapes.append(
                    {
                        "tenant": name,
                        "channel": channel.name,
                        "kind": channel.kind,
                        "provider": channel.provider,
                        "scheduled_id": channel.scheduled_id,
                        "triggered_id": channel.triggered_id,
                        "rate": None if channel.rate is None else _rate(channel.rate),
                        "state": "stopped"
                        if standing.stopped
                        else "paused"
                        if standing.paused
                        else "waiting"
                        if standing.waits_until
                        else "ok",
                        "waits_until": iso(standing.waits_until),
                    }
                )
    return shapes


def _rate(rate: Rate) -> str:
    """As the settings spell it."""
    seconds = rate.per.total_seconds()
    return f"{rate.count}/{_PER.get(seconds, f'{seconds:g}s')}"


async def of_each(
    ctx: Context, tenant: str | None, ask: Callable[[Context, TenantId], Awaitable[T]]
) -> list[tuple[TenantId, T]]:
    """Ask the Optimove of each tenant. NeedsOperator names those that failed, once all were asked."""
    answers, faults = [], []
    for name in tenants_of(ctx, tenant):
        try:
            answers.append((name, await ask(ctx, name)))
        except StoreUnavailable:
            raise
        except OptirelayError as error:
            faults.append(f"tenant {name}: {error}")
    if faults:
        raise NeedsOperator("\n".join(faults))
    return answers


async def listeners(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """How listeners stand at Optimove, ours and others', their secrets masked."""
    return [
        listener for name, rows in await of_each(ctx, tenant, look_at_listeners) for listener in as_listed(name, rows)
    ]


def as_listed(tenant: TenantId, rows: Sequence[ListenerRow]) -> list[Shape]:
    """A tenant's listeners, their secrets masked."""
    return [
        {
            "tenant": tenant,
            "channel": row.channel,
            "event_type": int(row.event_type),
            "channel_id": row.channel_id,
            "url": without_secret(row.url),
            "state": row.state.value,
        }
        for row in rows
    ]


async def templates(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """How templates stand at Optimove, ours and others'."""
    return [
        {
            "tenant": name,
            "channel": channel,
            "template_id": row.template_id,
            "name": row.name,
            "key": row.key,
            "state": row.state.value,
        }
        for name, standing in await of_each(ctx, tenant, look_at_templates)
        for channel, rows in standing.items()
        for row in rows
    ]
