"""Which messages of a batch may go now, and when what could not go is tried again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from optirelay.model import Contract, InDoubtRule, Message, Skip
from optirelay.settings import Rate

HALF_SECOND = timedelta(seconds=0.5)
MOST_AT_ONCE = 1000
FIRST_GROUP = 200
SLOT_AHEAD = timedelta(seconds=0.25)  # a group starts when its first slot is at most so far away
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=10)
_SLACK = 0.03  # slots lie this much wider than the rate says, so that a late and a timely one do not share a window


@dataclass(frozen=True, slots=True)
class Group:
    """What starts together, and what never will."""

    start: list[Message] = field(default_factory=list)
    skips: dict[int, Skip] = field(default_factory=dict)
    next_due_at: datetime | None = None  # of the first message that is not due; None: all were looked at


def next_group(
    messages: Sequence[Message],
    now: datetime,
    *,
    required: Sequence[str] | None,
    only_to: Sequence[str],
    expire_after: timedelta,
) -> Group:
    """Sort a batch's next messages, which come by send time, into those that start, those that are skipped, and the
    rest, which is not due. `required` of the template: these tags; None where the template is not ours yet."""
    group = Group()
    for message in messages:
        expires_at = message.send_at + expire_after
        due_at = expires_at if required is None else message.send_at
        if due_at > now:
            return Group(group.start, group.skips, due_at)
        if expires_at <= now:
            group.skips[message.number] = Skip.UNKNOWN_TEMPLATE if required is None else Skip.EXPIRED
        elif not _allowed(message.address, only_to):
            group.skips[message.number] = Skip.NOT_ALLOWED
        elif any(name not in message.personalization for name in required or ()):
            group.skips[message.number] = Skip.MISSING_PERSONALIZATION
        else:
            group.start.append(message)
    return group


def _allowed(address: str, only_to: Sequence[str]) -> bool:
    return not only_to or any(fnmatchcase(address.lower(), pattern.lower()) for pattern in only_to)


def most_at_once(rate: Rate | None, handled: int) -> int:
    """How many messages the next group may have: what the channel is expected to handle in half a second.

    `handled` is how many it handled in the last half second; 0 where nothing is known.
    """
    if rate is not None:
        return max(1, min(MOST_AT_ONCE, int(rate.per_second * HALF_SECOND.total_seconds())))
    return max(1, min(MOST_AT_ONCE, handled)) if handled else FIRST_GROUP


def slot_interval(rate: Rate) -> timedelta:
    """How far apart two messages of a channel with this rate leave."""
    return rate.per / rate.count * (1 + _SLACK)


def may_be_late(rate: Rate) -> timedelta:
    """How long after its slot a message may leave, and no window of the rate's length holds more than it says."""
    return rate.per * _SLACK


def in_doubt_rule(contract: Contract, setting: InDoubtRule | None) -> InDoubtRule:
    """What happens to a message that began and was not answered for; the setting wins over the channel's contract."""
    if setting is not None:
        return setting
    return InDoubtRule.HOLD if contract is Contract.HOLD else InDoubtRule.REPEAT


def pause_before(tries: int, jitter: float) -> timedelta:
    """The pause after so many tries: 5 s, 10 s, 20 s … at most 10 minutes, ±20 % by `jitter` between 0 and 1."""
    pause: timedelta = min(_FIRST_PAUSE * 2 ** min(tries - 1, 20), _LONGEST_PAUSE)
    return pause * (0.8 + 0.4 * jitter)


@dataclass(frozen=True, slots=True)
class NextTry:
    """When messages that the provider did not take for now go again."""

    at: datetime
    tries: int  # behind them by then
    first_tried_at: datetime


def next_try(
    tries: int,
    first_tried_at: datetime | None,
    now: datetime,
    *,
    most: int,
    within: timedelta,
    after: timedelta | None,
    jitter: float,
) -> NextTry | None:
    """The next try after one more that failed; None where `most` tries or the time `within` are used up.

    `after`: how long the provider asked us to wait, which wins over our own pause.
    """
    tries += 1
    first = first_tried_at or now
    at = now + (pause_before(tries, jitter) if after is None else after)
    if tries >= most or at > first + within:
        return None
    return NextTry(at, tries, first)
