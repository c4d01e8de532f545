"""Notifications of customers who met a trigger become messages, and start, all in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from optirelay.clock import utc_now
from optirelay.engine import addressing, troubles
from optirelay.engine.context import Context
from optirelay.engine.rendering import required_tags
from optirelay.engine.reporting import first_report
from optirelay.engine.starting import Begun, Started, reserve, room_in
from optirelay.model import (
    MESSAGES_PER_BATCH,
    CampaignId,
    CampaignState,
    ChannelName,
    Message,
    Skip,
    TemplateId,
    Triggered,
)
from optirelay.model import Notification as Told
from optirelay.settings import ChannelSettings
from optirelay.stages import sending, triggers
from optirelay.store import Ledger, Notification
from optirelay.store.batches import TakenBatch
from optirelay.store.sids import sid_of
from optirelay.store.triggers import Day, Looked, NewBatch

FENCE = 1
"""Of a batch that has had no owner but the one that it came with."""


@dataclass(frozen=True, slots=True)
class Met:
    """A notification of a customer who met a trigger, on one of our channels."""

    channel: ChannelName
    campaign_id: CampaignId
    told: Told
    notification: Notification


async def send_at_once(
    ctx: Context, ledger: Ledger, channel: ChannelName, met: Sequence[Met], *, most: int
) -> list[Started]:
    """Write a channel's notifications as messages in batches, each once, and start what may leave now, `most` at most.

    What is started is to be handed over once the transaction is committed; the rest waits as batches do.
    """
    settings = ctx.channel_settings(ledger.tenant, channel)
    received = await addressing.of_triggers(ledger, settings, _read(ctx, ledger, channel, met))
    if any(one.recipient.skip is Skip.UNREADABLE for one in received):
        await troubles.tell_unreadable_trigger(ledger, channel)
    looked, days = await ledger.triggers.look(channel, received)
    report_at = {one.campaign_id: first_report(ctx, ledger, channel, one.campaign_id) for one in received}
    if new_days := sorted({(one.campaign_id, one.day) for one in received} - days.keys()):
        days |= await ledger.triggers.add_days(channel, new_days, report_at=report_at)
    await _reopen(ledger, days, report_at)
    received = await _without_erased(ledger, days, met, received, looked)
    new = await _added(ledger, days, received, looked)
    most = most if all(row.open for row in looked) else 0
    batches, started = await _Planning(ctx, ledger, channel).plan(new, most)
    by_pass: dict[int, list[Triggered]] = {}
    for one in received:
        by_pass.setdefault(days[one.campaign_id, one.day].pass_, []).append(one)
    lease = ctx.settings.service.takeover_after
    await ledger.triggers.add(channel, batches, received=by_pass, owner=ctx.worker, lease=lease, now=utc_now())
    for template_id in {b.template_id for b in batches if b.template_id is not None and b.template_version is None}:
        await troubles.tell_unknown_template(ledger, channel, template_id)
    if any(batch.unstarted for batch in batches):
        await ledger.batches.wake_senders()
    return started


def _read(ctx: Context, ledger: Ledger, channel: ChannelName, met: Sequence[Met]) -> list[Triggered]:
    country = ctx.settings.tenants[ledger.tenant].default_country
    reading = triggers.reading_of(ctx.channel_settings(ledger.tenant, channel), default_country=country)
    return [
        triggers.read(one.told, one.campaign_id, one.notification.hash, one.notification.received_at, reading)
        for one in met
    ]


async def _without_erased(
    ledger: Ledger,
    days: Mapping[tuple[CampaignId, date], Day],
    met: Sequence[Met],
    received: Sequence[Triggered],
    looked: Sequence[Looked],
) -> list[Triggered]:
    """Of who was erased nothing is kept but that they met a trigger: it is skipped, and its notification is emptied."""
    erased = {one.recipient.customer_id: row.erased for one, row in zip(received, looked, strict=True) if row.erased}
    if not erased:
        return list(received)
    await ledger.forgetting.rename([day.id for day in days.values()], erased)
    emptied = [one.notification.id for one, row in zip(met, looked, strict=True) if row.erased]
    await ledger.forgetting.empty_notifications(emptied)
    return [
        triggers.as_erased(one, row.erased, suppressed=row.suppressed)
        for one, row in zip(received, looked, strict=True)
    ]


async def _reopen(
    ledger: Ledger, days: Mapping[tuple[CampaignId, date], Day], report_at: Mapping[CampaignId, datetime | None]
) -> None:
    """A day that was closed, or of which Optimove was told for the last time, goes on: a notification came late."""
    for day in days.values():
        if day.state == CampaignState.COMPLETE:
            await ledger.campaigns.reopen(day.id)
        if day.report_at is None and (at := report_at[day.campaign_id]) is not None:
            await ledger.reports.tell_by(day.id, at)


@dataclass(frozen=True, slots=True)
class _New:
    """Messages of one day and one template that the ledger did not have."""

    number: int  # of their batch
    day: Day
    template_id: TemplateId | None
    template_version: int | None
    messages: Mapping[int, tuple[Triggered, Looked]]  # by number


async def _added(
    ledger: Ledger,
    days: Mapping[tuple[CampaignId, date], Day],
    received: Sequence[Triggered],
    looked: Sequence[Looked],
) -> list[_New]:
    """Write what the ledger does not have yet."""
    alike: dict[tuple[CampaignId, date, TemplateId | None], list[tuple[Triggered, Looked]]] = {}
    for one, row in zip(received, looked, strict=True):
        alike.setdefault((one.campaign_id, one.day, one.recipient.template_id), []).append((one, row))
    planned = []
    for (campaign_id, day, template_id), of_it in alike.items():
        first = of_it[0][1]
        numbered = {first.batch * MESSAGES_PER_BATCH + place: both for place, both in enumerate(of_it)}
        planned.append(_New(first.batch, days[campaign_id, day], template_id, first.template_version, numbered))
    added = await ledger.triggers.add_messages(
        {n: (new.number, new.day, one) for new in planned for n, (one, _) in new.messages.items()}
    )
    kept = [replace(new, messages={n: both for n, both in new.messages.items() if n in added}) for new in planned]
    return [new for new in kept if new.messages]


class _Planning:
    """Decides for new messages of one channel which of them start now."""

    def __init__(self, ctx: Context, ledger: Ledger, channel: ChannelName) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._channel = channel
        self._settings: ChannelSettings = ctx.channel_settings(ledger.tenant, channel)
        self._quiet = ctx.quiet(ledger.tenant, channel)
        self._now = utc_now()

    async def plan(self, new: Sequence[_New], most: int) -> tuple[list[NewBatch], list[Started]]:
        """The batches as they are to be written, and what of them starts."""
        left = await self._within_rate(most) if new and most else 0
        planned: list[tuple[NewBatch, list[Message]]] = []
        for of in new:
            batch, start = await self._batch(of, left)
            left -= len(start)
            planned.append((batch, start))
        return [batch for batch, _ in planned], await self._started(planned)

    async def _within_rate(self, most: int) -> int:
        """How many messages of the channel may start now."""
        room = await room_in(self._ctx, self._ledger, self._channel, most, triggered=True)
        return 0 if room.wait else room.most

    def _message(self, number: int, of: _New, one: Triggered, looked: Looked) -> Message:
        return Message(
            number,
            sid_of(self._ledger.number, of.day.planned_on, number),
            one.recipient.customer_id,
            one.recipient.address or "",
            one.recipient.send_at or self._now,
            one.recipient.personalization,
            looked.opted_in,
            looked.suppressed,
            one.fired,
        )

    async def _batch(self, of: _New, left: int) -> tuple[NewBatch, list[Message]]:
        skips: dict[int, Skip] = {}
        ready: list[Message] = []
        for number, (one, looked) in of.messages.items():
            if (skip := one.recipient.skip) is not None:
                skips[number] = skip
            elif of.day.state == CampaignState.CANCELLED:
                skips[number] = Skip.CANCELLED
            else:
                ready.append(self._message(number, of, one, looked))
        can_start = of.day.state != CampaignState.PAUSED and left > 0
        group = await self._group(of, ready[:left] if can_start else [])
        skips |= group.skips
        due_at = group.next_due_at or self._now
        if ready and of.template_version is None:
            due_at = min(self._expiry(message) for message in ready)
        batch = NewBatch(
            *(of.number, of.day, of.template_id, of.template_version),
            messages={number: one for number, (one, _) in of.messages.items()},
            skips=skips,
            begun=len(group.start),
            started=max([0, *(message.number for message in group.start)]),
            due_at=due_at,
        )
        return batch, group.start

    async def _group(self, of: _New, ready: Sequence[Message]) -> sending.Group:
        if not ready or of.template_id is None:
            return sending.Group()
        return sending.next_group(
            ready,
            self._now,
            required=await required_tags(self._ctx, self._ledger, self._channel, of.template_id, of.template_version),
            only_to=self._settings.only_to,
            expire_after=self._settings.expire_triggered_after,
            quiet=self._quiet,
            opt_in_needed=self._settings.require_opt_in,
        )

    def _expiry(self, message: Message) -> datetime:
        return sending.earliest(message.send_at, self._quiet) + self._settings.expire_triggered_after

    async def _started(self, planned: Sequence[tuple[NewBatch, list[Message]]]) -> list[Started]:
        """Each group with its part of the slots."""
        rate = self._settings.rate
        count = sum(len(start) for _, start in planned)
        slot_at = await reserve(self._ledger, self._channel, rate, count, triggered=True)
        interval = timedelta(0) if rate is None else sending.slot_interval(rate)
        started = []
        for batch, start in planned:
            if start:
                begun = Begun(start, slot_at, over=not batch.unstarted, next_due_at=batch.due_at)
                started.append(Started(self._ledger.tenant, self._channel, _taken(batch), begun))
                slot_at += interval.total_seconds() * len(start)
        return started


def _taken(batch: NewBatch) -> TakenBatch:
    assert batch.template_id is not None
    day = batch.day
    return TakenBatch(
        *(batch.id, day.id, day.campaign_id, day.planned_on, batch.template_id, batch.template_version),
        started=batch.started,
        fence=FENCE,
        taken_from=None,
    )
