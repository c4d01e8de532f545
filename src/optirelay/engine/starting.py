"""The next group of a batch starts: who may go now, at which slots of the rate; all else waits or is skipped."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.rendering import required_tags
from optirelay.engine.reporting import begin_window
from optirelay.engine.settle import skip
from optirelay.engine.slots import Slots
from optirelay.model import ChannelName, Message, TenantId
from optirelay.settings import Rate
from optirelay.stages import sending
from optirelay.store import Ledger
from optirelay.store.batches import LockedBatch, TakenBatch


@dataclass(frozen=True, slots=True)
class Begun:
    """A group that is started in committed state: now its messages may leave, each at its slot."""

    start: list[Message] = field(default_factory=list)
    first_slot_at: float = 0.0  # in the event loop's time
    wait: timedelta = timedelta(0)  # nothing started, because the rate has no slot until then
    over: bool = False  # nothing more of this batch can start now
    next_due_at: datetime | None = None  # where over: when its next message is due
    lost: bool = False  # the batch is somebody else's by now, or done


@dataclass(frozen=True, slots=True)
class Started:
    """A group that started with its batch, for whoever sends the channel's triggered messages in this worker."""

    tenant: TenantId
    channel: ChannelName
    batch: TakenBatch
    begun: Begun


class Starter(Protocol):
    """Whoever sends triggered messages in this worker."""

    def room(self, tenant: TenantId, channel: ChannelName) -> int:
        """How many messages of the channel may start now."""

    def give(self, started: Sequence[Started]) -> None:
        """These have started, and are to be handed over."""

    def maybe_started(self, started: Sequence[Started]) -> None:
        """The commit that was to start them was not answered: nothing of them has left, nor will by itself."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the channel's rate leaves for the next group."""

    most: int
    wait: timedelta = timedelta(0)  # until it may start


async def room_in(ctx: Context, ledger: Ledger, channel: ChannelName, most: int, *, triggered: bool) -> Room:
    """How many messages may start now, `most` at the most."""
    rate = ctx.channel_settings(ledger.tenant, channel).rate
    if rate is None:
        return Room(most)
    slots = await ledger.channels.next_slots(channel, sending.slot_interval(rate))
    wait = timedelta(seconds=slots.wait)
    if not triggered:
        return Room(most, sending.wait_for_slots(wait))
    waiting = slots.scheduled_wait
    own = timedelta(seconds=slots.triggered_wait)
    return Room(
        min(most, sending.most_triggered(rate, scheduled_wait=waiting)),
        sending.wait_for_triggered_slots(wait, own, scheduled_wait=waiting),
    )


def slots_of(ctx: Context, tenant: TenantId, channel: ChannelName) -> Slots | None:
    """One worker's slots of a channel; None where it has no rate."""
    settings = ctx.channel_settings(tenant, channel)
    if settings.rate is None:
        return None
    interval = sending.slot_interval(settings.rate)
    late = sending.may_be_late(settings.rate, together=settings.in_one_request > 1)

    async def reserve(count: int) -> float:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            return await ledger.channels.reserve_slots(channel, count, interval)

    return Slots(interval=interval, may_be_late=late, reserve=reserve)


async def reserve(ledger: Ledger, channel: ChannelName, rate: Rate | None, count: int, *, triggered: bool) -> float:
    """Slots for so many messages; when the first is, in the event loop's time. 0 where none are needed."""
    if rate is None or not count:
        return 0.0
    interval = sending.slot_interval(rate)
    return await ledger.channels.reserve_slots(channel, count, interval, triggered=triggered)


async def start_group(ctx: Context, ledger: Ledger, batch: LockedBatch, most: int) -> Begun:
    """Start the next group of a locked batch, whose campaign and channel are open; the caller writes the batch."""
    settings = ctx.channel_settings(ledger.tenant, batch.channel)
    room = await room_in(ctx, ledger, batch.channel, most, triggered=batch.triggered)
    if room.wait:
        return Begun(wait=room.wait)
    group = sending.next_group(
        await ledger.batches.next_messages(batch, room.most),
        utc_now(),
        required=await required_tags(ctx, ledger, batch.channel, batch.template_id, batch.template_version),
        only_to=settings.only_to,
        expire_after=settings.expire_triggered_after if batch.triggered else settings.expire_after,
        quiet=ctx.quiet(ledger.tenant, batch.channel),
        opt_in_needed=settings.require_opt_in,
    )
    await skip(ctx, ledger, batch, group.skips)
    batch.begun += len(group.start)
    batch.started = max([batch.started, *group.skips, *(message.number for message in group.start)])
    if group.start:
        await begin_window(ctx, ledger, batch)
    first_slot_at = await reserve(ledger, batch.channel, settings.rate, len(group.start), triggered=batch.triggered)
    over = group.next_due_at is not None or not batch.unstarted
    return Begun(group.start, first_slot_at, over=over, next_due_at=group.next_due_at)
