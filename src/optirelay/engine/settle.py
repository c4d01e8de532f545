"""What became of started messages is written: outcomes, new tries, doubts, and what was handed back."""

import random
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from optirelay.clock import utc_now
from optirelay.engine import troubles
from optirelay.engine.context import Context
from optirelay.engine.journal import DeadJournal, Journal
from optirelay.model import (
    Accepted,
    Answer,
    CampaignState,
    Doubtful,
    InDoubtRule,
    Later,
    ProblemKind,
    Refusal,
    Refused,
    Skip,
    TenantId,
)
from optirelay.stages import sending
from optirelay.store import Ledger
from optirelay.store.batches import Again, Attempt, LockedBatch, TakenBatch

WORKER_ENDED = "its worker ended before an answer came"


@dataclass(slots=True)
class Known:
    """What became of started messages of one batch since the last commit."""

    answers: dict[int, Answer] = field(default_factory=dict)
    handed_back: list[int] = field(default_factory=list)  # started, but never on the wire
    maybe_written: bool = False  # a commit of some of it was not answered

    def add_unwritten(self, earlier: "Known") -> None:
        """What was known earlier, and could not be written, is known still; what was learnt since counts."""
        self.answers = {**earlier.answers, **self.answers}
        self.handed_back += earlier.handed_back
        self.maybe_written = True

    def of_only(self, messages: AbstractSet[int]) -> "Known":
        """What is known of these messages alone."""
        answers = {message: answer for message, answer in self.answers.items() if message in messages}
        return Known(answers, [message for message in self.handed_back if message in messages])


async def write_known(ctx: Context, ledger: Ledger, known: Mapping[TakenBatch, Known]) -> list[int]:
    """Write it, whatever became of the batches since. Campaigns of which a batch is done by it."""
    ended: list[int] = []
    for taken in sorted(known, key=lambda taken: taken.id):
        batch = await ledger.batches.lock(taken.id)
        if batch is None:
            continue
        if batch.fence == taken.fence:
            of_batch = await _not_moved(ledger, batch, known[taken])
            await settle(ctx, ledger, batch, of_batch.answers)
            await hand_back(ledger, batch, of_batch.handed_back)
            touched = [batch]
        else:
            touched = await settle_late(ctx, ledger, batch, known[taken], ctx.worker)
        for written in touched:
            await ledger.batches.write(written)
            if written.done and not written.triggered:
                ended.append(written.campaign)
            elif written.done and not written.in_doubt and batch.fence != taken.fence:
                await troubles.mend_doubts(ledger, written.campaign)
    return ended


async def _not_moved(ledger: Ledger, batch: LockedBatch, known: Known) -> Known:
    """What was written before may have been undone since, by an operator, and moved: it is not to be written again."""
    if not known.maybe_written:
        return known
    places = await ledger.batches.batches_of(batch.planned_on, [*known.answers, *known.handed_back])
    return known.of_only(set(places.get(batch.id, ())))


async def hand_back_unsent(
    ctx: Context, tenant: TenantId, taken: TakenBatch, spoken_for: AbstractSet[int], journal: Journal
) -> None:
    """After a commit that was not answered: what it started, and nobody has, never left. It goes into a new batch.

    Whoever took the batch over meanwhile had it in doubt, as ours. Where more than one did, doubts of ours may be of
    another group than the one that was lost, and stay.
    """
    async with ctx.store.tenant(tenant).transaction() as ledger:
        batch = await ledger.batches.lock(taken.id)
        if batch is None:
            return
        touched = [batch]
        if batch.fence == taken.fence and not batch.done:
            unsent = [number for number in await ledger.batches.open_messages(batch) if number not in spoken_for]
            await hand_back(ledger, batch, unsent)
        elif batch.fence == taken.fence + 1:
            doubts = (await ledger.batches.doubts_of_worker(ctx.worker)).get(batch.id, [])
            unsent = [n for n in doubts if n not in spoken_for and not journal.holds(batch.id, n)]
            touched = await settle_late(ctx, ledger, batch, Known(handed_back=unsent), ctx.worker)
        for written in touched:
            await ledger.batches.write(written)
            if written.triggered and written.done and not written.in_doubt:
                await troubles.mend_doubts(ledger, written.campaign)


async def hand_back(ledger: Ledger, batch: LockedBatch, messages: Sequence[int]) -> None:
    """What never was on the wire goes into a new batch due at once; no try is counted."""
    if messages:
        await go_again(
            ledger, batch, messages, Again(utc_now(), batch.tries, batch.first_tried_at, repeats=batch.repeats)
        )


async def go_again(ledger: Ledger, batch: LockedBatch, messages: Sequence[int], again: Again) -> None:
    """Messages without an outcome go into a new batch; a campaign that was complete is not any more."""
    if await ledger.batches.move(batch, messages, again):
        if batch.done:
            await ledger.campaigns.reopen(batch.campaign)
        await ledger.batches.wake_senders()


async def take_over(
    ctx: Context, ledger: Ledger, batch: LockedBatch, worker: str, journal: DeadJournal | None = None
) -> None:
    """What a worker started in this batch and never settled: by its journal what it saw, else all of it was begun."""
    left_open = await ledger.batches.open_messages(batch)
    if journal is None:
        known = Known(dict.fromkeys(left_open, Doubtful(WORKER_ENDED)))
    else:
        known = seen_of(journal, batch.id, left_open)
    await settle(ctx, ledger, batch, known.answers, worker=worker)
    await hand_back(ledger, batch, known.handed_back)


def seen_of(journal: DeadJournal, batch: int, messages: Iterable[int]) -> Known:
    """What a dead worker had seen of started messages; what it never began counts as handed back."""
    known = Known()
    for message in messages:
        if journal.began(batch, message):
            known.answers[message] = journal.answer_to(batch, message) or Doubtful(WORKER_ENDED)
        else:
            known.handed_back.append(message)
    return known


async def settle_late(ctx: Context, ledger: Ledger, batch: LockedBatch, known: Known, worker: str) -> list[LockedBatch]:
    """What a worker saw of messages that were taken from it: their doubts become that; the batches to be written.

    What it handed back, or the provider did not take for now, never arrived: if it is in doubt, it goes again.
    """
    messages = [*known.answers, *known.handed_back]
    places = await ledger.batches.batches_of(batch.planned_on, messages)
    here = set(places.pop(batch.id, ()))
    never_arrived = [
        m for m in messages if m in here and not isinstance(known.answers.get(m), Accepted | Refused | Doubtful)
    ]
    await ledger.batches.undo_doubts(batch, never_arrived, worker)
    answers = {m: a for m, a in known.answers.items() if m in here and not isinstance(a, Doubtful)}
    await settle(ctx, ledger, batch, answers)
    await hand_back(ledger, batch, [m for m in known.handed_back if m in here])
    # The journal forgets what is written here; what it then lacks must not be taken for never begun.
    still_doubtful = [m for m, a in known.answers.items() if m in here and isinstance(a, Doubtful)]
    await ledger.batches.disown_doubts(batch, still_doubtful, worker)
    touched = [batch]
    # They were to go again; what the first try came to is enough. But a refusal that was written already, and that an
    # operator has tried again since, must not end that try.
    enough = Accepted if known.maybe_written else Accepted | Refused
    for number, moved in places.items():
        over = {m: a for m in moved if isinstance(a := known.answers.get(m), enough)}
        other = await ledger.batches.lock(number) if over else None
        if other is not None:
            await settle(ctx, ledger, other, over)
            touched.append(other)
    return touched


async def settle(
    ctx: Context, ledger: Ledger, batch: LockedBatch, answers: Mapping[int, Answer], *, worker: str | None = None
) -> None:
    """Outcomes for what is over, a later batch for what the provider did not take for now or can be repeated.

    `worker`: these are what it had in hand when it ended or went silent; what can be repeated goes at once.
    """
    now = utc_now()
    later: dict[int, Later] = {}
    unsent: list[int] = []
    doubtful: dict[int, Doubtful] = {}
    over: dict[int, Accepted | Refused] = {}
    for message, answer in answers.items():
        if isinstance(answer, Later) and answer.tried:
            later[message] = answer
        elif isinstance(answer, Later):
            unsent.append(message)
        elif isinstance(answer, Doubtful):
            doubtful[message] = answer
        else:
            over[message] = answer
    if later and not await _try_again(ctx, ledger, batch, later, now):
        over |= {message: Refused(Refusal.TOO_MANY_TRIES, answer.detail) for message, answer in later.items()}
    if batch.repeats:  # it may have arrived before, and only its provider can say that it did not
        ours = {m: a for m, a in over.items() if isinstance(a, Refused) and a.reason is not Refusal.REJECTED}
        over = {m: a for m, a in over.items() if m not in ours}
        await doubt(ctx, ledger, batch, {m: Doubtful(f"{a.reason.value}: {a.detail}") for m, a in ours.items()})
    await ledger.batches.settle(batch, over, now)
    await hand_back(ledger, batch, unsent)
    if later or any(not isinstance(answer, Accepted) for answer in over.values()):
        await ledger.batches.keep_attempts(batch, _attempts({**over, **later}, now))
    if doubtful and not await _repeat(ctx, ledger, batch, doubtful, now, at_once=worker is not None):
        await doubt(ctx, ledger, batch, doubtful, worker=worker)


async def _repeat(
    ctx: Context,
    ledger: Ledger,
    batch: LockedBatch,
    doubtful: Mapping[int, Doubtful],
    now: datetime,
    *,
    at_once: bool,
) -> bool:
    """Have them sent again with the same sid, where that does no harm; no try is counted. False: they are in doubt."""
    if _rule(ctx, ledger, batch) is not InDoubtRule.REPEAT or batch.campaign_state == CampaignState.CANCELLED:
        return False
    due_at = now if at_once else now + sending.pause_before(batch.repeats + 1, _jitter())
    await ledger.batches.keep_attempts(batch, _attempts(doubtful, now))
    await go_again(
        ledger, batch, list(doubtful), Again(due_at, batch.tries, batch.first_tried_at, repeats=batch.repeats + 1)
    )
    return True


async def skip(ctx: Context, ledger: Ledger, batch: LockedBatch, skips: Mapping[int, Skip]) -> None:
    """These are not sent; where they may have arrived before, they are in doubt instead."""
    if batch.repeats:
        await doubt(ctx, ledger, batch, {m: Doubtful(f"not sent again: {reason.value}") for m, reason in skips.items()})
    else:
        await ledger.batches.settle(batch, skips, utc_now())


async def skip_rest(ctx: Context, ledger: Ledger, batch: LockedBatch) -> None:
    """What of a cancelled campaign's batch has not started."""
    rest = await ledger.batches.unstarted_messages(batch)
    await skip(ctx, ledger, batch, dict.fromkeys(rest, Skip.CANCELLED))


async def doubt(
    ctx: Context, ledger: Ledger, batch: LockedBatch, doubtful: Mapping[int, Doubtful], *, worker: str | None = None
) -> None:
    """These may have arrived and are not sent again: the operator is told, or they are given up."""
    if not doubtful:
        return
    now = utc_now()
    await ledger.batches.keep_attempts(batch, _attempts(doubtful, now))
    if _rule(ctx, ledger, batch) is InDoubtRule.GIVE_UP:
        await ledger.batches.settle(batch, {m: Refused(Refusal.GIVEN_UP) for m in doubtful}, now)
        return
    await ledger.batches.settle(batch, doubtful, now, worker=worker)
    await ledger.problems.tell(
        ProblemKind.MESSAGE_IN_DOUBT,
        f"Messages of campaign {batch.campaign_id} were begun and not answered for; they may have arrived",
        "See `optirelay doubts list`, ask the provider, then `optirelay doubts resolve`; they are not sent again by "
        "themselves",
        channel=batch.channel,
        campaign_id=batch.campaign_id,
    )


def _rule(ctx: Context, ledger: Ledger, batch: LockedBatch) -> InDoubtRule:
    channel = ctx.channels.get((ledger.tenant, batch.channel))
    if channel is None:  # it is no longer in the settings
        return InDoubtRule.HOLD
    return sending.in_doubt_rule(channel.contract, ctx.channel_settings(ledger.tenant, batch.channel).in_doubt)


async def _try_again(
    ctx: Context, ledger: Ledger, batch: LockedBatch, later: Mapping[int, Later], now: datetime
) -> bool:
    """Move them to a new batch, due after a pause. False where their tries are used up."""
    settings = ctx.channel_settings(ledger.tenant, batch.channel)
    following = sending.next_try(
        batch.tries,
        batch.first_tried_at,
        now,
        most=settings.tries,
        within=settings.retry_within,
        after=max((answer.after for answer in later.values() if answer.after is not None), default=None),
        jitter=_jitter(),
    )
    if following is None:
        return False
    due_at = now if batch.campaign_state == CampaignState.CANCELLED else following.at  # at once, to be skipped
    await go_again(
        ledger, batch, list(later), Again(due_at, following.tries, following.first_tried_at, repeats=batch.repeats)
    )
    return True


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, keeps no secret


def _attempts(answers: Mapping[int, Answer], now: datetime) -> Iterable[Attempt]:
    """Every answer but acceptance, with the provider's words."""
    for message, answer in answers.items():
        match answer:
            case Later(detail):
                yield Attempt(message, now, "later", detail)
            case Refused(reason, detail):
                yield Attempt(message, now, reason.value, detail)
            case Doubtful(detail):
                yield Attempt(message, now, "in_doubt", detail)
