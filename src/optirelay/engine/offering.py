"""What marketers can pick: our templates and apps, compared with Optimove's lists, which are brought in step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from optirelay.engine.context import Context, ask
from optirelay.engine.troubles import done_after_all, tell_drift
from optirelay.errors import GiveUp
from optirelay.model import AppId, CampaignId, ChannelName, ProblemKind, TemplateContent, TemplateId, TenantId
from optirelay.optimove import (
    MAX_APPS,
    ChannelApp,
    ChannelTemplate,
    add_channel_apps,
    add_channel_templates,
    delete_channel_apps,
    delete_channel_templates,
    get_channel_templates,
)
from optirelay.settings import ChannelSettings
from optirelay.stages import template_lists as lists
from optirelay.store import Ledger
from optirelay.store.templates import StoredTemplate, ToldTemplate

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


# --- how it stands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneList:
    """One of Optimove's lists, that of a channel id: how our templates and it agree, and who needs which of them."""

    channel: ChannelName
    channel_id: int
    states: Sequence[lists.TemplateState]
    users: Mapping[TemplateId, CampaignId]  # running campaigns that need a template which is to go

    def step_of(self, state: lists.TemplateState, *, prune: bool = False, force: bool = False) -> lists.Step:
        """What a sync does to one of its templates."""
        return lists.step_of(state, lists.Rules(prune=prune, force=force, in_use=self.users.keys()))


async def look_at_templates(ctx: Context, tenant: TenantId) -> Mapping[ChannelName, list[lists.TemplateState]]:
    """How each template stands at Optimove, channel by channel; there it may have two lists, one a channel id."""
    return _by_channel(await look_at_lists(ctx, tenant))


async def look_at_lists(ctx: Context, tenant: TenantId) -> list[OneList]:
    """How each template stands in each list of the tenant's channels."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        stored, told = await ledger.templates.all(), await ledger.templates.told()
    found = []
    for channel, channel_id in _channel_ids(ctx, tenant):
        answer = await ask(ctx, tenant, get_channel_templates(channel_id))
        theirs = [lists.Listed(TemplateId(t.template_id), t.template_name, _app(t.app_id)) for t in answer]
        known = {t.template_id: lists.Listed(t.template_id, t.name, t.app) for t in told if t.channel_id == channel_id}
        states = lists.compare([t for t in stored if t.channel == channel], theirs, known)
        users = await _users(ctx, tenant, channel, states)
        found.append(OneList(channel, channel_id, states, users))
    return found


def _channel_ids(ctx: Context, tenant: TenantId) -> list[tuple[ChannelName, int]]:
    channels = ctx.settings.tenants[tenant].channels
    return [(ChannelName(name), number) for name, channel in channels.items() for number in channel.channel_ids]


def _app(app_id: str | None) -> AppId | None:
    return None if app_id is None else AppId(app_id)


async def _users(
    ctx: Context, tenant: TenantId, channel: ChannelName, states: Sequence[lists.TemplateState]
) -> Mapping[TemplateId, CampaignId]:
    """Of the templates that are not ours, or not any more, those that a running campaign needs, or may need."""
    strange = [state.template_id for state in states if state.state is lists.Standing.FOREIGN]
    if not strange:
        return {}
    async with ctx.store.tenant(tenant).transaction() as ledger:
        used = await ledger.templates.in_use(channel)
    any_of_them = [use.campaign_id for use in used if use.template_id is None][:1]
    users = {number: campaign_id for number in strange for campaign_id in any_of_them}
    return users | {use.template_id: use.campaign_id for use in used if use.template_id in strange}


def _by_channel(standing: Sequence[OneList]) -> Mapping[ChannelName, list[lists.TemplateState]]:
    found: dict[ChannelName, list[Sequence[lists.TemplateState]]] = {}
    for one in standing:
        found.setdefault(one.channel, []).append(one.states)
    return {channel: lists.in_all_lists(by_list) for channel, by_list in found.items()}


def behind(standing: Sequence[OneList]) -> list[str]:
    """A sentence for each template of ours that one of Optimove's lists does not hold as it is, or holds no less."""
    wrong = {
        (one.channel, state.template_id): f"template {state.template_id} of channel {one.channel} is {what}"
        for one in standing
        for state in one.states
        if (what := _wrong(state, one.step_of(state)))
    }
    return list(wrong.values())


def _wrong(state: lists.TemplateState, step: lists.Step) -> str:
    if step is lists.Step.DROP:
        return "still at Optimove"
    return f"{state.state} at Optimove" if step in (lists.Step.ADD, lists.Step.RENAME) else ""


def waiting(standing: Sequence[OneList], *, prune: bool = False) -> list[str]:
    """A sentence for each template that is to go and that a running campaign keeps; with `prune` also of strangers'."""
    kept = {
        (one.channel, state.template_id): f"template {state.template_id} of channel {one.channel} stays while campaign "
        f"{one.users[state.template_id]} needs it; {_goes(state)}"
        for one in standing
        for state in one.states
        if one.step_of(state, prune=prune) is lists.Step.WAIT
    }
    return list(kept.values())


def _goes(state: lists.TemplateState) -> str:
    if state.dropped:
        return "then it goes by itself; at once with `optirelay templates sync --force`"
    return "prune again once that is over, or at once with --force"


# --- in step ----------------------------------------------------------------------------------------------------------


async def sync_templates(
    ctx: Context, tenant: TenantId, *, prune: bool = False, force: bool = False
) -> Sequence[OneList]:
    """Bring apps and templates in step, in the list of each channel id; how all stand afterwards.

    `prune`: what was never ours goes, too; `force`: also what a running campaign needs.
    """
    async with ctx.store.tenant(tenant).alone("sync templates"):
        await _add_apps(ctx, tenant)
        standing = await look_at_lists(ctx, tenant)
        changed = False
        for one in standing:
            changed |= await _change(ctx, tenant, one, prune=prune, force=force)
        after = await look_at_lists(ctx, tenant) if changed else standing
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await _forget_gone(ledger, after)
            await tell_drift(ledger, [(o.channel, o.channel_id, s) for o in standing for s in o.states if s.drifted])
            await done_after_all(ledger, "AddChannelTemplates", "DeleteChannelTemplates")
        await _delete_apps(ctx, tenant)
        return after


async def _change(ctx: Context, tenant: TenantId, one: OneList, *, prune: bool, force: bool) -> bool:
    """Bring one list in step; whether there was anything to do."""
    optimove = ctx.settings.tenants[tenant].optimove
    changes = lists.next_changes(
        one.states,
        lists.Rules(prune=prune, force=force, in_use=one.users.keys()),
        per_call=optimove.templates_per_call,
        delete_first=optimove.rename == "delete_then_add",
    )
    for change in changes:
        if change.delete:
            await _delete(ctx, tenant, one, change.delete)
        if change.add:
            await _add(ctx, tenant, one, change.add)
    seen = [
        ToldTemplate(one.channel_id, state.template_id, state.name, state.app)
        for state in one.states
        if state.state is lists.Standing.OK and not state.told
    ]
    if seen:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await ledger.templates.tell(seen)
    return bool(changes)


async def _delete(ctx: Context, tenant: TenantId, one: OneList, template_ids: Sequence[TemplateId]) -> None:
    per_call = ctx.settings.tenants[tenant].optimove.templates_per_call
    log.info("templates_deleted", tenant=tenant, channel_id=one.channel_id, template_ids=template_ids)
    await ask(ctx, tenant, delete_channel_templates(one.channel_id, template_ids, limit=per_call))


async def _add(ctx: Context, tenant: TenantId, one: OneList, templates: Sequence[lists.Listed]) -> None:
    per_call = ctx.settings.tenants[tenant].optimove.templates_per_call
    rows = [ChannelTemplate(template.template_id, template.name, template.app) for template in templates]
    log.info("templates_added", tenant=tenant, channel_id=one.channel_id, template_ids=[r.template_id for r in rows])
    await ask(ctx, tenant, add_channel_templates(one.channel_id, rows, limit=per_call))
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.templates.tell([ToldTemplate(one.channel_id, t.template_id, t.name, t.app) for t in templates])


async def _forget_gone(ledger: Ledger, standing: Sequence[OneList]) -> None:
    """What was dropped and is in no list any more is no template of ours at all."""
    dropped = [template for template in await ledger.templates.all() if template.dropped]
    for channel in {one.channel for one in standing}:
        listed = {s.template_id for one in standing if one.channel == channel for s in one.states if s.listed}
        gone = [t.template_id for t in dropped if t.channel == channel and t.template_id not in listed]
        await ledger.templates.forget(channel, gone)
        for one in standing:
            if one.channel == channel:
                await ledger.templates.untell(one.channel_id, gone)


# --- apps -------------------------------------------------------------------------------------------------------------


async def _add_apps(ctx: Context, tenant: TenantId) -> None:
    """Optimove hears of apps before it hears of templates that name them."""
    for channel_id, change in await _app_changes(ctx, tenant):
        names = list(change.add.items())
        for start in range(0, len(names), MAX_APPS):
            part = dict(names[start : start + MAX_APPS])
            call = add_channel_apps(channel_id, [ChannelApp(app_id, name) for app_id, name in part.items()])
            await ask(ctx, tenant, call)
            async with ctx.store.tenant(tenant).transaction() as ledger:
                await ledger.templates.tell_apps(channel_id, part)


async def _delete_apps(ctx: Context, tenant: TenantId) -> None:
    """Apps that the settings do not name any more go, once no template does either."""
    for channel_id, change in await _app_changes(ctx, tenant):
        for start in range(0, len(change.delete), MAX_APPS):
            part = change.delete[start : start + MAX_APPS]
            try:
                await ask(ctx, tenant, delete_channel_apps(channel_id, part), tells_refusal=False)
            except GiveUp as error:  # it is not there, as where the answer to an earlier call was lost
                log.warning("apps_not_deleted", tenant=tenant, channel_id=channel_id, app_ids=part, why=str(error))
            async with ctx.store.tenant(tenant).transaction() as ledger:
                await ledger.templates.untell_apps(channel_id, part)


async def _app_changes(ctx: Context, tenant: TenantId) -> list[tuple[int, lists.AppChange]]:
    channels: Mapping[str, ChannelSettings] = ctx.settings.tenants[tenant].channels
    async with ctx.store.tenant(tenant).transaction() as ledger:
        stored, told = await ledger.templates.all(), await ledger.templates.told_apps()
    return [
        (
            channel_id,
            lists.compare_apps(
                channels[channel].apps,
                {app.app_id: app.name for app in told if app.channel_id == channel_id},
                _apps_named(stored, channel),
            ),
        )
        for channel, channel_id in _channel_ids(ctx, tenant)
    ]


def _apps_named(stored: Sequence[StoredTemplate], channel: ChannelName) -> set[AppId]:
    return {template.app for template in stored if template.channel == channel and template.app is not None}
