"""READ FIRST: how a campaign travels, top to bottom. Each step reads, lets a stage decide, writes, puts the next.

    Optimove POST -> web/ingest -> (stored raw, 200)
                       accept   notifications, in groups: a pass is put, a campaign called off, a triggered
                                message written and started
                       gather   one page of recipients -> messages in batches; the next page put
                       send     due batches, group by group: who may go now -> started -> channel -> outcomes
    provider POST -> web/ingest -> (stored raw, 200)
                       record   callbacks, in groups: delivery events kept, counted and obeyed
    on completion,
    then for 7 days -> report   metrics and interactions, frozen, each call once
    at start, then ->  sync     listeners, apps and templates compared with Optimove's, which are brought in step
    and every hour ->  sweep    campaigns that Optimove executed and never announced to us: a pass is put
    on change       -> share    who opted in and out: by attributes, preferences or files

Both writes of a step carry a key and share one transaction, so that running it twice changes nothing.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime

import structlog

from optirelay.clock import utc_now
from optirelay.engine import addressing, offering, troubles
from optirelay.engine.context import Context, ask
from optirelay.engine.grouping import apart, grouped, in_groups
from optirelay.engine.jobs import Job, job
from optirelay.engine.recording import keep_callbacks
from optirelay.engine.reporting import due_now, tell
from optirelay.engine.settle import Known, skip_rest, take_over, write_known
from optirelay.engine.sharing import tell_opt_ins
from optirelay.engine.sharing.results import check_drift
from optirelay.engine.starting import Begun, Started, Starter, start_group
from optirelay.engine.sweeping import unannounced
from optirelay.engine.syncing import sync_listeners, tell_behind
from optirelay.engine.triggering import Met, send_at_once
from optirelay.errors import TryLater
from optirelay.model import CampaignId, CampaignState, ChannelName, ProblemKind, TenantId, day_of
from optirelay.model import Notification as Told
from optirelay.optimove import SendDetailsPage
from optirelay.stages import campaigns, listeners, messages, notifications, recipients
from optirelay.store import Ledger, Notification
from optirelay.store.batches import LockedBatch, TakenBatch
from optirelay.store.campaigns import Reading

MOST_NOTIFICATIONS = 100  # read in one transaction
MOST_CALLBACKS = 1000  # likewise
MOST_OCTETS = 4 * 1024 * 1024  # of notifications; read, they take up to 25 times as much
MOST_READINGS = 3  # of one pass whose rows repeat
log = structlog.get_logger()


# --- accept: a request of Optimove becomes a pass, or a message, or calls a campaign off ----------------------------


async def accept(ctx: Context, starter: Starter | None = None) -> int:
    """Read a group of notifications; how many. One that the store refuses is set aside and stops nobody.

    Triggered messages start in the same transaction and are given to the starter; without one they wait for a worker.
    """
    return await in_groups(
        "notifications", MOST_NOTIFICATIONS, lambda most, alone: _accept_some(ctx, starter, most, alone=alone)
    )


async def _accept_some(ctx: Context, starter: Starter | None, most: int, *, alone: bool) -> int:
    started: list[Started] = []
    try:
        async with ctx.store.transaction(pipelined=not alone) as everyone:
            taken = await everyone.take_notifications(most, MOST_OCTETS)
            for tenant, of_tenant in grouped(taken, lambda notification: notification.tenant):
                ledger = everyone.ledger(tenant)
                async with apart(ledger, alone=alone) as refused:
                    started += await _accept_of(ctx, ledger, of_tenant, starter)
                if refused:
                    await everyone.set_aside(taken[0])
                    await troubles.tell_request_set_aside(ledger, f"notification {taken[0].id}")
                    return len(taken)
    except BaseException:
        if starter is not None:
            starter.maybe_started(started)
        raise
    if starter is not None:
        starter.give(started)
    return len(taken)


async def _accept_of(
    ctx: Context, ledger: Ledger, group: Sequence[Notification], starter: Starter | None
) -> list[Started]:
    """One tenant's notifications: those of triggers together, channel by channel, after all others."""
    met: list[Met] = []
    for notification in group:
        told = notifications.read(notification.body)
        channels = ctx.settings.tenants[ledger.tenant].channels
        match campaigns.next_step(told, notification.hash, channels):
            case campaigns.SendOne(campaign_id, channel):
                met.append(Met(channel, campaign_id, told, notification))
            case step:
                await ctx.way.give("notifications")
                await _carry_out(ctx, ledger, step, told, notification.received_at)
    started: list[Started] = []
    for channel, of_channel in sorted(grouped(met, lambda one: one.channel)):
        room = 0 if starter is None else starter.room(ledger.tenant, channel)
        started += await send_at_once(ctx, ledger, channel, of_channel, most=room)
    return started


async def _carry_out(ctx: Context, ledger: Ledger, step: campaigns.Step, told: Told, received_at: datetime) -> None:
    match step:
        case campaigns.SendPlan() as plan:
            for channel in plan.channels:
                await _start_pass(ledger, plan, channel, received_at)
        case campaigns.CallOff(campaign_id):
            await _call_off(ctx, ledger, campaign_id, received_at)
        case campaigns.Kept(kind, problem, mend) if kind is not None:
            subject = listeners.subject_of((told.event_type, told.channel_id))
            await ledger.problems.tell(kind, problem, mend, subject=subject)
        case _:
            log.info("notification_kept", tenant=ledger.tenant, event_type=told.event_type)


async def _start_pass(ledger: Ledger, plan: campaigns.SendPlan, channel: ChannelName, told_at: datetime) -> None:
    """A new occasion starts a pass; the same one again, none; and none at all once the campaign is cancelled."""
    cancelled = await ledger.campaigns.cancelled(plan.campaign_id, channel)
    day = day_of(told_at)
    await ledger.campaigns.keep(plan.campaign_id, channel, day, cancelled=cancelled, announced=plan.announced)
    if cancelled:
        await troubles.tell_told_after_cancel(ledger, plan.campaign_id, channel if plan.announced else None)
        return
    started = await ledger.campaigns.add_pass(plan.campaign_id, channel, plan.occasion)
    if started is not None:
        await gather.put(ledger, pass_=started, skip=0)


async def _call_off(ctx: Context, ledger: Ledger, campaign_id: CampaignId, told_at: datetime) -> None:
    """From the commit on no group of it starts; what is left of it is skipped by a job of its own."""
    if not await ledger.campaigns.known(campaign_id):
        for channel, kind in campaigns.remembered_on(ctx.settings.tenants[ledger.tenant].channels):
            await ledger.campaigns.remember(campaign_id, channel, kind, day_of(told_at))
    for campaign in await ledger.campaigns.cancel(campaign_id):
        await call_off.put(ledger, campaign=campaign)


@job
async def call_off(ctx: Context, tenant: TenantId, *, campaign: int) -> None:
    """What of a cancelled campaign has not started is skipped, batch by batch."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        open_batches = await ledger.batches.open_of(campaign)
    for number in open_batches:
        async with store.transaction() as ledger:
            batch = await ledger.batches.lock(number)
            if batch is not None and not batch.done:
                await skip_rest(ctx, ledger, batch)
                await ledger.batches.write(batch)
    async with store.transaction() as ledger:
        await _close_if_done(ctx, ledger, campaign)


# --- gather: a page of recipients becomes messages ------------------------------------------------------------------


@job
async def gather(ctx: Context, tenant: TenantId, *, pass_: int, skip: int) -> None:
    """One page of recipients becomes messages in batches; only an empty page ends the reading."""
    with ctx.way.at_work(pass_):
        await _gather_page(ctx, tenant, pass_, skip)


async def _gather_page(ctx: Context, tenant: TenantId, pass_: int, skip: int) -> None:
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        reading = await ledger.campaigns.reading(pass_)
        if reading is None or not reading.open or await ledger.pages.known(reading, skip):
            return
    channel, settings = ctx.channel_settings(tenant, reading.channel), ctx.settings.tenants[tenant]
    tags = recipients.tags_of(channel, default_country=settings.default_country)
    call = recipients.page_call(reading.campaign_id, channel, tags, skip=skip, top=settings.page_size)
    page = await ask(ctx, tenant, call)
    await ctx.way.give(pass_, len(page))
    batches = messages.batches(await addressing.read_page(ctx, tenant, pass_, page.rows, tags))
    async with store.transaction() as ledger:
        now = await ledger.campaigns.lock_reading(pass_)
        if now is None or not now.open or now.reading != reading.reading or await ledger.pages.known(now, skip):
            return
        if await _ends(ledger, now, page):
            await _end_reading(ctx, ledger, pass_)
            return
        added = await ledger.pages.add(
            *(now, skip, batches),
            received=len(page),
            digest=page.digest,
            expire_after=channel.expire_after,
            now=utc_now(),
            between=lambda: ctx.way.give(pass_),
        )
        if not now.announced:
            await ledger.campaigns.announce(now.campaign)
        for template_id in added.held_templates:
            await troubles.tell_unknown_template(ledger, reading.channel, template_id)
        await ledger.batches.wake_senders()
        # Only now, because senders that end a batch wait for the campaign: they need not wait for a whole page.
        if await ledger.campaigns.keep_running(now.campaign):
            await gather.put(ledger, pass_=pass_, skip=skip + len(page))
        else:
            await call_off.put(ledger, campaign=now.campaign)


async def _ends(ledger: Ledger, reading: Reading, page: SendDetailsPage) -> bool:
    """Whether the reading is over: at an empty page, or because its pages would go on for ever."""
    so_far = await ledger.pages.so_far(reading, page.digest)
    endless = recipients.never_ends(
        len(page), same=so_far.same, received=so_far.received, handed_over=so_far.handed_over
    )
    if page and not endless:
        return False
    await troubles.tell_of_end(ledger, reading, endless=endless)
    return True


async def _end_reading(ctx: Context, ledger: Ledger, pass_: int) -> None:
    """Where rows repeated, the pages moved while they were read: once more. Else the next pass starts."""
    reading = await ledger.campaigns.lock_reading(pass_)
    assert reading is not None
    if await ledger.campaigns.read_again(reading, MOST_READINGS):
        await gather.put(ledger, pass_=pass_, skip=0)
        return
    following = await ledger.campaigns.end_pass(reading)
    if following is not None:
        await gather.put(ledger, pass_=following, skip=0)
    await _close_if_done(ctx, ledger, reading.campaign)


# --- send: due batches, group by group ------------------------------------------------------------------------------


async def take(ctx: Context, tenant: TenantId, channel: ChannelName, *, triggered: bool = False) -> TakenBatch | None:
    """The channel's next due batch, in this worker's hands; what its last owner left open is settled first."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        lease = ctx.settings.service.takeover_after
        if triggered:
            await ledger.batches.merge_waiting(channel, utc_now())
        taken = await ledger.batches.take(channel, owner=ctx.worker, lease=lease, now=utc_now(), triggered=triggered)
        if taken is None or taken.taken_from is None:
            return taken
        batch = await ledger.batches.lock(taken.id)
        assert batch is not None
        log.warning("batch_taken_over", tenant=tenant, channel=channel, batch=taken.id, worker=taken.taken_from)
        await take_over(ctx, ledger, batch, taken.taken_from)
        await write_batch(ctx, ledger, batch)
        return None if batch.done else taken


async def begin(
    ctx: Context,
    tenant: TenantId,
    taken: TakenBatch,
    known: Mapping[TakenBatch, Known],
    *,
    most: int,
    whose: Hashable | None = None,
) -> Begun:
    """Write what is known of groups before, then start the batch's next group of at most `most`: one transaction.

    It starts only where the batch is still ours and its campaign runs; what is known is written all the same.
    `whose` work it is, for the right of way; None waits for nobody.
    """
    async with ctx.store.tenant(tenant).transaction() as ledger:
        ended = await write_known(ctx, ledger, known)
        await ctx.way.give(whose)
        begun = await _begin(ctx, ledger, taken, most)
        await _close_if_done(ctx, ledger, *ended)
        return begun


async def _begin(ctx: Context, ledger: Ledger, taken: TakenBatch, most: int) -> Begun:
    batch = await ledger.batches.lock(taken.id)
    if batch is None or batch.fence != taken.fence or batch.done:
        return Begun(lost=True)
    if batch.campaign_state == CampaignState.CANCELLED:
        await skip_rest(ctx, ledger, batch)
        await write_batch(ctx, ledger, batch)
        return Begun(over=True)
    if batch.waiting:
        return Begun(over=True, next_due_at=utc_now())
    begun = await start_group(ctx, ledger, batch, most)
    if not begun.wait:
        await write_batch(ctx, ledger, batch)
    return begun


async def write_answers(ctx: Context, tenant: TenantId, known: Mapping[TakenBatch, Known]) -> None:
    """Write what is known of started groups, where no new group starts."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await _close_if_done(ctx, ledger, *await write_known(ctx, ledger, known))


async def free(ctx: Context, tenant: TenantId, taken: TakenBatch, due_at: datetime | None) -> None:
    """Give a batch back of which nothing is under way; due at its next message."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.batches.free(taken.id, taken.fence, due_at)


async def write_batch(ctx: Context, ledger: Ledger, batch: LockedBatch) -> None:
    """Write a locked batch; where it is done, that may have been the last of its campaign."""
    await ledger.batches.write(batch)
    if batch.done:
        await ledger.problems.mended(ProblemKind.BATCH_SET_ASIDE, subject=f"batch {batch.id}")
        if not batch.triggered:  # theirs is complete whenever nothing is under way
            await _close_if_done(ctx, ledger, batch.campaign)
        elif not batch.in_doubt:
            await troubles.mend_doubts(ledger, batch.campaign)


async def _close_if_done(ctx: Context, ledger: Ledger, *campaigns: int) -> None:
    """Where no pass and no batch of a campaign is open, it is complete, and its report is put. Last in a transaction:
    until its end, others that end a batch of the campaign wait."""
    for campaign in sorted(set(campaigns)):
        if await ledger.campaigns.close_if_done(campaign):
            if await due_now(ctx, ledger, campaign):
                await report.put(ledger, campaign=campaign)
            await troubles.mend_doubts(ledger, campaign)


# --- record: what providers tell of messages ------------------------------------------------------------------------


async def record(ctx: Context) -> int:
    """Read a group of callbacks; how many. One that the store refuses is set aside and stops nobody."""
    return await in_groups("callbacks", MOST_CALLBACKS, lambda most, alone: _record_some(ctx, most, alone=alone))


async def _record_some(ctx: Context, most: int, *, alone: bool) -> int:
    async with ctx.store.transaction() as everyone:
        taken = await everyone.take_callbacks(most)
        for (tenant, channel), callbacks in grouped(taken, lambda callback: (callback.tenant, callback.channel)):
            ledger = everyone.ledger(tenant)
            async with apart(ledger, alone=alone) as refused:
                await keep_callbacks(ledger, channel, callbacks)
            if refused:
                await everyone.settle_callbacks(callbacks, "set_aside")
                await troubles.tell_request_set_aside(ledger, f"callback {callbacks[0].id}")
                return len(taken)
        await everyone.settle_callbacks(taken, "done")
        return len(taken)


# --- report: what became of it, to Optimove, each call once ---------------------------------------------------------


@job
async def report(ctx: Context, tenant: TenantId, *, campaign: int) -> None:
    """Tell all that was not told yet, until each call has its answer: one whose sender is gone is settled later."""
    await tell(ctx, tenant, campaign)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        if await ledger.reports.under_way(campaign):
            raise TryLater("a call of the report was sent, and what became of it is not known yet")


# --- sync: Optimove's lists of listeners and templates hold ours ----------------------------------------------------


@job
async def sync(ctx: Context, tenant: TenantId) -> None:
    """Register listeners, bring apps and templates in step; what was never ours is left alone."""
    await sync_listeners(ctx, tenant)
    left = offering.behind(await offering.sync_templates(ctx, tenant))
    await tell_behind(ctx, tenant, left)
    await check_drift(ctx, tenant)
    if left:
        raise TryLater(f"Optimove's lists do not hold all that is ours: {'; '.join(left)}")


@job
async def sweep(ctx: Context, tenant: TenantId) -> None:
    """Campaigns that Optimove executed and of which no notification came are started, as if one had come."""
    async with ctx.store.tenant(tenant).alone("sweep"):
        async for plan in unannounced(ctx, tenant):
            async with ctx.store.tenant(tenant).transaction() as ledger:
                await _start_pass(ledger, plan, plan.channels[0], utc_now())


# --- share: Optimove knows who opted in -----------------------------------------------------------------------------


async def share(ctx: Context, tenant: TenantId, channel: ChannelName) -> None:
    """The newest that customers said of a channel goes to Optimove, by the way that the settings name."""
    await tell_opt_ins(ctx, tenant, channel)


JOBS: Sequence[Job[...]] = (call_off, gather, report, sweep, sync)
