"""What an operator has done: templates pushed, listeners registered, reports sent, settings tried out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optirelay import pipeline
from optirelay.engine.context import Context, ask
from optirelay.engine.operate.looking import Shape, listed_listeners, tenants_of
from optirelay.engine.syncing import keep_template, sync_templates
from optirelay.errors import NeedsOperator, OptirelayError
from optirelay.model import CampaignId, ChannelName, TenantId
from optirelay.optimove import get_channel_templates
from optirelay.stages import content, metrics, templates
from optirelay.store import StoreUnavailable

PATIENCE_SECONDS = 60.0  # of commands that wait until Optimove has answered everything
PAUSE_SECONDS = 1.0


class BadTemplates(NeedsOperator):
    """Files that cannot be pushed; a line for each fault. Nothing was stored."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    stored: int  # templates whose content is new
    unchanged: int
    warnings: Sequence[str]
    behind: Sequence[str]  # what Optimove's list still lacks; empty: it is equal to ours


async def push_templates(ctx: Context, tenant: TenantId, files: Mapping[str, bytes]) -> Pushed:
    """Store a directory's templates (file name: bytes), then have Optimove's list hold them, within 60 s.

    All or nothing: BadTemplates with every fault of every file. A worker goes on where the time is over.
    """
    channels = ctx.settings.tenants[tenant].channels
    found, warnings = _read(files, ctx, tenant)
    stored = 0
    async with ctx.store.tenant(tenant).transaction() as ledger:
        for template in found:
            for channel in template.channels:
                stored += await keep_template(
                    ledger,
                    ChannelName(channel),
                    template.template_id,
                    key=template.key,
                    name=template.name,
                    content=template.content,
                )
        await pipeline.sync.put(ledger)
    pushed = sum(len(template.channels) for template in found)
    behind = await _until_equal(ctx, tenant) if any(c.scheduled_id for c in channels.values()) else []
    return Pushed(stored, pushed - stored, warnings, behind)


def _read(files: Mapping[str, bytes], ctx: Context, tenant: TenantId) -> tuple[list[templates.TemplateFile], list[str]]:
    settings = ctx.settings.tenants[tenant].channels
    faults: list[str] = []
    warnings: list[str] = []
    try:
        found = templates.read_directory(files, settings)
    except templates.BadTemplateFile as bad:
        raise BadTemplates("\n".join(bad.faults)) from bad
    for template in found:
        known = {tag for name in template.channels for tag in settings[name].personalization}
        try:
            used = content.check(template.content)
        except content.BadTemplate as bad:
            faults += [f"{template.key}.liquid: {fault}" for fault in bad.faults]
            continue
        unknown = templates.unknown_names([*used, *template.content.required], known)
        if unknown:
            names = ", ".join(unknown)
            warnings.append(
                f"{template.key}.liquid: {names}: neither a tag of the channel nor built in; renders as nothing unless "
                "the channel's personalization asks for it"
            )
    if faults:
        raise BadTemplates("\n".join(faults))
    return found, warnings


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
    except NeedsOperator as error:
        behind = [str(error)]
    return behind


async def _sync_once(ctx: Context, tenant: TenantId) -> list[str]:
    try:
        standing = await sync_templates(ctx, tenant)
    except StoreUnavailable:
        raise
    except NeedsOperator:
        raise
    except OptirelayError as error:
        return [str(error)]
    wrong = (templates.Standing.MISSING, templates.Standing.RENAMED)
    return [
        f"template {row.template_id} of channel {channel} is {row.state.value} at Optimove"
        for channel, rows in standing.items()
        for row in rows
        if row.state in wrong
    ]


async def sync_all_listeners(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Register what is missing or leads elsewhere; how all stand afterwards. At most 60 s, then TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await listed_listeners(ctx, tenant, mend=True)


async def report_now(ctx: Context, tenant: str | None = None, campaign_id: str | None = None) -> list[str]:
    """Tell Optimove all that it was not told yet, within 60 s; a sentence for what failed, was left or is in doubt.

    Beside a running worker each row still goes once.
    """
    left: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for name in tenants_of(ctx, tenant):
                left += await _report_tenant(ctx, name, campaign_id)
    except TimeoutError:
        left.append("Optimove has not answered everything within 60 seconds; a worker goes on")
    return left


async def _report_tenant(ctx: Context, tenant: TenantId, campaign_id: str | None) -> list[str]:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        known = await ledger.campaigns.counts(None if campaign_id is None else CampaignId(campaign_id))
    left = []
    for counts in known:
        channel = ctx.channels.get((tenant, counts.channel))
        if channel is None or not channel.reported:
            continue
        before = await _open_and_bad(ctx, tenant, counts.id)
        try:
            await pipeline.report.run(ctx, tenant, campaign=counts.id)
            await _until_answered(ctx, tenant, counts.id)
        except OptirelayError as error:
            left.append(f"campaign {counts.campaign_id} of {tenant}: {error}")
        else:
            _, in_doubt, refused = await _open_and_bad(ctx, tenant, counts.id)
            if in_doubt > before[1]:
                left.append(f"campaign {counts.campaign_id} of {tenant}: {in_doubt - before[1]} calls fell into doubt")
            if refused > before[2]:
                left.append(f"campaign {counts.campaign_id} of {tenant}: {refused - before[2]} calls were refused")
    return left


async def _until_answered(ctx: Context, tenant: TenantId, campaign: int) -> None:
    """A worker may be sending some of the calls; wait for it."""
    while (await _open_and_bad(ctx, tenant, campaign))[0]:
        await asyncio.sleep(PAUSE_SECONDS / 4)


async def _open_and_bad(ctx: Context, tenant: TenantId, campaign: int) -> tuple[int, int, int]:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        reported = await ledger.reports.reported(campaign, metrics.INTERACTIONS)
    return reported.open, reported.in_doubt_batches, reported.refused


async def probe(ctx: Context) -> list[Shape]:
    """Try keys, listeners and providers out; what is wrong, as `check` tells it."""
    faults: list[Shape] = []
    for name in ctx.optimove:
        tenant = ctx.settings.tenants[name]
        try:
            rows = await listed_listeners(ctx, name)
            for channel in tenant.channels.values():
                if channel.scheduled_id is not None:
                    await ask(ctx, name, get_channel_templates(channel.scheduled_id))
        except OptirelayError as error:
            faults.append(_fault(f"tenants.{name}.api_key", str(error), "Check api_url, api_key and what it may do"))
        else:
            faults += [
                _fault(
                    "service.public_url",
                    f"the listener of tenant {name} for events of type {row['event_type']} is {row['state']}",
                    "Run `optirelay listeners sync`, or start `optirelay serve`",
                )
                for row in rows
                if row["state"] in ("missing", "moved")
            ]
        for channel in tenant.channels.values():
            try:
                await ctx.channels[name, ChannelName(channel.name)].probe()
            except OptirelayError as error:
                key = f"tenants.{name}.channels.{channel.name}"
                faults.append(_fault(key, str(error), "Check the channel's settings and its provider"))
    return faults


def _fault(key: str, problem: str, mend: str) -> Shape:
    return {"key": key, "problem": problem, "mend": mend}
