"""Settings tried out: clocks, our own address, keys and what they may do, channel ids, providers."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from optirelay.clock import utc_now
from optirelay.engine import syncing
from optirelay.engine.context import Context, ask
from optirelay.engine.operate.looking import Shape
from optirelay.engine.troubles import done_after_all
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError
from optirelay.model import CampaignId, CampaignKind, ChannelName, TenantId
from optirelay.optimove import (
    Forbidden,
    Unauthorized,
    get_channel_templates,
    get_customer_attribute_list,
    get_executed_campaigns_by_channel,
    get_execution_channels,
)
from optirelay.settings import ByAttribute, ChannelSettings
from optirelay.stages import recipients
from optirelay.stages.listeners import ListenerRow, ListenerState, base_url
from optirelay.store import StoreUnavailable

MAY_DIFFER_FROM_DATABASE = timedelta(seconds=1)  # a worker that is further off sends nothing
MAY_DIFFER_FROM_OPTIMOVE = timedelta(seconds=30)
NO_CAMPAIGN = 0
LISTENER_STATUS = 405  # of a GET where only Optimove's POST is expected


async def probe_online(ctx: Context) -> list[Shape]:
    """Try everything out, without changing anything; what is wrong, as `check` tells it. StoreUnavailable: the database
    is."""
    faults = await _probe_database_clock(ctx)
    for tenant in ctx.optimove:
        faults += await _probe_our_address(ctx, tenant)
        faults += await _probe_optimove(ctx, tenant)
        for channel in ctx.settings.tenants[tenant].channels.values():
            try:
                await ctx.channels[tenant, ChannelName(channel.name)].probe()
            except OptirelayError as error:
                place = channel.provider if channel.smtp or channel.webhook else "provider"
                key = f"tenants.{tenant}.channels.{channel.name}.{place}"
                faults.append(_fault(key, str(error), "Check the channel's settings and its provider"))
    return [fault for place, fault in enumerate(faults) if fault not in faults[:place]]


def _fault(key: str, problem: str, mend: str) -> Shape:
    return {"key": key, "problem": problem, "mend": mend}


# --- clocks -----------------------------------------------------------------------------------------------------------


async def _probe_database_clock(ctx: Context) -> list[Shape]:
    before = utc_now()
    async with ctx.store.measures(()) as measures:
        database = await measures.clock()
    middle = before + (utc_now() - before) / 2
    off = timedelta(seconds=middle.timestamp() - database)
    if abs(off) <= MAY_DIFFER_FROM_DATABASE:
        return []
    mend = "Set both machines' clocks (NTP); a worker on this one would send nothing"
    return [_fault("clock", f"This machine's clock is {_said(off)} the database's", mend)]


def _probe_optimoves_clock(ctx: Context, tenant: TenantId) -> Iterator[Shape]:
    """By its last answer."""
    theirs = ctx.optimove[tenant].clock
    if theirs is not None and abs(off := utc_now() - theirs) > MAY_DIFFER_FROM_OPTIMOVE:
        problem = f"This machine's clock is {_said(off)} that of tenant {tenant}'s Optimove"
        yield _fault("clock", problem, "Set this machine's clock (NTP): messages leave by it")


def _said(off: timedelta) -> str:
    return f"{abs(off).total_seconds():.1f} s {'ahead of' if off > timedelta(0) else 'behind'}"


# --- our own address --------------------------------------------------------------------------------------------------


async def _probe_our_address(ctx: Context, tenant: TenantId) -> list[Shape]:
    """Whether what Optimove calls is this service, as far as it can be seen from here."""
    from optirelay import net  # takes a while, and few commands go out

    service = ctx.settings.service
    secret = ctx.settings.tenants[tenant].listener_secrets[0].reveal()
    try:
        status = await net.status_of(base_url(service.public_url, tenant) + secret, setting="public_url")
    except net.Unreachable as error:
        mend = (
            "Start `optirelay serve`, or mend public_url and what stands between; where this machine alone cannot "
            "reach its outside address, try from outside"
        )
        return [_fault("service.public_url", f"Nobody answers at public_url: {error}", mend)]
    if status == LISTENER_STATUS:
        return []
    if status == 404:
        problem = f"What answers at public_url does not know the listener of tenant {tenant} (404)"
        mend = "Have `optirelay serve` run with these settings, and whatever stands before it pass /optimove/ on"
    else:
        problem = f"What answers at public_url is not this service: a GET of tenant {tenant}'s listener gets {status}"
        mend = "Start `optirelay serve`, and have whatever stands before it pass /optimove/ on"
    return [_fault("service.public_url", problem, mend)]


# --- Optimove ---------------------------------------------------------------------------------------------------------


async def _probe_optimove(ctx: Context, tenant: TenantId) -> list[Shape]:
    faults: list[Shape] = []
    rows: list[ListenerRow] = []
    try:
        rows = await syncing.look_at_listeners(ctx, tenant)
    except StoreUnavailable:
        raise
    except OptirelayError as error:
        faults.append(_failed(tenant, error, "Give the key the access type Integrations"))
        if not isinstance(error.__cause__, Forbidden):  # else it may do other things
            return faults
    faults += _probe_optimoves_clock(ctx, tenant)
    faults += [
        _fault(
            "service.public_url",
            f"Optimove's listener of tenant {tenant} for events of type {int(row.event_type)} is {row.state.value}",
            "Run `optirelay listeners sync`, or start `optirelay serve`",
        )
        for row in rows
        if row.state in (ListenerState.MISSING, ListenerState.MOVED)
    ]
    faults += await _probe_attributes_key(ctx, tenant)
    for channel in ctx.settings.tenants[tenant].channels.values():
        for kind in CampaignKind:
            if channel.channel_id(kind) is not None:
                faults += await _probe_channel_id(ctx, tenant, channel, kind)
    return faults


async def _probe_attributes_key(ctx: Context, tenant: TenantId) -> list[Shape]:
    """Whether the key for attributes is one with the client's own permissions, where opt-ins are told by attributes."""
    settings = ctx.settings.tenants[tenant]
    if not any(isinstance(channel.opt_in, ByAttribute) for channel in settings.channels.values()):
        return []
    try:
        await ask(ctx, tenant, get_customer_attribute_list(), tells=False, admin=True)
    except StoreUnavailable:
        raise
    except NeedsOperator as error:
        key = "api_key" if settings.admin_api_key is None else "admin_api_key"
        mend = "Write a key with the client's own permissions as admin_api_key: attributes of customers need it"
        return [_fault(f"tenants.{tenant}.{key}", str(error), mend)]
    except OptirelayError:
        pass  # it need not be answered; what matters shows when values are told
    return []


async def _probe_channel_id(
    ctx: Context, tenant: TenantId, channel: ChannelSettings, kind: CampaignKind
) -> list[Shape]:
    """Whether Optimove knows the id, and the key may do with it what we need to."""
    channel_id = channel.channel_id(kind)
    assert channel_id is not None
    place = f"tenants.{tenant}.channels.{channel.name}"
    right = f"Give the key channel id {channel_id}, if that is the right {kind}_id of channel {channel.name}"
    try:
        await ask(ctx, tenant, get_channel_templates(channel_id))
        if kind is CampaignKind.SCHEDULED:
            executed = await ask(ctx, tenant, get_executed_campaigns_by_channel(channel_id, utc_now().date()))
    except StoreUnavailable:
        raise
    except GiveUp as error:
        return [_fault(f"{place}.{kind}_id", str(error), await _which_ids(ctx, tenant))]
    except OptirelayError as error:
        return [_failed(tenant, error, right)]
    return [] if kind is not CampaignKind.SCHEDULED else await _probe_rows(ctx, tenant, channel, executed, right)


async def _probe_rows(
    ctx: Context, tenant: TenantId, channel: ChannelSettings, executed: Sequence[int], right: str
) -> list[Shape]:
    """Whether recipients can be fetched, with their attributes: one of a campaign of today; without one, of none."""
    tags = recipients.tags_of(channel, default_country=None)
    campaign_id = CampaignId(str(next(iter(executed), NO_CAMPAIGN)))
    names = ", ".join(tags.asked) or "none"
    try:
        await ask(ctx, tenant, recipients.page_call(campaign_id, channel, tags, skip=0, top=1), tells_refusal=False)
    except StoreUnavailable:
        raise
    except GiveUp as error:
        mend = f"Check that Optimove has these attributes, and the key may read them: {names}"
        key = f"tenants.{tenant}.channels.{channel.name}.personalization"
        return [_fault(key, str(error), mend)] if executed else []
    except OptirelayError as error:
        return [_failed(tenant, error, f"{right}, and the attributes {names}")]
    return []


def _failed(tenant: TenantId, error: OptirelayError, right: str) -> Shape:
    """A call that was not made, or not answered. `right` is what a key needs that may not make it."""
    if isinstance(error.__cause__, Forbidden):
        problem = f"The key may not do all that is needed: {error}"
        return _fault(f"tenants.{tenant}.api_key", problem, f"{right}, where Optimove's settings list API keys")
    if isinstance(error.__cause__, Unauthorized):
        mend = "Write the key that Optimove shows; it may have been disabled, deleted or replaced there"
        return _fault(f"tenants.{tenant}.api_key", str(error), mend)
    return _fault(f"tenants.{tenant}.api_url", str(error), "Check the address and Optimove's state")


async def _which_ids(ctx: Context, tenant: TenantId) -> str:
    """How to mend an id that Optimove does not take; with those that it knows, where this key may ask for them."""
    mend = "Write the number that Optimove told you for this channel"
    try:
        known = await ask(ctx, tenant, get_execution_channels(), tells_refusal=False)
    except StoreUnavailable:
        raise
    except OptirelayError:
        known = []
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await done_after_all(ledger, "GetExecutionChannels")  # most keys may not make it, and nobody else needs it
    listed = ", ".join(f"{row.channel_id} ({row.channel_name})" for row in known[:20])
    return f"{mend}; it has {listed}" if listed else mend
