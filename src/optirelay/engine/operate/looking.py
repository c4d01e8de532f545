"""What an operator looks at, in the JSON shapes that people script against."""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from optirelay.engine.context import Context
from optirelay.engine.offering import look_at_templates
from optirelay.engine.syncing import look_at_listeners
from optirelay.errors import NeedsOperator, OptirelayError
from optirelay.model import CampaignId, CampaignKind, ChannelName, CustomerId, TenantId
from optirelay.settings import Rate
from optirelay.stages import outcomes
from optirelay.stages.listeners import ListenerRow, without_secret
from optirelay.store import StoreUnavailable
from optirelay.store.looks import AttemptRow, EventRow, MessageRow
from optirelay.store.sids import sid_of

PATIENCE_SECONDS = 60.0  # of commands that wait until Optimove has answered everything
PAUSE_SECONDS = 1.0
_PER = {1.0: "s", 60.0: "min"}
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


# --- messages ---------------------------------------------------------------------------------------------------------


async def messages(
    ctx: Context,
    tenant: str,
    campaign_id: str,
    customer_id: str,
    channel: str | None = None,
    *,
    kind: CampaignKind | None = None,
) -> list[Shape]:
    """Every message of one campaign to one customer, on that channel or on all, of that kind or of both."""
    (name,) = tenants_of(ctx, tenant)
    wanted = None if channel is None else ChannelName(channel)
    async with ctx.store.tenant(name).transaction() as ledger:
        rows = await ledger.looks.messages(CampaignId(campaign_id), CustomerId(customer_id), wanted, kind)
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
        "kind": row.kind,
        "customer_id": row.customer_id,
        "template_id": row.template_id,
        "app_id": row.app_id,
        "trigger": row.trigger,
        "action_id": row.action_id,
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
                "kind": row.kind,
                "customer_id": row.customer_id,
                "to": None if row.address is None else masked(row.address),
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
                "kind": row.kind,
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
            "app": row.app,
            "state": row.state.value,
        }
        for name, standing in await of_each(ctx, tenant, look_at_templates)
        for channel, rows in standing.items()
        for row in rows
    ]
