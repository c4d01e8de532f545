"""Whose turn it is to call Optimove, where a key's calls are few and many want one."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from optirelay.model import KeyCall

LONGEST_LOOK_AWAY = timedelta(seconds=1)  # who waits looks again at least so often; of who does not, nobody thinks
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)  # Optimove's window is ten seconds; longer than this helps nobody
_LONGEST_ASKED = timedelta(hours=1)  # whatever Retry-After says


def wait_for_turn(
    mine: int,
    calls: Sequence[KeyCall],
    *,
    count: int,
    window: timedelta,
    now: datetime,
    one_by_one: bool = False,
    not_before: datetime | None = None,
) -> timedelta:
    """How long until `mine`, one of the waiting `calls`, may be made; zero: now.

    `calls`, by id, are those that wait and those that count: made, and not answered longer than `window` ago. Optimove
    counts a call at some moment between these two, so that it never counts more than `count` in a window. With
    `one_by_one` a call is made only while no other is under way, and none at all is made before `not_before`.
    """
    if not_before is not None and now < not_before:
        return not_before - now
    made = [call for call in calls if call.made_at is not None]
    free_at = sorted(call.answered_at + window for call in made if call.answered_at is not None)
    room = count - len(made)
    if one_by_one:
        room = min(room, 1 - (len(made) - len(free_at)))
    before = _turns(calls).index(mine)
    if before < room:
        return timedelta(0)
    missing = before - max(room, 0)
    if room >= 0 and not one_by_one and missing < len(free_at):
        return max(free_at[missing] - now, timedelta(milliseconds=5))
    return min(LONGEST_LOOK_AWAY, window / 5)  # nobody knows when what is under way is answered


def _turns(calls: Sequence[KeyCall]) -> list[int]:
    """Who waits, in order: of the share that has made the fewest calls that count, who came first."""
    made = Counter(call.share for call in calls if call.made_at is not None)
    waiting: dict[str, deque[int]] = {}
    for call in calls:
        if call.made_at is None:
            waiting.setdefault(call.share, deque()).append(call.id)
    turns = []
    while waiting:
        share = min(waiting, key=lambda share: (made[share], waiting[share][0]))
        turns.append(waiting[share].popleft())
        made[share] += 1
        if not waiting[share]:
            del waiting[share]
    return turns


def pause_after(refusals: int, asked: timedelta | None) -> timedelta:
    """How long nobody calls after so many refusals (429) in a row: what Optimove asks for, at least 1 s, 2 s, 4 s …"""
    growing = min(_FIRST_PAUSE * int(2 ** min(refusals - 1, 10)), _LONGEST_PAUSE)
    return max(growing, min(asked or timedelta(0), _LONGEST_ASKED))
