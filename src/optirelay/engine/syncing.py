"""Optimove's lists of listeners and templates, compared with ours and mended."""

from collections.abc import Mapping, Sequence

import structlog

from optirelay.engine.context import Context, ask
from optirelay.errors import GiveUp
from optirelay.model import ChannelName, ProblemKind, TemplateContent, TemplateId, TenantId
from optirelay.optimove import (
    ChannelTemplate,
    add_channel_templates,
    get_channel_templates,
    get_registered_event_listeners,
    register_event_listener,
)
from optirelay.stages import listeners, templates
from optirelay.store import Ledger

log = structlog.get_logger()


async def keep_template(
    ledger: Ledger, channel: ChannelName, template_id: TemplateId, *, key: str, name: str, content: TemplateContent
) -> bool:
    """Store a template; True where its content is new. Messages that waited for it go on, at once.

    Optimove hears of it by a `sync`, which the caller puts into the same transaction.
    """
    changed = await ledger.templates.push(channel, template_id, key, name, content)
    await ledger.problems.mended(ProblemKind.UNKNOWN_TEMPLATE, channel=channel, subject=str(template_id))
    await ledger.batches.wake_senders()
    return changed


async def sync_listeners(ctx: Context, tenant: TenantId) -> list[listeners.ListenerRow]:
    """Register what is missing or leads elsewhere; how all stand afterwards."""
    async with ctx.store.tenant(tenant).alone("sync listeners"):
        rows = await look_at_listeners(ctx, tenant)
        wanting = [r for r in rows if r.state in (listeners.ListenerState.MISSING, listeners.ListenerState.MOVED)]
        for row in wanting:
            log.info("listener_registered", tenant=tenant, event_type=int(row.event_type), channel_id=row.channel_id)
            await ask(ctx, tenant, register_event_listener(row.event_type, row.url, row.channel_id))
        async with ctx.store.tenant(tenant).transaction() as ledger:
            for row in rows:
                await ledger.problems.mended(ProblemKind.UNKNOWN_CHANNEL_ID, subject=str(row.channel_id))
            await done_after_all(ledger, "RegisterEventListener")
        return await look_at_listeners(ctx, tenant) if wanting else rows


async def look_at_listeners(ctx: Context, tenant: TenantId) -> list[listeners.ListenerRow]:
    """How each listener stands at Optimove; as missing where Optimove does not tell (it once refused third parties)."""
    try:
        theirs = await ask(ctx, tenant, get_registered_event_listeners(), tells_refusal=False)
    except GiveUp as error:
        log.warning("listeners_not_told", tenant=tenant, why=str(error))
        theirs = []
    ours = listeners.wanted(ctx.settings.tenants[tenant], ctx.settings.service.public_url)
    return listeners.compare(ours, theirs, tenant)


async def sync_templates(ctx: Context, tenant: TenantId) -> Mapping[ChannelName, list[templates.TemplateState]]:
    """Add what is missing or has another name, in the list of each channel id; how all stand afterwards."""
    per_call = ctx.settings.tenants[tenant].optimove.templates_per_call
    async with ctx.store.tenant(tenant).alone("sync templates"):
        lists = await _look_at_lists(ctx, tenant)
        added = False
        for (_, channel_id), states in lists.items():
            for part in templates.next_to_add(states, per_call):
                rows = [ChannelTemplate(row.template_id, row.name) for row in part]
                await ask(ctx, tenant, add_channel_templates(channel_id, rows, limit=per_call))
                added = True
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await done_after_all(ledger, "AddChannelTemplates")
        return _by_channel(await _look_at_lists(ctx, tenant) if added else lists)


async def done_after_all(ledger: Ledger, call: str) -> None:
    """What a call is for stands at Optimove; where its last try failed, that one was done all the same."""
    await ledger.problems.mended(ProblemKind.KEY_REFUSED, ProblemKind.OPTIMOVE_SILENT, subject=call)


async def look_at_templates(ctx: Context, tenant: TenantId) -> Mapping[ChannelName, list[templates.TemplateState]]:
    """How each template stands at Optimove, channel by channel; there it may have two lists, one a channel id."""
    return _by_channel(await _look_at_lists(ctx, tenant))


Lists = Mapping[tuple[ChannelName, int], list[templates.TemplateState]]
"""Channel and channel id: how our templates and Optimove's list agree."""


async def _look_at_lists(ctx: Context, tenant: TenantId) -> Lists:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        stored = await ledger.templates.all()
    standing = {}
    for name, channel in ctx.settings.tenants[tenant].channels.items():
        for channel_id in channel.channel_ids:
            theirs = await ask(ctx, tenant, get_channel_templates(channel_id))
            listed = [templates.Listed(TemplateId(row.template_id), row.template_name) for row in theirs]
            ours = [template for template in stored if template.channel == name]
            standing[ChannelName(name), channel_id] = templates.compare(ours, listed)
    return standing


def _by_channel(lists: Lists) -> Mapping[ChannelName, list[templates.TemplateState]]:
    found: dict[ChannelName, list[list[templates.TemplateState]]] = {}
    for (channel, _), states in lists.items():
        found.setdefault(channel, []).append(states)
    return {channel: templates.in_all_lists(by_list) for channel, by_list in found.items()}


def behind(standing: Mapping[ChannelName, list[templates.TemplateState]]) -> list[str]:
    """A sentence for each template of ours that Optimove's list does not hold as it is."""
    wrong = (templates.Standing.MISSING, templates.Standing.RENAMED)
    return [
        f"template {row.template_id} of channel {channel} is {row.state.value} at Optimove"
        for channel, rows in standing.items()
        for row in rows
        if row.state in wrong
    ]


async def tell_behind(ctx: Context, tenant: TenantId, sentences: Sequence[str]) -> None:
    """The operator is told what a sync could not mend, until one leaves nothing."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        if not sentences:
            await ledger.problems.mended(ProblemKind.SYNC_FAILED)
            return
        await ledger.problems.tell(
            ProblemKind.SYNC_FAILED,
            f"Optimove's lists do not hold all that is ours: {'; '.join(sentences[:10])}",
            "It is tried again by itself; see `optirelay templates list` and what Optimove says of these templates",
        )
