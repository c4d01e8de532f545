"""A worker, one step at a time: it does what `lane` and `wire` do, in their order, until it is stopped or killed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.journal import ENDING, Journal
from optirelay.engine.settle import Known, hand_back_unsent
from optirelay.engine.starting import Started
from optirelay.model import Answer, ChannelName, Doubtful, Message, Sid, TenantId
from optirelay.store import StoreUnavailable
from optirelay.store.batches import TakenBatch
from tests.house import ACME
from tests.model.outside import ANSWERS, Fate, Provider

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Try:
    """One message of a group that started."""

    batch: TakenBatch
    number: int
    sid: Sid
    fate: Fate | None = None  # None: not begun


class Worker:
    """A lane of scheduled and one of triggered messages in one, with a journal of its own."""

    def __init__(self, ctx: Context, channel: ChannelName, provider: Provider, folder: Path, name: str) -> None:
        self.name = name
        self.ctx = replace(ctx, worker=name)
        self._channel = channel
        self._provider = provider
        self.path = folder / f"{name}{ENDING}"
        self._stack = ExitStack()
        self._journal = self._stack.enter_context(Journal.open(folder, name))
        self.batch: TakenBatch | None = None
        self.known: dict[TakenBatch, Known] = {}
        self.unsure = False
        self.maybe: list[TakenBatch] = []  # triggered, started by a commit that was not answered
        self.resting: dict[TakenBatch, datetime] = {}
        self.waiting: list[Try] = []  # started and not begun
        self.on_wire: list[Try] = []  # begun and not answered

    # --- what a lane does, a transaction at a time --------------------------------------------------------------------

    def room(self, tenant: TenantId, channel: ChannelName) -> int:
        """Its clock is right, and its channel takes what there is."""
        return 1000

    def give(self, started: Sequence[Started]) -> None:
        """Groups of triggered messages that started as they were accepted."""
        for one in started:
            self.waiting += [Try(one.batch, message.number, message.sid) for message in one.begun.start]
            if not one.begun.over:
                self.resting[one.batch] = one.begun.next_due_at or utc_now()

    def maybe_started(self, started: Sequence[Started]) -> None:
        """The same, where the commit was not answered: nothing of them has left."""
        self.maybe += [one.batch for one in started]

    async def turn(self, most: int) -> list[Message] | None:
        """The next thing that a lane would do; the group, where one started. StoreUnavailable as there."""
        if self.maybe:
            await hand_back_unsent(self.ctx, ACME, self.maybe[0], set(), self._journal)
            self.maybe.pop(0)
            return None
        if await self._gave_back():
            return None
        if self.batch is None:
            self.batch = await self._take()
            if self.batch is None and self.known:
                await self._write(lambda known: pipeline.write_answers(self.ctx, ACME, known))
            return None
        if self.unsure:
            await hand_back_unsent(self.ctx, ACME, self.batch, self.spoken_for(self.batch), self._journal)
            self.unsure = False
            return None
        return await self._begin(self.batch, most)

    async def _take(self) -> TakenBatch | None:
        triggered = await pipeline.take(self.ctx, ACME, self._channel, triggered=True)
        return triggered or await pipeline.take(self.ctx, ACME, self._channel)

    async def _begin(self, batch: TakenBatch, most: int) -> list[Message]:
        self.unsure = True
        begun = await self._write(lambda known: pipeline.begin(self.ctx, ACME, batch, known, most=most))
        self.unsure = False
        if begun.lost or begun.over:
            self.batch = None
        if begun.over and begun.next_due_at is not None:
            self.resting[batch] = begun.next_due_at
        self.waiting = [Try(batch, message.number, message.sid) for message in begun.start]
        return begun.start

    async def _write(self, write: Callable[[Mapping[TakenBatch, Known]], Awaitable[T]]) -> T:
        known, self.known = self.known, {}
        try:
            written = await write(known)
        except BaseException:
            for batch, of_batch in known.items():
                self.known.setdefault(batch, Known()).add_unwritten(of_batch)
            raise
        for batch, of_batch in known.items():
            self._journal.settled(batch.id, of_batch.answers)
        return written

    async def _gave_back(self) -> bool:
        """Whether a batch was given back of which nothing is under way."""
        for batch, due_at in self.resting.items():
            if batch not in self.known and not self.under_way(batch):
                await pipeline.free(self.ctx, ACME, batch, due_at)
                del self.resting[batch]
                return True
        return False

    async def renew(self) -> None:
        """The leases of what is in hand begin anew."""
        held = [(ACME, batch.id) for batch in self.held()]
        await self.ctx.store.renew_leases(self.name, self.ctx.settings.service.takeover_after, held)

    # --- what a wire does ---------------------------------------------------------------------------------------------

    def begin_on_wire(self, fate: Fate) -> None:
        """The next message of the group leaves; this is meant to become of it."""
        following = self.waiting.pop(0)
        self._journal.begun(following.batch.id, following.number)
        self.on_wire.append(replace(following, fate=self._provider.receive(following.sid, fate)))

    def hear(self, place: int, *, silent: bool) -> None:
        """What became of a message on the wire; `silent`: the channel ends, and nothing was heard."""
        heard = self.on_wire.pop(place)
        assert heard.fate is not None
        if silent:
            self._learn(heard, Doubtful("the channel ended without an answer"))
            return
        self._journal.answered(heard.batch.id, heard.number, ANSWERS[heard.fate])
        self._learn(heard, ANSWERS[heard.fate])

    def refuse(self, answer: Answer) -> None:
        """The next message of the group cannot be begun at all."""
        self._learn(self.waiting.pop(0), answer)

    def close_wire(self) -> None:
        """The time is over: what has not begun is handed back."""
        for late in self.waiting:
            self.known.setdefault(late.batch, Known()).handed_back.append(late.number)
        self.waiting = []

    def _learn(self, done: Try, answer: Answer) -> None:
        self.known.setdefault(done.batch, Known()).answers[done.number] = answer

    # --- what is in hand ----------------------------------------------------------------------------------------------

    def under_way(self, batch: TakenBatch) -> set[int]:
        """Started messages of which nothing is known."""
        return {message.number for message in (*self.waiting, *self.on_wire) if message.batch is batch}

    def spoken_for(self, batch: TakenBatch) -> set[int]:
        """Started messages that are under way, or of which something is known that is not written yet."""
        known = self.known.get(batch, Known())
        return self.under_way(batch) | known.answers.keys() | set(known.handed_back)

    def held(self) -> set[TakenBatch]:
        """Batches whose leases are to be renewed."""
        taken = {*self.resting, *self.known, *(message.batch for message in (*self.waiting, *self.on_wire))}
        return taken | ({self.batch} if self.batch else set())

    # --- how it ends --------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """SIGTERM, as far as the database answers: what has not left is handed back, all that is known is written."""
        self.close_wire()
        while self.on_wire:
            self.hear(0, silent=True)
        try:
            await self._write(lambda known: pipeline.write_answers(self.ctx, ACME, known))
            for batch in self.maybe:
                await hand_back_unsent(self.ctx, ACME, batch, set(), self._journal)
            if self.unsure and self.batch is not None:
                await hand_back_unsent(self.ctx, ACME, self.batch, self.spoken_for(self.batch), self._journal)
            if self.batch is not None:
                self.resting.setdefault(self.batch, utc_now())
            while await self._gave_back():
                pass
        except StoreUnavailable:
            pass
        self._stack.close()
        with suppress(StoreUnavailable):
            await self.ctx.store.gone(self.name)

    def kill(self) -> None:
        """kill -9: its journal stays as it is, and its lock is free."""
        content = self.path.read_bytes() if self.path.exists() else None
        self._stack.close()
        if content is not None:
            self.path.write_bytes(content)
