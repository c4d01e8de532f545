"""One channel in one worker: its due batches are taken, started group by group, and what is learnt is written.

Triggered messages have a lane of their own, which is also given groups that started when they came.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import troubles
from optirelay.engine.context import Context
from optirelay.engine.journal import Journal
from optirelay.engine.rendering import render
from optirelay.engine.settle import Known, hand_back_unsent
from optirelay.engine.slots import Slots
from optirelay.engine.starting import Begun, Started
from optirelay.engine.wire import GroupWire
from optirelay.errors import NeedsOperator, TryLater
from optirelay.model import Answer, ChannelName, Later, Outgoing, TenantId
from optirelay.stages import sending
from optirelay.store import StoreUnavailable
from optirelay.store.batches import TakenBatch

T = TypeVar("T")

LONGEST_SLEEP_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.05  # for a due batch, where nobody says that there is one
TOGETHER_SECONDS = 0.1  # answers to triggered messages are written that came within so long
DRAIN_SECONDS = 25.0  # at the end, for answers that are under way
SLOT_AHEAD_SECONDS = sending.SLOT_AHEAD.total_seconds()
SET_ASIDE_FOR = timedelta(minutes=10)
log = structlog.get_logger()


class Lane:
    """One channel's due batches of one kind, sent by this worker."""

    def __init__(
        self,
        ctx: Context,
        journal: Journal,
        tenant: TenantId,
        channel: ChannelName,
        slots: Slots | None,
        *,
        triggered: bool = False,
    ) -> None:
        """`slots`: this worker's of the channel, where that has a rate."""
        self._ctx = ctx
        self._journal = journal
        self.tenant = tenant
        self._name = channel
        self._triggered = triggered
        self._channel = ctx.channels[tenant, channel]
        self._rate = ctx.channel_settings(tenant, channel).rate
        self._slots = slots
        self._given: set[asyncio.Task[None]] = set()  # groups that started elsewhere, on their way to the channel
        self._maybe_started: list[TakenBatch] = []  # by a commit that was not answered
        self._batch: TakenBatch | None = None
        self._loop = asyncio.get_running_loop()
        self._look_at = 0.0  # for a due batch, in the loop's time: there was none
        self._known: dict[TakenBatch, Known] = {}  # what became of started messages; not written yet
        self._under_way: dict[TakenBatch, set[int]] = {}  # started messages of which nothing is known
        self._unsure = False  # whether the last group started: its commit was not answered
        self._resting: dict[TakenBatch, datetime] = {}  # to be given back, with its due, once nothing is under way
        self._sends: set[asyncio.Task[None]] = set()
        self._wires: set[GroupWire] = set()
        self._before: asyncio.Future[None] = self._loop.create_future()  # the group before has begun
        self._before.set_result(None)
        self._something = asyncio.Event()
        self._answered = asyncio.Event()
        self._handled = 0  # messages that the channel handled in the last half second
        self._reached = False  # the provider, since it last was not

    def wake(self) -> None:
        """There may be something to do."""
        self._look_at = 0.0
        self._something.set()

    def give(self, started: Started) -> None:
        """Hand over a group that has started with its batch, at once; the batch is this lane's from here on."""
        batch, begun = started.batch, started.begun
        self._under_way.setdefault(batch, set()).update(message.number for message in begun.start)
        if not begun.over:
            self._resting[batch] = begun.next_due_at or utc_now()
        giving = asyncio.create_task(self._hand_over_given(batch, begun))
        self._given.add(giving)
        giving.add_done_callback(self._given.discard)

    @property
    def room(self) -> int:
        """How many messages more the channel can be given: more than it begins at once would only be handed back."""
        most = sending.most_at_once(None, self._handled)
        return max(0, most - sum(wire.waiting for wire in self._wires))

    def maybe_started(self, batch: TakenBatch) -> None:
        """The commit that was to start it was not answered: nothing of it has left."""
        self._maybe_started.append(batch)
        self._something.set()

    async def _hand_over_given(self, batch: TakenBatch, begun: Begun) -> None:
        try:
            with self._ctx.way.urgent(len(begun.start)):
                await self._hand_over(batch, begun)
        except StoreUnavailable as error:
            log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))
        except Exception:
            log.exception("group_not_handed_over", tenant=self.tenant, channel=self._name)

    async def run(self, stop: asyncio.Event, *, may_take: Callable[[], bool]) -> None:
        """Send until `stop`; then hand back what has not left, and wait for the answers of what has."""
        stopping = asyncio.create_task(self._close_on(stop))
        while not stop.is_set():
            try:
                await self._turn(may_take)
            except StoreUnavailable as error:
                log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))
                await asyncio.sleep(LONGEST_SLEEP_SECONDS)
            except Exception:
                log.exception("batch_set_aside", tenant=self.tenant, channel=self._name)
                await self._set_aside()
        await stopping
        await self._drain()

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for wire in self._wires:
            wire.close()
        self._something.set()

    async def _turn(self, may_take: Callable[[], bool]) -> None:
        self._something.clear()
        await self._hand_back_maybe_started()
        await self._give_back()
        if self._batch is None and may_take() and self._look_at <= self._loop.time():
            self._batch = await pipeline.take(self._ctx, self.tenant, self._name, triggered=self._triggered)
            self._look_at = self._loop.time() + (LOOK_AGAIN_SECONDS if self._batch is None else 0.0)
        if self._batch is None:
            await self._idle(may_take)
            return
        batch = self._batch
        most = self._ctx.way.at_once(self._whose, sending.most_at_once(self._rate, self._handled))
        await self._way()
        await self._hand_back_unsure(batch)
        self._unsure = True
        begun = await self._write(
            lambda known: pipeline.begin(self._ctx, self.tenant, batch, known, most=most, whose=self._whose)
        )
        self._unsure = False
        if begun.lost or begun.over:
            self._batch = None
        if begun.over and begun.next_due_at is not None:
            self._resting[batch] = begun.next_due_at
        await self._way(len(begun.start))
        if begun.start:
            await self._hand_over(batch, begun)
        elif begun.wait:
            await self._sleep(begun.wait.total_seconds())

    async def _way(self, messages: int = 0) -> None:
        await self._ctx.way.give(self._whose, messages)

    @property
    def _whose(self) -> tuple[TenantId, ChannelName] | None:
        """Whose work it is, for the right of way; triggered messages wait for nobody."""
        return None if self._triggered else (self.tenant, self._name)

    def held(self) -> set[int]:
        """Batches that are in this lane's hands: their leases are to be renewed, and no others."""
        taken = {*self._resting, *self._under_way, *self._known}
        return {batch.id for batch in taken | ({self._batch} if self._batch else set())}

    def _spoken_for(self, batch: TakenBatch) -> set[int]:
        """Started messages that are under way, or of which something is known that is not written yet."""
        known = self._known.get(batch, Known())
        return self._under_way.get(batch, set()) | known.answers.keys() | set(known.handed_back)

    async def _idle(self, may_take: Callable[[], bool]) -> None:
        """No batch to work on: write what is known, or sleep until one may be due."""
        if self._known:
            if self._triggered:  # many small groups: a commit for each would keep others from theirs
                await asyncio.sleep(TOGETHER_SECONDS)
            await self._write(lambda known: pipeline.write_answers(self._ctx, self.tenant, known))
        else:
            await self._sleep(await self._until_due() if may_take() else LONGEST_SLEEP_SECONDS)
            self._look_at = 0.0

    async def _write(self, write: Callable[[Mapping[TakenBatch, Known]], Awaitable[T]]) -> T:
        """Have what is known written; where that fails it stays known. Written twice, it changes nothing."""
        known, self._known = self._known, {}
        try:
            with self._ctx.way.at_work(self._whose):
                written = await write(known)
        except BaseException:
            for batch, of_batch in known.items():
                self._known.setdefault(batch, Known()).add_unwritten(of_batch)
            raise
        for batch, of_batch in known.items():
            self._journal.settled(batch.id, of_batch.answers)
        return written

    async def _hand_over(self, batch: TakenBatch, begun: Begun) -> None:
        """Give a started group to the channel; what is not on the wire in time is handed back."""
        numbers = {message.sid: message.number for message in begun.start}
        self._under_way.setdefault(batch, set()).update(numbers.values())
        last_slot_at = None if self._slots is None else self._slots.add(begun.first_slot_at, len(numbers))
        try:
            outgoing, refused = await render(self._ctx, self.tenant, self._name, batch, begun.start, whose=self._whose)
        except Exception:
            self._hand_back(batch, list(numbers.values()))
            raise
        for number, answer in refused.items():
            self._learn(batch, number, answer)
        await self._before  # its messages need the channel's connections first
        wire = GroupWire(
            batch.id,
            {mail.sid: numbers[mail.sid] for mail in outgoing},
            lambda number, answer: self._learn(batch, number, answer),
            self._journal,
            self._slots,
            last_slot_at,
            self._way,
            triggered=self._triggered,
        )
        self._wires.add(wire)
        self._answered.clear()
        send = asyncio.create_task(self._send(batch, outgoing, wire))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)
        if last_slot_at is None:
            await self._all_begun(batch, wire)
        else:  # so that no slot is lost between two groups, the next is made ready before the last of this one has left
            self._before = asyncio.create_task(self._all_begun(batch, wire))
            last_in = last_slot_at - asyncio.get_running_loop().time()
            await asyncio.wait({self._before}, timeout=max(0.0, last_in - SLOT_AHEAD_SECONDS))

    async def _all_begun(self, batch: TakenBatch, wire: GroupWire) -> None:
        """Until every message of a group has begun, or its time is over; what then has not is handed back."""
        await wire.all_begun()
        wire.close()
        self._hand_back(batch, wire.take_not_begun())
        # With a rate, a group that all began says nothing of how fast the channel could be.
        self._handled = wire.handled_in_half_a_second() if self._rate is None or wire.saturated else 0
        if wire.saturated:  # another group would only be handed back, too
            await self._wait_for(self._answered, LONGEST_SLEEP_SECONDS)

    async def _send(self, batch: TakenBatch, outgoing: list[Outgoing], wire: GroupWire) -> None:
        try:
            await self._offer(outgoing, wire)
            if not self._reached:
                await troubles.channel_works(self._ctx, self.tenant, self._name)
                self._reached = True
        except StoreUnavailable as error:
            log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))
        except TryLater as error:
            await self._provider_away(str(error), after=error.after)
        except NeedsOperator as error:
            await self._provider_stops(str(error))
        except Exception:
            log.exception("send_failed", tenant=self.tenant, channel=self._name)
        finally:
            wire.end()
            self._hand_back(batch, wire.take_not_begun())
            self._wires.discard(wire)

    async def _offer(self, outgoing: list[Outgoing], wire: GroupWire) -> None:
        """Hand a group to the channel. Where one message breaks it, the others are offered one by one."""
        try:
            await self._channel.send(outgoing, wire)
        except (TryLater, NeedsOperator, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("channel_failed", tenant=self.tenant, channel=self._name)
            for mail in outgoing:
                await self._offer_alone(mail, wire)

    async def _offer_alone(self, mail: Outgoing, wire: GroupWire) -> None:
        """One that the channel fails on before it begins is tried again like one that the provider put off."""
        if not wire.waits_for(mail.sid):
            return
        try:
            await self._channel.send([mail], wire)
        except (TryLater, NeedsOperator, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("message_breaks_channel", tenant=self.tenant, channel=self._name, sid=mail.sid)
            if wire.waits_for(mail.sid):
                wire.answered(mail.sid, Later(f"{type(error).__name__} in the channel; see the log"))

    async def _provider_away(self, why: str, *, after: timedelta | None) -> None:
        self._reached = False
        try:
            await troubles.channel_waits(self._ctx, self.tenant, self._name, why, after=after)
        except StoreUnavailable as error:
            log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))

    async def _provider_stops(self, why: str) -> None:
        """Where that cannot be kept, what is handed back is soon offered again, and stops it then."""
        self._reached = False
        try:
            await troubles.channel_stops(self._ctx, self.tenant, self._name, why)
        except StoreUnavailable as error:
            log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))

    def _learn(self, batch: TakenBatch, number: int, answer: Answer) -> None:
        known = self._known.get(batch)
        if known is None:  # seldom: not one made for each answer
            known = self._known[batch] = Known()
        known.answers[number] = answer
        self._over(batch, (number,))
        self._something.set()
        self._answered.set()

    def _hand_back(self, batch: TakenBatch, numbers: list[int]) -> None:
        if numbers:
            self._known.setdefault(batch, Known()).handed_back += numbers
            self._over(batch, numbers)
            self._something.set()

    def _over(self, batch: TakenBatch, numbers: Sequence[int]) -> None:
        under_way = self._under_way.get(batch, set())
        under_way.difference_update(numbers)
        if not under_way:
            self._under_way.pop(batch, None)

    async def _hand_back_maybe_started(self) -> None:
        while self._maybe_started:
            await hand_back_unsent(self._ctx, self.tenant, self._maybe_started[0], set(), self._journal)
            self._maybe_started.pop(0)

    async def _hand_back_unsure(self, batch: TakenBatch) -> None:
        if self._unsure:
            await hand_back_unsent(self._ctx, self.tenant, batch, self._spoken_for(batch), self._journal)
            self._unsure = False

    async def _give_back(self) -> None:
        """Batches whose next message is not due, once all that was started of them is written."""
        for batch, due_at in list(self._resting.items()):
            if batch not in self._under_way and batch not in self._known:
                await pipeline.free(self._ctx, self.tenant, batch, due_at)
                del self._resting[batch]

    async def _until_due(self) -> float:
        async with self._ctx.store.tenant(self.tenant).transaction() as ledger:
            lease = self._ctx.settings.service.takeover_after
            due_at = await ledger.batches.next_due(self._name, lease=lease, triggered=self._triggered)
        return LONGEST_SLEEP_SECONDS if due_at is None else max(0.005, (due_at - utc_now()).total_seconds())

    async def _sleep(self, seconds: float) -> None:
        """Sleep so long, or until there may be something to do."""
        await self._wait_for(self._something, min(seconds, LONGEST_SLEEP_SECONDS))

    @staticmethod
    async def _wait_for(event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass

    async def _set_aside(self) -> None:
        """A batch that cannot be worked on stops nobody: the others first, and it again later."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._resting[batch] = utc_now() + SET_ASIDE_FOR
            try:
                await troubles.tell_set_aside(self._ctx, self.tenant, self._name, batch)
            except StoreUnavailable as error:
                log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))
        await asyncio.sleep(LONGEST_SLEEP_SECONDS)

    async def _drain(self) -> None:
        """Wait for answers, write all that is known, and give back what is in hand."""
        await self._before
        await asyncio.gather(*self._given)
        if self._sends:
            _, late = await asyncio.wait(self._sends, timeout=DRAIN_SECONDS)
            for send in late:
                send.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._write(lambda known: pipeline.write_answers(self._ctx, self.tenant, known))
            await self._hand_back_maybe_started()
            if self._batch is not None:
                await self._hand_back_unsure(self._batch)
                self._resting.setdefault(self._batch, utc_now())
            await self._give_back()
        except StoreUnavailable as error:
            log.warning("store_unavailable", tenant=self.tenant, channel=self._name, why=str(error))
