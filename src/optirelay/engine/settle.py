"""What became of started messages is written: outcomes, new tries, and what was handed back."""

import random
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.model import Answer, CampaignState, Doubtful, Later, ProblemKind, Refusal, Refused, TenantId
from optirelay.stages import sending
from optirelay.store import Ledger
from optirelay.store.batches import Attempt, LockedBatch, TakenBatch


@dataclass(slots=True)
class Known:
    """What became of started messages of one batch since the last commit."""

    answers: dict[int, Answer] = field(default_factory=dict)
    handed_back: list[int] = field(default_factory=list)  # started, but never on the wire


async def write_known(ctx: Context, ledger: Ledger, known: Mapping[int, Known]) -> list[int]:
    """Write it, whatever became of the batches since. Campaigns of which a batch ended by it."""
    ended = []
    for number in sorted(known):
        batch = await ledger.batches.lock(number)
        if batch is None:
            continue
        await settle(ctx, ledger, batch, known[number].answers)
        if handed_back := known[number].handed_back:
            await ledger.batches.move(
                batch, handed_back, due_at=utc_now(), tries=batch.tries, first_tried_at=batch.first_tried_at
            )
            await ledger.batches.wake_senders()
        was_done = batch.done
        await ledger.batches.write(batch)
        if batch.done and not was_done:
            ended.append(batch.campaign)
    return ended


async def hand_back_unsent(ctx: Context, tenant: TenantId, taken: TakenBatch, spoken_for: AbstractSet[int]) -> None:
    """After a commit that was not answered: what it started, and nobody has, never left. It goes into a new batch."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        batch = await ledger.batches.lock(taken.id)
        if batch is None or batch.fence != taken.fence or batch.done:
            return
        unsent = [number for number in await ledger.batches.open_messages(batch) if number not in spoken_for]
        if unsent:
            await ledger.batches.move(
                batch, unsent, due_at=utc_now(), tries=batch.tries, first_tried_at=batch.first_tried_at
            )
            await ledger.batches.write(batch)
            await ledger.batches.wake_senders()


async def settle(ctx: Context, ledger: Ledger, batch: LockedBatch, answers: Mapping[int, Answer]) -> None:
    """Outcomes for what is over, a later batch for what the provider did not take for now."""
    now = utc_now()
    later = {message: answer for message, answer in answers.items() if isinstance(answer, Later)}
    over = {message: answer for message, answer in answers.items() if not isinstance(answer, Later)}
    if later and not await _try_again(ctx, ledger, batch, later, now):
        over |= {message: Refused(Refusal.TOO_MANY_TRIES, answer.detail) for message, answer in later.items()}
    await ledger.batches.settle(batch, over, now)
    await ledger.batches.keep_attempts(batch, _attempts(answers, now))
    if any(isinstance(answer, Doubtful) for answer in answers.values()):
        await ledger.problems.tell(
            ProblemKind.MESSAGE_IN_DOUBT,
            f"Messages of campaign {batch.campaign_id} were written and not answered for; they may have arrived",
            "See `optirelay doubts list`; they are not sent again by themselves",
            channel=batch.channel,
            campaign_id=batch.campaign_id,
        )


async def _try_again(
    ctx: Context, ledger: Ledger, batch: LockedBatch, later: Mapping[int, Later], now: datetime
) -> bool:
    """Move them to a new batch, due after a pause. False where their tries are used up."""
    settings = ctx.settings.tenants[ledger.tenant].channels[batch.channel]
    following = sending.next_try(
        batch.tries,
        batch.first_tried_at,
        now,
        most=settings.tries,
        within=settings.retry_within,
        after=max((answer.after for answer in later.values() if answer.after is not None), default=None),
        jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
    )
    if following is None:
        return False
    due_at = now if batch.campaign_state == CampaignState.CANCELLED else following.at  # at once, to be skipped
    await ledger.batches.move(
        batch, list(later), due_at=due_at, tries=following.tries, first_tried_at=following.first_tried_at
    )
    return True


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
