"""A started group becomes what a channel sends: each message by its template, in the version it was planned with."""

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.model import ChannelName, Message, Outgoing, Refusal, Refused, TemplateId, TenantId
from optirelay.store import Ledger
from optirelay.store.batches import TakenBatch

if TYPE_CHECKING:
    from optirelay.stages.content import Prepared

MAILS_IN_A_SLICE = 32


async def required_tags(
    ctx: Context, ledger: Ledger, channel: ChannelName, template_id: TemplateId, version: int | None
) -> Sequence[str] | None:
    """What a template cannot do without; None where it is not ours yet (no `version`)."""
    if version is None:
        return None
    known = ctx.prepared.get((ledger.tenant, channel, template_id, version))
    if known is not None:
        return known.required
    return (await ledger.templates.content(channel, template_id, version)).required


async def render(
    ctx: Context,
    tenant: TenantId,
    channel: ChannelName,
    taken: TakenBatch,
    group: Sequence[Message],
    *,
    whose: Hashable | None,
) -> tuple[list[Outgoing], dict[int, Refused]]:
    """What is sent to each of a group, and those for whom it could not be made. `whose` work it is: None waits for
    nobody."""
    from optirelay.stages.content import BadTemplate, CannotRender  # takes a fifth of a second; only senders need it

    try:
        template = await _prepared(ctx, tenant, channel, taken)
    except BadTemplate as error:
        return [], {message.number: Refused(Refusal.RENDER_FAILED, str(error)) for message in group}
    refused: dict[int, Refused] = {}
    at = utc_now()
    tokens = ctx.store.tenant(tenant).tokens(taken.planned_on)
    link = f"{ctx.settings.service.public_url}/u/"

    def mails(messages: Sequence[Message]) -> Iterator[Outgoing]:
        for message in messages:
            try:
                yield template.render(
                    message,
                    campaign_id=taken.campaign_id,
                    template_id=taken.template_id,
                    at=at,
                    unsubscribe_url=link + tokens.of(message.number),
                )
            except CannotRender as error:
                refused[message.number] = Refused(Refusal.RENDER_FAILED, str(error))

    return await ctx.way.in_slices(whose, group, mails, size=MAILS_IN_A_SLICE), refused


async def _prepared(ctx: Context, tenant: TenantId, channel: ChannelName, taken: TakenBatch) -> "Prepared":
    from optirelay.stages.content import prepare

    assert taken.template_version is not None
    key = (tenant, channel, taken.template_id, taken.template_version)
    if key not in ctx.prepared:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            content = await ledger.templates.content(channel, taken.template_id, taken.template_version)
        settings = ctx.channel_settings(tenant, channel)
        whole_mail = ctx.channels[tenant, channel].takes_mail
        ctx.prepared[key] = prepare(content, default_sender=settings.sender, kind=settings.kind, whole_mail=whole_mail)
    return ctx.prepared[key]
