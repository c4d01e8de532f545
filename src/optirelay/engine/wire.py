"""The wire of one group: when each of its messages may leave, which have, and what was answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from optirelay.engine.journal import Journal
from optirelay.engine.slots import Slots
from optirelay.model import Answer, Doubtful, Sid
from optirelay.stages.sending import HALF_SECOND, MOST_AT_ONCE
from optirelay.store import StoreUnavailable

BEGUN_IN_A_TURN = 100
SURELY = 0.8  # of what it began in the last
log = structlog.get_logger()


class GroupWire:
    """What a channel tells of one group. A message that has not begun half a second after its slot does not begin."""

    def __init__(
        self,
        batch: int,
        numbers: Mapping[Sid, int],
        learn: Callable[[int, Answer], None],
        journal: Journal,
        slots: Slots | None,
        last_slot_at: float | None,
        between: Callable[[], Awaitable[None]],
        *,
        triggered: bool = False,
    ) -> None:
        """Where the channel has a rate: its slots, and when the last of the group's is, in the event loop's time.

        Triggered messages take slots before others, which then get theirs: so these have half a second more for it.
        """
        self._loop = asyncio.get_running_loop()
        self._batch = batch
        self._journal = journal
        self._waiting = dict(numbers)  # not begun
        self._begun: dict[Sid, int] = {}  # begun and not answered
        self._learn = learn
        self._size = len(numbers)
        self._started_at = self._loop.time()
        self._slots = slots
        self._between = between
        self._triggered = triggered
        displaced = HALF_SECOND.total_seconds() if slots is not None and not triggered else 0.0
        self._late_at = max(last_slot_at or 0.0, self._started_at) + HALF_SECOND.total_seconds() + displaced
        self._closed = False
        self._settled = asyncio.Event()
        self._took_seconds = 0.0
        self._never_begun = 0
        self._turns = 0
        if not numbers:
            self._settled.set()

    async def begin(self, sid: Sid) -> bool:
        """Wait for the message's slot; False where it is too late, or the work ends."""
        if self._slots is not None and not await self._slot_came(self._slots):
            return False
        self._turns += 1
        if self._turns % BEGUN_IN_A_TURN == 0:  # a channel that waits for nothing would leave no turn to others
            await self._between()
        if self._loop.time() > self._late_at:  # the process was stopped for long, or the machine slept
            self.close()
        if self._closed or sid not in self._waiting or not self._noted(self._waiting[sid]):
            return False
        self._begun[sid] = self._waiting.pop(sid)
        if not self._waiting:
            self._settle()
        return True

    async def _slot_came(self, slots: Slots) -> bool:
        """Wait for the next slot; False where there is none, because the database is away."""
        try:
            await slots.wait(first=self._triggered)
        except StoreUnavailable as error:
            log.warning("no_slot", why=str(error))
            self.close()
            return False
        return True

    def _noted(self, number: int) -> bool:
        """Whether the journal says that it begins; on a full disk it cannot, and the message waits."""
        try:
            self._journal.begun(self._batch, number)
        except OSError as error:
            log.error("journal_cannot_grow", why=str(error))  # noqa: TRY400 - its place is known
            return False
        return True

    def answered(self, sid: Sid, answer: Answer) -> None:
        """What became of a message that began; the first answer counts."""
        number = self._begun.pop(sid, None)
        if number is not None:
            self._journal.answered(self._batch, number, answer)
        if number is None and not self._closed:  # refused before it began
            number = self._waiting.pop(sid, None)
            if not self._waiting:
                self._settle()
        if number is not None:
            self._learn(number, answer)

    @property
    def waiting(self) -> int:
        """How many messages have not begun."""
        return len(self._waiting)

    def waits_for(self, sid: Sid) -> bool:
        """Whether this message has neither begun nor been answered for."""
        return sid in self._waiting and not self._closed

    async def all_begun(self) -> None:
        """Until every message has begun, the time is over, or the channel is done."""
        try:
            async with asyncio.timeout_at(self._late_at):
                await self._settled.wait()
        except TimeoutError:
            self._settle()

    def close(self) -> None:
        """Nothing begins from here on."""
        self._closed = True
        self._settle()

    def end(self) -> None:
        """The channel is done: what began and was not answered is in doubt."""
        self.close()
        for number in self._begun.values():
            self._learn(number, Doubtful("the channel ended without an answer"))
        self._begun.clear()

    def take_not_begun(self) -> list[int]:
        """Messages that never were on the wire, once."""
        left = list(self._waiting.values())
        self._never_begun += len(left)
        self._waiting.clear()
        return left

    @property
    def saturated(self) -> bool:
        """Whether the channel could not begin all of the group in time."""
        return self._never_begun > 0

    def handled_in_half_a_second(self) -> int:
        """How many messages the channel will surely begin in the next half second: what cannot is handed back."""
        begun = self._size - self._never_begun
        seconds = max(self._took_seconds, 0.001)
        return max(1, min(MOST_AT_ONCE, int(begun * HALF_SECOND.total_seconds() / seconds * SURELY)))

    def _settle(self) -> None:
        if not self._settled.is_set():
            self._took_seconds = self._loop.time() - self._started_at
            self._settled.set()
