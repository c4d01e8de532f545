"""Templates as an operator handles them: pushed, brought in step, compared and previewed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import offering
from optirelay.engine.context import Context
from optirelay.engine.grouping import grouped
from optirelay.engine.operate.looking import PATIENCE_SECONDS, PAUSE_SECONDS, Shape, of_each, tenants_of
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError
from optirelay.model import (
    CampaignId,
    CampaignKind,
    ChannelKind,
    ChannelName,
    CustomerId,
    Fired,
    Message,
    Sid,
    TemplateContent,
    TemplateId,
    TenantId,
)
from optirelay.settings import ChannelSettings
from optirelay.stages import templates
from optirelay.stages.template_lists import Step
from optirelay.store import Ledger, StoreUnavailable

SAMPLE_LINK = "https://relay.example.com/u/sample"


class BadTemplates(NeedsOperator):
    """Files that cannot be pushed; a line for each fault. Nothing was stored."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    stored: int  # templates whose content is new
    unchanged: int
    dropped: int  # templates that are not ours any more
    warnings: Sequence[str]
    behind: Sequence[str]  # what Optimove's list still lacks, or holds too much; empty: it is equal to ours


async def push_templates(ctx: Context, tenant: str, files: Mapping[str, bytes], *, prune: bool = False) -> Pushed:
    """Store a directory's templates (file name: bytes), then have Optimove's list hold them, within 60 s.

    `prune`: those of ours that the directory does not have are ours no longer. All or nothing: BadTemplates with every
    fault of every file. A worker goes on where the time is over.
    """
    (name,) = tenants_of(ctx, tenant)
    channels = ctx.settings.tenants[name].channels
    found = _read(files, channels)
    warnings = [warning for template, used in found for warning in _warnings(template, used, channels)]
    warnings += [warning for template, _ in found for warning in _trial(template, channels)]
    stored = dropped = 0
    async with ctx.store.tenant(name).transaction() as ledger:
        for template, _ in found:
            for channel in template.channels:
                stored += await offering.keep_template(
                    ledger,
                    ChannelName(channel),
                    template.template_id,
                    key=template.key,
                    name=template.name,
                    content=_fit(template.content, channels[channel].kind),
                )
        if prune:
            dropped = await _drop_others(ledger, [template for template, _ in found])
        await pipeline.sync.put(ledger)
    pushed = sum(len(template.channels) for template, _ in found)
    behind = await _until_equal(ctx, name) if channels else []
    return Pushed(stored, pushed - stored, dropped, warnings, behind)


def _fit(content: TemplateContent, kind: ChannelKind) -> TemplateContent:
    """What a channel of this kind has of it: apps are those of push channels."""
    return content if kind is ChannelKind.PUSH else replace(content, app=None)


async def _drop_others(ledger: Ledger, files: Sequence[templates.TemplateFile]) -> int:
    """Our templates that no file is of are ours no longer; how many."""
    kept = {(ChannelName(channel), template.template_id) for template in files for channel in template.channels}
    gone = [t for t in await ledger.templates.all() if not t.dropped and (t.channel, t.template_id) not in kept]
    for channel, of_channel in grouped(gone, lambda template: template.channel):
        await ledger.templates.drop(channel, [template.template_id for template in of_channel])
    return len(gone)


Used = tuple[templates.TemplateFile, Sequence[str]]
"""A template and the names that it looks up."""


def _read(files: Mapping[str, bytes], channels: Mapping[str, ChannelSettings]) -> list[Used]:
    """The templates of a directory. BadTemplates with all that is wrong with any of them, Liquid included."""
    from optirelay.stages import content  # takes a fifth of a second, and most commands make no messages

    faults: list[str] = []
    found: list[Used] = []
    try:
        kinds = {name: channel.kind for name, channel in channels.items()}
        readable = templates.read_directory(files, kinds, {name: channel.apps for name, channel in channels.items()})
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
        # else it may be a parameter of any event, or what a contact has
        if channels[name].triggered_id is None and channels[name].address_attribute is not None
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


# --- in step ----------------------------------------------------------------------------------------------------------


async def _until_equal(ctx: Context, tenant: TenantId, *, prune: bool = False, force: bool = False) -> list[str]:
    """Sync until Optimove's list is equal to ours, or the time is over; a sentence for each template that is left."""
    left = ["Optimove has not answered yet"]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while left:
                left, kept = await _sync_once(ctx, tenant, prune=prune, force=force)
                if not left:
                    return kept
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        pass
    except (NeedsOperator, GiveUp) as error:  # the same again would be refused again
        left = [str(error)]
    return left


async def _sync_once(ctx: Context, tenant: TenantId, *, prune: bool, force: bool) -> tuple[list[str], list[str]]:
    """What is to be tried again, and what stays for a campaign's sake."""
    try:
        standing = await offering.sync_templates(ctx, tenant, prune=prune, force=force)
    except (StoreUnavailable, NeedsOperator, GiveUp):
        raise
    except OptirelayError as error:
        return [str(error)], []
    return offering.behind(standing), offering.waiting(standing, prune=prune)


async def sync_templates(
    ctx: Context, tenant: str | None = None, *, prune: bool = False, force: bool = False
) -> list[str]:
    """Bring Optimove's lists in step within 60 s; a sentence for each template that is left as it should not be.

    `prune`: templates that were never ours go, too. `force`: also what a running campaign needs.
    """
    left = []
    for name in tenants_of(ctx, tenant):
        left += [f"tenant {name}: {sentence}" for sentence in await _until_equal(ctx, name, prune=prune, force=force)]
    return left


async def templates_diff(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """What differs between us and Optimove, in each of its lists, and what a sync does about it."""
    return [
        {
            "tenant": name,
            "channel": one.channel,
            "channel_id": one.channel_id,
            "template_id": state.template_id,
            "ours": None if state.key is None else state.name,
            "optimove": state.listed,
            "app": state.app,
            "sync": step.value,
        }
        for name, standing in await of_each(ctx, tenant, offering.look_at_lists)
        for one in standing
        for state in one.states
        if (step := one.step_of(state)) is not Step.NONE
    ]


# --- previews ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preview:
    """What somebody would get."""

    sender: str
    subject: str
    text: str
    html: str | None


@dataclass(frozen=True)
class Person:
    """Whose values a preview has: of this customer's message in this campaign."""

    campaign_id: str
    customer_id: str


async def preview(
    ctx: Context,
    tenant: str,
    template: str | Mapping[str, bytes],
    *,
    channel: str | None = None,
    person: Person | None = None,
    values: Mapping[str, str] | None = None,
) -> Preview:
    """A template (its id or key in the store, or the bytes of its files by name) as one customer would get it.

    Without a person each value is its own name. `values` win over both. NeedsOperator names what there is not, and
    BadTemplates what is wrong with a file.
    """
    from optirelay.stages.content import CannotRender, prepare  # takes a fifth of a second

    (name,) = tenants_of(ctx, tenant)
    found = await _template(ctx, name, template, channel)
    somebody, campaign_id = await _somebody(ctx, name, found, person)
    message = structs.replace(somebody, personalization={**somebody.personalization, **(values or {})})
    settings = ctx.channel_settings(name, found.channel)
    try:
        outgoing = prepare(found.content, default_sender=settings.sender, kind=settings.kind, whole_mail=False).render(
            message,
            campaign_id=campaign_id,
            template_id=found.template_id,
            at=utc_now(),
            unsubscribe_url=SAMPLE_LINK,
        )
    except CannotRender as error:
        raise NeedsOperator(str(error)) from error
    return Preview(outgoing.sender, outgoing.subject, outgoing.text, outgoing.html)


@dataclass(frozen=True)
class _Found:
    channel: ChannelName
    template_id: TemplateId
    content: TemplateContent


async def _template(ctx: Context, tenant: TenantId, template: str | Mapping[str, bytes], channel: str | None) -> _Found:
    channels = ctx.settings.tenants[tenant].channels
    if channel is not None and channel not in channels:
        raise NeedsOperator(f"tenant {tenant} has no channel {channel}; name one of {', '.join(channels)}")
    if not isinstance(template, str):
        ((file, _),) = _read(template, channels)
        fitting = [name for name in file.channels if channel in (None, name)]
        return _the_one([_Found(ChannelName(name), file.template_id, file.content) for name in fitting], file.key)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        stored = [
            row
            for row in await ledger.templates.all()
            if template in (row.key, str(row.template_id))
            and channel in (None, row.channel)
            and row.channel in channels
        ]
        contents = [await ledger.templates.content(row.channel, row.template_id, row.version) for row in stored]
    found = [_Found(row.channel, row.template_id, content) for row, content in zip(stored, contents, strict=True)]
    return _the_one(found, template)


def _the_one(found: Sequence[_Found], wanted: str) -> _Found:
    if not found:
        raise NeedsOperator(f"there is no template {wanted} there; see `optirelay templates list`")
    if len(found) > 1:
        channels = " or ".join(f"--channel {one.channel}" for one in found)
        raise NeedsOperator(f"several channels have a template {wanted}; name one: {channels}")
    return found[0]


async def _somebody(ctx: Context, tenant: TenantId, found: _Found, person: Person | None) -> tuple[Message, CampaignId]:
    """Who it is rendered for: a customer of a campaign, or somebody whose every value is its own name."""
    if person is None:
        return _sample(found.content, ctx.channel_settings(tenant, found.channel)), CampaignId("90211")
    campaign_id, customer_id = CampaignId(person.campaign_id), CustomerId(person.customer_id)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        kept = await ledger.looks.personalization(campaign_id, customer_id, found.channel)
    if kept is None:
        raise NeedsOperator(
            f"campaign {campaign_id} has no message to customer {customer_id} on channel {found.channel}; "
            "see `optirelay messages show`"
        )
    fired = Fired(kept.trigger, kept.action_id, tuple(kept.promo_codes or ()))
    address = kept.address or "somebody@example.com"
    triggered = fired if kept.kind == CampaignKind.TRIGGERED else None
    message = Message(0, Sid("s_preview"), customer_id, address, utc_now(), kept.tags, fired=triggered)
    return message, campaign_id


def _sample(content: TemplateContent, channel: ChannelSettings) -> Message:
    from optirelay.stages.content import check  # likewise

    names = {*check(content, channel.kind), *content.required, *channel.personalization} - templates.BUILT_IN
    values = {name: name for name in sorted(names)}
    fired = Fired("Sample", "1", ("PROMO-1", "PROMO-2"))
    return Message(0, Sid("s_preview"), CustomerId("C-1"), "somebody@example.com", utc_now(), values, fired=fired)
