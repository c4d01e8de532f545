"""Which messages of a batch may go now, and when what could not go is tried again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from zoneinfo import ZoneInfo

from optirelay.model import Contract, InDoubtRule, Message, Skip, is_erased
from optirelay.settings import QuietHours, Rate

HALF_SECOND = timedelta(seconds=0.5)
MOST_AT_ONCE = 1000
FIRST_GROUP = 200
SLOT_AHEAD = timedelta(seconds=0.25)  # a group starts when its first slot is at most so far away
TRIGGERED_AHEAD = timedelta(seconds=0.5)  # a triggered one: before scheduled ones look
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=10)
_A_MOMENT = timedelta(milliseconds=1)
_TOGETHER = 0.01  # of the slack is for messages that leave together
_SLACK = 0.03  # slots lie this much wider than the rate says, so that a late and a timely one do not share a window


@dataclass(frozen=True, slots=True)
class Quiet:
    """When nothing leaves: hours, by the clocks of a zone."""

    hours: QuietHours
    zone: ZoneInfo

    def end_of(self, moment: datetime) -> datetime:
        """The end of the quiet hours that the moment falls into, in UTC; else the moment itself.

        They begin when the clocks first show their start, and are over when these show their end for the last time:
        where an hour exists twice, both count. A time that the clocks jump over is where they jump.
        """
        while spans := self._around(moment):
            moment = max(end for _, end in spans)
        return moment

    def start_of(self, moment: datetime) -> datetime:
        """The start of the quiet hours that the moment falls into, in UTC; else the moment itself."""
        while (start := min((start for start, _ in self._around(moment)), default=moment)) < moment:
            moment = start
        return moment

    def _around(self, moment: datetime) -> list[tuple[datetime, datetime]]:
        """The hours that the moment falls into: one span, or two where an hour exists twice; none where it is loud."""
        day = moment.astimezone(self.zone).date()
        spans = (_span(day + timedelta(days=days), self.hours, self.zone) for days in (1, 0, -1, -2))
        return [(start, end) for start, end in spans if start <= moment < end]


@lru_cache(maxsize=1024)
def _span(day: date, hours: QuietHours, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The hours that begin on this day."""
    ends_on = day + timedelta(days=hours.end < hours.start)
    return _instant(day, hours.start, zone, last=False), _instant(ends_on, hours.end, zone, last=True)


def _instant(day: date, clock: time, zone: ZoneInfo, *, last: bool) -> datetime:
    """When the clocks show this time, for the first or for the last time; where they never do, when they jump over."""
    local = datetime.combine(day, clock, zone)
    before, after = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if before <= after:  # two different ones where the clocks are put back
        return after if last else before
    early, late = after, before
    offset = local.replace(fold=1).utcoffset()
    while late - early > _A_MOMENT:
        middle = early + (late - early) / 2
        early, late = (early, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, late)
    return late.replace(microsecond=0)


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
    quiet: Quiet | None = None,
    opt_in_needed: bool = False,
) -> Group:
    """Sort a batch's next messages, which come by send time, into those that start, those that are skipped, and the
    rest, which is not due. `required` of the template: these tags; None where the template is not ours yet. With
    `opt_in_needed`, who said nothing is like who said no.

    Nothing starts in quiet hours, however late it is. A message whose send time falls into them is due at their end,
    and expires so much after that; any other so much after its send time.
    """
    group = Group()
    open_at, send_at = earliest(now, quiet), None
    due_at = expires_at = now
    for message in messages:
        if is_erased(message.customer_id):
            group.skips[message.number] = Skip.ERASED
            continue
        if message.send_at != send_at:  # many share theirs
            send_at = message.send_at
            due_at = earliest(send_at, quiet)
            expires_at = due_at + expire_after
            due_at = expires_at if required is None else min(max(due_at, open_at), expires_at)
        if due_at > now:
            return Group(group.start, group.skips, due_at)
        if expires_at <= now:
            group.skips[message.number] = Skip.UNKNOWN_TEMPLATE if required is None else Skip.EXPIRED
        elif (skip := _skip_of(message, required, only_to, opt_in_needed=opt_in_needed)) is not None:
            group.skips[message.number] = skip
        else:
            group.start.append(message)
    return group


def _skip_of(
    message: Message, required: Sequence[str] | None, only_to: Sequence[str], *, opt_in_needed: bool
) -> Skip | None:
    """Why somebody is not written to whose message is due; None: they are."""
    if not message.address:  # it was forgotten
        return Skip.NO_ADDRESS
    if message.suppressed:
        return Skip.SUPPRESSED
    if message.opted_in is False or (opt_in_needed and message.opted_in is None):
        return Skip.OPTED_OUT
    if only_to and not _allowed(message.address, only_to):
        return Skip.NOT_ALLOWED
    if required and _lacks(message, required):
        return Skip.MISSING_PERSONALIZATION
    return None


def _lacks(message: Message, required: Sequence[str]) -> bool:
    """Whether a tag is missing; what a trigger tells of has names without regard to case."""
    missing = [name for name in required if name not in message.personalization]
    if not missing or message.fired is None:
        return bool(missing)
    return not {name.lower() for name in missing} <= {name.lower() for name in message.personalization}


def earliest(send_at: datetime, quiet: Quiet | None) -> datetime:
    """When a message may leave, by its send time alone; expiry counts from there."""
    return send_at if quiet is None else quiet.end_of(send_at)


def sent_after(now: datetime, expire_after: timedelta, quiet: Quiet | None) -> datetime:
    """Messages with a later send time than this have not expired."""
    limit = now - expire_after
    return limit if quiet is None or quiet.end_of(limit) == limit else quiet.start_of(limit) - _A_MOMENT


def _allowed(address: str, only_to: Sequence[str]) -> bool:
    return any(fnmatchcase(address.lower(), pattern.lower()) for pattern in only_to)


def most_at_once(rate: Rate | None, handled: int) -> int:
    """How many messages the next group may have: what the channel is expected to handle in half a second.

    `handled` is how many it handled in the last half second; 0 where nothing is known.
    """
    by_rate = MOST_AT_ONCE if rate is None else int(rate.per_second * HALF_SECOND.total_seconds())
    known = handled or (FIRST_GROUP if rate is None else MOST_AT_ONCE)
    return max(1, min(MOST_AT_ONCE, by_rate, known))


def slot_interval(rate: Rate) -> timedelta:
    """How far apart two messages of a channel with this rate leave."""
    return rate.per / rate.count * (1 + _SLACK)


def wait_for_slots(wait: timedelta) -> timedelta:
    """How long until a scheduled group may start, where its first slot is so far away."""
    return max(timedelta(0), wait - SLOT_AHEAD)


def wait_for_triggered_slots(wait: timedelta, triggered_wait: timedelta, *, scheduled_wait: bool) -> timedelta:
    """The same of a triggered group: before any scheduled one, but of no more than half of the slots while these wait.

    `triggered_wait`: until triggered messages have had that half.
    """
    own = triggered_wait - SLOT_AHEAD if scheduled_wait else timedelta(0)
    return max(timedelta(0), wait - TRIGGERED_AHEAD, own)


def most_triggered(rate: Rate, *, scheduled_wait: bool) -> int:
    """How many triggered messages may start at once: slots of half a second, or every other one of them."""
    half = rate.per_second * HALF_SECOND.total_seconds()
    return max(1, min(MOST_AT_ONCE, int(half / 2 if scheduled_wait else half)))


def most_together(rate: Rate) -> int:
    """How many messages may leave at the slot of the last of them, so that no window holds more than the rate."""
    return 1 + int(rate.count * _TOGETHER)


def may_be_late(rate: Rate, *, together: bool = False) -> timedelta:
    """How long after its slot a message may leave, and no window of the rate's length holds more than it says."""
    return rate.per * (_SLACK - (_TOGETHER if together else 0))


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
