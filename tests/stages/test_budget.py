"""Turns at a key's budget: never more than Optimove allows, in fair parts, and all of it for who is alone."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from optirelay.model import KeyCall, Share
from optirelay.stages.budget import pause_after, wait_for_turn

NOW = datetime(2031, 4, 2, 10, tzinfo=UTC)
WINDOW = timedelta(seconds=10)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def made(*ago: float, share: str = "pages", first: int = 1) -> list[KeyCall]:
    """Calls answered so many seconds ago."""
    return [KeyCall(first + n, share, NOW - seconds(s), NOW - seconds(s)) for n, s in enumerate(ago)]


def waiting(number: int, share: str = "pages") -> KeyCall:
    return KeyCall(number, share, None, None)


def wait(mine: int, *calls: KeyCall, count: int = 3, one_by_one: bool = False, not_before: float = -1) -> float:
    return wait_for_turn(
        mine,
        calls,
        count=count,
        window=WINDOW,
        now=NOW,
        one_by_one=one_by_one,
        not_before=NOW + seconds(not_before),
    ).total_seconds()


def test_who_is_alone_has_the_whole_budget_and_then_waits_for_the_oldest_call() -> None:
    assert wait(9, *made(8, 2), waiting(9)) == 0
    assert wait(9, *made(8, 2, 1), waiting(9)) == 2
    assert wait(10, *made(8, 2, 1), waiting(9), waiting(10)) == 8


def test_a_call_under_way_counts_although_nobody_knows_how_long() -> None:
    under_way = KeyCall(3, "pages", NOW - seconds(60), None)
    assert wait(9, *made(8, 2), under_way, waiting(9)) == 2
    assert wait(9, *[replace(under_way, id=n) for n in (1, 2, 3)], waiting(9)) == 1


def test_a_share_that_made_fewer_calls_goes_first_and_within_it_who_came_first() -> None:
    calls = (*made(8, 5, 2), waiting(7), waiting(8, "reports"), waiting(9, "reports"))
    assert [wait(n, *calls) for n in (7, 8, 9)] == [8, 2, 5]  # reports, reports (they have one less), pages


def test_while_optimove_refuses_calls_nobody_calls_and_then_one_at_a_time() -> None:
    assert wait(9, waiting(9), not_before=4) == 4
    assert [wait(n, waiting(8), waiting(9), one_by_one=True) for n in (8, 9)] == [0, 1]
    assert wait(9, KeyCall(8, "pages", NOW, None), waiting(9), one_by_one=True) == 1


def test_pauses_grow_and_end_and_optimove_may_ask_for_more() -> None:
    pauses = [pause_after(n, None).total_seconds() for n in (1, 2, 3, 6, 7, 99)]
    assert pauses == [1, 2, 4, 32, 60, 60]
    assert pause_after(1, seconds(30)) == seconds(30)
    assert pause_after(3, seconds(0)) == seconds(4)
    assert pause_after(1, timedelta(days=999)) == timedelta(hours=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=60, max_size=60), st.integers(1, 5))
def test_optimove_never_counts_more_in_a_window_and_both_shares_move(trips: list[tuple[int, int]], count: int) -> None:
    """Many want a call all the time; a call takes so many ms to Optimove, where it counts, and as many back."""
    now, calls, counted, order = NOW, [], [], []
    for number, (there, back) in enumerate(trips):
        calls.append(waiting(number, "reports" if number % 4 == 0 else "pages"))
        while True:
            calls = [c for c in calls if c.answered_at is None or c.answered_at > now - WINDOW]
            shown = [
                c if c.answered_at is None or c.answered_at <= now else replace(c, answered_at=None) for c in calls
            ]
            pause = wait_for_turn(number, shown, count=count, window=WINDOW, now=now)
            if not pause:
                break
            now += pause
        arrives_at = now + timedelta(milliseconds=there)
        answered_at = arrives_at + timedelta(milliseconds=back)
        calls[-1] = replace(calls[-1], made_at=now, answered_at=answered_at)
        counted.append(arrives_at)
        order.append(now)
    counted.sort()
    assert all(b - a >= WINDOW for a, b in zip(counted, counted[count:], strict=False))
    assert all(a <= b for a, b in pairwise(order))
    assert now - NOW <= (len(trips) / count + 1) * (WINDOW + seconds(1) + seconds(2))  # and the budget is used


def test_while_all_want_calls_every_share_gets_as_many() -> None:
    calls: list[KeyCall] = []
    now, number, got = NOW, 0, Counter[str]()
    for _ in range(40):
        for share in ("pages", "reports", "other"):
            while sum(c.share == share and c.made_at is None for c in calls) < 8:
                calls.append(waiting(number, share))
                number += 1
        calls = [c for c in calls if c.answered_at is None or c.answered_at > now - WINDOW]
        pauses = {c.id: wait_for_turn(c.id, calls, count=6, window=WINDOW, now=now) for c in calls if not c.made_at}
        ready = [n for n, pause in pauses.items() if not pause]
        now += min(pauses.values()) if not ready else timedelta(0)
        calls = [replace(c, made_at=now, answered_at=now) if c.id in ready else c for c in calls]
        got.update(c.share for c in calls if c.id in ready)
    assert set(got) == set(Share)
    assert len(set(got.values())) == 1
