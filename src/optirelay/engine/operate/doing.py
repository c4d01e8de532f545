"""What an operator has done: templates pushed, listeners registered, reports sent, settings tried out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import syncing
from optirelay.engine.context import Context, ask
from optirelay.engine.operate.looking import Shape, as_listed, of_each, tenants_of
from optirelay.engine.reporting import calls_for, tell
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError, TryLater
from optirelay.model import CampaignId, CampaignKind, ChannelKind, ChannelName, CustomerId, Message, Sid, TenantId
from optirelay.optimove import get_channel_templates
from optirelay.settings import ChannelSettings
from optirelay.stages import templates
from optirelay.stages.listeners import ListenerState
from optirelay.store import StoreUnavailable
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.reports import Reported

PATIENCE_SECONDS = 60.0  # of commands that wait until Optimove has answered everything
PAUSE_SECONDS = 1.0
SAMPLE_LINK = "https://relay.example.com/u/sample"
NOT_IN_TIME = f"Optimove has not answered everything within {PATIENCE_SECONDS:.0f} seconds; a worker goes on"


# --- templates --------------------------------------------------------------------------------------------------------


class BadTemplates(NeedsOperator):
    """Files that cannot be pushed; a line for each fault. Nothing was stored."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    stored: int  # templates whose content is new
    unchanged: int
    warnings: Sequence[str]
    behind: Sequence[str]  # what Optimove's list still lacks; empty: it is equal to ours


async def push_templates(ctx: Context, tenant: str, files: Mapping[str, bytes]) -> Pushed:
    """Store a directory's templates (file name: bytes), then have Optimove's list hold them, within 60 s.

    All or nothing: BadTemplates with every fault of every file. A worker goes on where the time is over.
    """
    (name,) = tenants_of(ctx, tenant)
    channels = ctx.settings.tenants[name].channels
    found = _read(files, channels)
    warnings = [warning for template, used in found for warning in _warnings(template, used, channels)]
    warnings += [warning for template, _ in found for warning in _trial(template, channels)]
    stored = 0
    async with ctx.store.tenant(name).transaction() as ledger:
        for template, _ in found:
            for channel in template.channels:
                stored += await syncing.keep_template(
                    ledger,
                    ChannelName(channel),
                    template.template_id,
                    key=template.key,
                    name=template.name,
                    content=template.content,
                )
        await pipeline.sync.put(ledger)
    pushed = sum(len(template.channels) for template, _ in found)
    behind = await _until_equal(ctx, name) if channels else []
    return Pushed(stored, pushed - stored, warnings, behind)


Used = tuple[templates.TemplateFile, Sequence[str]]
"""A template and the names that it looks up."""


def _read(files: Mapping[str, bytes], channels: Mapping[str, ChannelSettings]) -> list[Used]:
    """The templates of a directory. BadTemplates with all that is wrong with any of them, Liquid included."""
    from optirelay.stages import content  # takes a fifth of a second, and most commands make no messages

    faults: list[str] = []
    found: list[Used] = []
    try:
        readable = templates.read_directory(files, {name: channel.kind for name, channel in channels.items()})
    except templates.BadTemplateFile as bad:
        faults += bad.faults
        readable = _readable(files)
    for template in readable:
        names: set[str] = set()
        for kind in _by_kind(template, channels):
            try:
                names.update(content.check(template.content, kind))
            except content.BadTemplate as bad:
                faults += [f"{template.key}{templates.ENDING}: {fault}" for fault in bad.faults]
        found.append((template, sorted(names)))
    if faults:
        raise BadTemplates("\n".join(dict.fromkeys(faults)))
    return found


def _by_kind(
    template: templates.TemplateFile, channels: Mapping[str, ChannelSettings]
) -> Mapping[ChannelKind, ChannelSettings]:
    """A channel for each kind that the template is for."""
    return {channels[name].kind: channels[name] for name in template.channels if name in channels}


def _readable(files: Mapping[str, bytes]) -> list[templates.TemplateFile]:
    """Those that can be read by themselves, so that faults in their Liquid are told along with the others."""
    readable = []
    for file_name in sorted(name for name in files if name.endswith(templates.ENDING)):
        text_name = file_name.removesuffix(templates.ENDING) + templates.TEXT_ENDING
        try:
            readable.append(templates.read_template_file(file_name, files[file_name], files.get(text_name)))
        except templates.BadTemplateFile:
            continue
    return readable


def _warnings(
    template: templates.TemplateFile, used: Sequence[str], channels: Mapping[str, ChannelSettings]
) -> list[str]:
    """Names that a channel has no value for. The address is none of them unless its personalization asks for it."""
    looked_up = [*used, *template.content.required]
    unknown = {
        name: templates.unknown_names(looked_up, channels[name].personalization)
        for name in template.channels
        if channels[name].triggered_id is None  # else it may be a parameter of any event
    }
    return [
        f"{template.key}{templates.ENDING}: {', '.join(names)}: neither built in nor in the personalization of channel "
        f"{name}; renders as nothing there, unless that asks for it"
        for name, names in unknown.items()
        if names
    ]


def _trial(template: templates.TemplateFile, channels: Mapping[str, ChannelSettings]) -> list[str]:
    """What goes wrong for somebody whose every value is its own name: loops without end, above all."""
    from optirelay.stages import content  # likewise

    wrong = []
    for kind, channel in _by_kind(template, channels).items():
        values = {name: name for name in channel.personalization}
        somebody = Message(0, Sid("s_trial"), CustomerId("trial"), "trial@example.com", utc_now(), values)
        try:
            content.prepare(template.content, default_sender=channel.sender, kind=kind).render(
                somebody,
                campaign_id=CampaignId("0"),
                template_id=template.template_id,
                at=utc_now(),
                unsubscribe_url=SAMPLE_LINK,
            )
        except content.CannotRender as error:
            wrong.append(f"{template.key}{templates.ENDING}: with a sample recipient it cannot be rendered: {error}")
    return wrong


async def _until_equal(ctx: Context, tenant: TenantId) -> list[str]:
    """Sync until Optimove's list holds all that is ours, or the time is over; what is left then."""
    behind = ["Optimove has not answered yet"]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while behind:
                behind = await _sync_once(ctx, tenant)
                if behind:
                    await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        pass
    except (NeedsOperator, GiveUp) as error:  # the same again would be refused again
        behind = [str(error)]
    return behind


async def _sync_once(ctx: Context, tenant: TenantId) -> list[str]:
    try:
        standing = await syncing.sync_templates(ctx, tenant)
    except (StoreUnavailable, NeedsOperator, GiveUp):
        raise
    except OptirelayError as error:
        return [str(error)]
    return syncing.behind(standing)


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


# --- settings, tried out ----------------------------------------------------------------------------------------------


async def probe_online(ctx: Context) -> list[Shape]:
    """Try keys, listeners and providers out; what is wrong, as `check` tells it. StoreUnavailable: the database is."""
    faults: list[Shape] = []
    for name in ctx.optimove:
        faults += await _probe_optimove(ctx, name)
        for channel in ctx.settings.tenants[name].channels.values():
            key = f"tenants.{name}.channels.{channel.name}"
            try:
                await ctx.channels[name, ChannelName(channel.name)].probe()
            except OptirelayError as error:
                place = channel.provider if channel.smtp or channel.webhook else "provider"
                faults.append(_fault(f"{key}.{place}", str(error), "Check the channel's settings and its provider"))
    return faults


async def _probe_optimove(ctx: Context, tenant: TenantId) -> list[Shape]:
    key = f"tenants.{tenant}"
    try:
        rows = await syncing.look_at_listeners(ctx, tenant)
    except StoreUnavailable:
        raise
    except NeedsOperator as error:
        return [_fault(f"{key}.api_key", str(error), "Check the key and what it may do")]
    except OptirelayError as error:
        return [_fault(f"{key}.api_url", str(error), "Check the address and Optimove's state")]
    faults = [
        _fault(
            "service.public_url",
            f"Optimove's listener of tenant {tenant} for events of type {int(row.event_type)} is {row.state.value}",
            "Run `optirelay listeners sync`, or start `optirelay serve`",
        )
        for row in rows
        if row.state in (ListenerState.MISSING, ListenerState.MOVED)
    ]
    for channel in ctx.settings.tenants[tenant].channels.values():
        for kind in CampaignKind:
            if (channel_id := channel.channel_id(kind)) is None:
                continue
            try:
                await ask(ctx, tenant, get_channel_templates(channel_id))
            except StoreUnavailable:
                raise
            except OptirelayError as error:
                setting = f"{key}.channels.{channel.name}.{kind}_id"
                faults.append(_fault(setting, str(error), "Check the number, and what the key may do"))
    return faults


def _fault(key: str, problem: str, mend: str) -> Shape:
    return {"key": key, "problem": problem, "mend": mend}
