"""What a worker tells the operator: providers that are away, pages without end, batches set aside, clocks."""

from collections.abc import Sequence
from datetime import timedelta

from optirelay.engine.context import Context
from optirelay.model import CampaignId, ChannelName, ProblemKind, TenantId
from optirelay.stages import sending
from optirelay.stages.template_lists import TemplateState
from optirelay.store import Ledger
from optirelay.store.batches import TakenBatch
from optirelay.store.campaigns import Reading

SHOWN_FOR = timedelta(hours=1)  # what was put right by itself: somebody should see it all the same


async def channel_waits(
    ctx: Context, tenant: TenantId, channel: ChannelName, why: str, *, after: timedelta | None
) -> None:
    """Its provider cannot be reached: no worker takes a batch of it for a while, longer each time; or as long as the
    provider asked for."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        standing = await ledger.channels.standing(channel)
        pause = sending.pause_before(standing.waits + 1, 0.5) if after is None else after
        await ledger.channels.waits(channel, pause)
        await ledger.problems.tell(
            ProblemKind.CHANNEL_WAITING,
            f"The provider of channel {channel} takes nothing for now: {why}",
            "It is tried again by itself, and messages wait until they expire; check the channel's settings and the "
            "provider",
            channel=channel,
        )


async def channel_works(ctx: Context, tenant: TenantId, channel: ChannelName) -> None:
    """Its provider was reached."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.channels.works(channel)
        await ledger.problems.mended(ProblemKind.CHANNEL_WAITING, channel=channel)


async def channel_stops(ctx: Context, tenant: TenantId, channel: ChannelName, why: str) -> None:
    """Its provider takes nothing until a person changes something: its messages stay planned."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.channels.stop(channel)
        await ledger.problems.tell(
            ProblemKind.CHANNEL_STOPPED,
            f"Channel {channel} is stopped: {why}",
            "Mend the channel's settings, or have the provider let us in, then `optirelay channels resume`; until "
            "then its messages wait, and what is too late by then is skipped",
            channel=channel,
        )


async def tell_set_aside(ctx: Context, tenant: TenantId, channel: ChannelName, batch: TakenBatch) -> None:
    """A batch could not be worked on and is tried again later."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.problems.tell(
            ProblemKind.BATCH_SET_ASIDE,
            f"Batch {batch.id} of campaign {batch.campaign_id} could not be worked on",
            "See the log for why; it is tried again every 10 minutes",
            channel=channel,
            campaign_id=batch.campaign_id,
            subject=f"batch {batch.id}",
        )


async def tell_clock(ctx: Context, off: timedelta, *, ok: bool) -> None:
    """This machine's clock is too far from the database's, or near enough again."""
    async with ctx.store.transaction() as everyone:
        if ok:
            await everyone.problems.mended(ProblemKind.CLOCK_OFF, subject=ctx.worker)
            return
        await everyone.problems.tell(
            ProblemKind.CLOCK_OFF,
            f"The clock of worker {ctx.worker} is {off.total_seconds():.1f} s off the database's; it sends nothing",
            "Set the machine's clock (NTP); the worker goes on by itself",
            subject=ctx.worker,
        )


async def tell_told_after_cancel(ledger: Ledger, campaign_id: CampaignId, channel: ChannelName | None) -> None:
    """A cancelled campaign was announced, on this channel or on whichever."""
    await ledger.problems.tell(
        ProblemKind.TOLD_AFTER_CANCEL,
        f"Optimove announced campaign {campaign_id} again after it had cancelled it",
        "Nothing was sent. Where it was meant to run, have it started as a new campaign",
        channel=channel or "",
        campaign_id=campaign_id,
    )


async def tell_request_set_aside(ledger: Ledger, request: str) -> None:
    """The store refuses what a notification or a callback says."""
    await ledger.problems.tell(
        ProblemKind.BATCH_SET_ASIDE,
        f"{request.capitalize()} could not be processed and was set aside",
        "See the log for why; it is kept",
        subject=request,
    )


async def tell_unreadable_trigger(ledger: Ledger, channel: ChannelName) -> None:
    """A notification of a trigger that no message can be made of."""
    await ledger.problems.tell(
        ProblemKind.UNREADABLE_NOTIFICATION,
        f"A notification of a trigger on channel {channel} has no TemplateID that can be read, or more than there is "
        "room for",
        "Ask Optimove what it sends; the notification is kept, its message is skipped (unreadable)",
        channel=channel,
        subject="trigger",
    )


async def tell_unreadable_callback(ledger: Ledger, channel: ChannelName) -> None:
    """A provider told events of which nothing can be read."""
    await ledger.problems.tell(
        ProblemKind.UNREADABLE_NOTIFICATION,
        f"A callback to channel {channel} has entries that are no events: none of them names what happened",
        "Ask the provider what it sends, see the how-to on webhooks; the callback is kept, its other events count",
        channel=channel,
        subject="callback",
    )


async def mend_doubts(ledger: Ledger, campaign: int) -> None:
    """Where no message of the campaign is in doubt any more, the operator need not be told."""
    counts = await ledger.campaigns.counts_of(campaign)
    days = await ledger.campaigns.counts(counts.campaign_id, counts.channel)
    if not any(day.in_doubt for day in days):
        await ledger.problems.mended(
            ProblemKind.MESSAGE_IN_DOUBT, channel=counts.channel, campaign_id=counts.campaign_id
        )


async def tell_of_end(ledger: Ledger, reading: Reading, *, endless: bool) -> None:
    """A reading ends at an empty page; one whose pages never end may lack people."""
    place = {"channel": reading.channel, "campaign_id": reading.campaign_id, "subject": "pages"}
    if not endless:
        await ledger.problems.mended(ProblemKind.BATCH_SET_ASIDE, **place)
        return
    await ledger.problems.tell(
        ProblemKind.BATCH_SET_ASIDE,
        f"Optimove answers with the same rows of campaign {reading.campaign_id} again and again; who is among them is "
        "written to, others may be missing",
        "Ask Optimove what it makes of $skip; once it is mended and the campaign is announced again, who is missing is "
        "added",
        **place,
    )


async def tell_unknown_template(ledger: Ledger, channel: ChannelName, template_id: int) -> None:
    """Messages of a template that is not ours are held."""
    await ledger.problems.tell(
        ProblemKind.UNKNOWN_TEMPLATE,
        f"Messages of template {template_id} wait: there is no such template on channel {channel}",
        "Push a template with this id (`optirelay templates push`); until then they wait, and at expiry are skipped",
        channel=channel,
        subject=str(template_id),
    )


async def done_after_all(ledger: Ledger, *calls: str) -> None:
    """What a call is for stands at Optimove; where its last try failed, that one was done all the same."""
    for call in calls:
        await ledger.problems.mended(ProblemKind.KEY_REFUSED, ProblemKind.OPTIMOVE_SILENT, subject=call)


async def tell_drift(ledger: Ledger, drifted: Sequence[tuple[ChannelName, int, TemplateState]]) -> None:
    """Templates that somebody changed or deleted at Optimove, in the list of a channel id; they were put back."""
    subjects = [f"{channel_id} {state.template_id}" for _, channel_id, state in drifted]
    for (channel, channel_id, state), subject in zip(drifted, subjects, strict=True):
        how = "was gone from" if state.listed is None else "had another name or app in"
        await ledger.problems.tell(
            ProblemKind.TEMPLATE_DRIFT,
            f"Template {state.template_id} of channel {channel} {how} Optimove's list of channel {channel_id}",
            "It was put back. See who else changes templates at Optimove, another system with a key of its own perhaps",
            channel=channel,
            subject=subject,
        )
    await ledger.problems.shown_enough(ProblemKind.TEMPLATE_DRIFT, SHOWN_FOR, but=subjects)
