"""Which messages may go now: send time, quiet hours, expiry."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optirelay.model import CustomerId, Message, Sid, Skip
from optirelay.settings import QuietHours
from optirelay.stages.sending import Group, Quiet, earliest, next_group, sent_after

PARIS = ZoneInfo("Europe/Paris")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def quiet(text: str, zone: str = "Europe/Paris") -> Quiet:
    start, end = (time.fromisoformat(clock) for clock in text.split("-"))
    return Quiet(QuietHours(start, end), ZoneInfo(zone))


NIGHT = quiet("22:00-08:00")


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("send_at", "may_leave_at"),
    [
        ("2031-04-02 21:59:59", "2031-04-02 21:59:59"),
        ("2031-04-02 22:00:00", "2031-04-03 08:00:00"),
        ("2031-04-03 03:00:00", "2031-04-03 08:00:00"),
        ("2031-04-03 07:59:59", "2031-04-03 08:00:00"),
        ("2031-04-03 08:00:00", "2031-04-03 08:00:00"),
        ("2031-04-03 12:00:00", "2031-04-03 12:00:00"),
    ],
)
def test_a_send_time_in_quiet_hours_moves_to_their_end_and_no_other(send_at: str, may_leave_at: str) -> None:
    assert earliest(paris(send_at), NIGHT) == paris(may_leave_at)
    assert earliest(paris(send_at), None) == paris(send_at)


# Paris: 2031-03-30 02:00 -> 03:00 (01:00 UTC), 2031-10-26 03:00 -> 02:00 (01:00 UTC). St John's put its clocks back at
# 00:01 until 2011. Samoa left out 2011-12-30.
EDGES = [
    # The clocks are put forward inside the hours: they are an hour shorter.
    ("22:00-08:00", "Europe/Paris", "2031-03-29 21:00", "2031-03-30 06:00"),
    # Their end does not exist: it is where the clocks jump.
    ("22:00-02:30", "Europe/Paris", "2031-03-30 00:59", "2031-03-30 01:00"),
    ("22:00-02:30", "Europe/Paris", "2031-03-30 01:00", "2031-03-30 01:00"),
    # Their start does not exist.
    ("02:30-08:00", "Europe/Paris", "2031-03-30 00:59", "2031-03-30 00:59"),
    ("02:30-08:00", "Europe/Paris", "2031-03-30 01:00", "2031-03-30 06:00"),
    # None of the hours exists.
    ("02:10-02:50", "Europe/Paris", "2031-03-30 01:00", "2031-03-30 01:00"),
    # The clocks are put back inside the hours: they are an hour longer.
    ("22:00-08:00", "Europe/Paris", "2031-10-25 20:00", "2031-10-26 07:00"),
    # Their end exists twice: the second counts, and between the two it is quiet.
    ("22:00-02:30", "Europe/Paris", "2031-10-26 00:29", "2031-10-26 01:30"),
    ("22:00-02:30", "Europe/Paris", "2031-10-26 00:45", "2031-10-26 01:30"),
    ("22:00-02:30", "Europe/Paris", "2031-10-26 01:30", "2031-10-26 01:30"),
    # Their start exists twice: the first counts.
    ("02:30-08:00", "Europe/Paris", "2031-10-26 00:29", "2031-10-26 00:29"),
    ("02:30-08:00", "Europe/Paris", "2031-10-26 00:30", "2031-10-26 07:00"),
    ("02:30-08:00", "Europe/Paris", "2031-10-26 01:10", "2031-10-26 07:00"),
    # The next hours begin before these are over.
    ("02:30-02:15", "Europe/Paris", "2031-10-25 12:00", "2031-10-27 01:15"),
    # Midnight exists twice, and so does the end of the day before.
    ("00:00-06:00", "America/St_Johns", "2010-11-07 02:45", "2010-11-07 09:30"),
    ("23:30-06:00", "America/St_Johns", "2010-11-07 02:31", "2010-11-07 09:30"),
    # A day that did not exist.
    ("22:00-08:00", "Pacific/Apia", "2011-12-30 09:00", "2011-12-30 18:00"),
]


@pytest.mark.parametrize(("hours", "zone", "send_at", "may_leave_at"), EDGES)
def test_quiet_hours_hold_when_clocks_are_changed(hours: str, zone: str, send_at: str, may_leave_at: str) -> None:
    assert earliest(utc(send_at), quiet(hours, zone)) == utc(may_leave_at)


ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"]
ZONES += ["Pacific/Apia", "Africa/Casablanca", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Kathmandu"]
clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
quiets = st.builds(
    lambda start, end, zone: Quiet(QuietHours(start, end), ZoneInfo(zone)), clocks, clocks, st.sampled_from(ZONES)
).filter(lambda quiet: quiet.hours.start != quiet.hours.end)
moments = st.timedeltas(0 * DAY, 70 * 365 * DAY).map(lambda since: datetime(1975, 1, 1, tzinfo=UTC) + since)


def shows_quiet(moment: datetime, quiet: Quiet) -> bool:
    """What somebody sees who looks at a clock on the wall."""
    clock, hours = moment.astimezone(quiet.zone).time(), quiet.hours
    if hours.start < hours.end:
        return hours.start <= clock < hours.end
    return clock >= hours.start or clock < hours.end


@settings(deadline=None, max_examples=500)
@given(moments, quiets)
@example(utc("2010-11-07 02:45"), quiet("00:00-06:00", "America/St_Johns"))
@example(utc("2031-03-30 01:15"), quiet("02:30-08:00"))
@example(utc("2031-10-26 00:30"), quiet("02:30-02:15"))
@example(utc("2011-12-30 10:00"), quiet("09:00-08:59", "Pacific/Apia"))
def test_nothing_leaves_while_the_clocks_show_quiet_hours(send_at: datetime, quiet: Quiet) -> None:
    may_leave_at = earliest(send_at, quiet)
    assert may_leave_at >= send_at
    assert not shows_quiet(may_leave_at, quiet)
    assert earliest(may_leave_at, quiet) == may_leave_at
    if not shows_quiet(send_at, quiet) and not shows_quiet(send_at + 3 * HOUR, quiet):
        assert may_leave_at - send_at < 3 * HOUR  # only where an hour exists twice


@settings(deadline=None, max_examples=300)
@given(moments, moments, quiets | st.none(), st.timedeltas(timedelta(milliseconds=1), 3 * DAY))
def test_what_has_not_expired_is_known_by_its_send_time(
    now: datetime, near: datetime, quiet: Quiet | None, expire_after: timedelta
) -> None:
    send_at = now - expire_after + (near - datetime(2010, 1, 1, tzinfo=UTC)) / 1000
    timely = earliest(send_at, quiet) + expire_after > now
    limit = sent_after(now, expire_after, quiet)
    assert (send_at > limit) is timely or abs(send_at - limit) <= timedelta(milliseconds=1)


def messages(*send_at: datetime) -> list[Message]:
    return [
        Message(number, Sid(str(number)), CustomerId(f"C-{number}"), "ana@example.com", at, {})
        for number, at in enumerate(send_at)
    ]


def group(
    of: Sequence[Message], now: datetime, *, expire_after: timedelta = DAY, required: Sequence[str] | None = ()
) -> Group:
    return next_group(of, now, required=required, only_to=[], expire_after=expire_after, quiet=NIGHT)


def test_nothing_starts_in_quiet_hours_however_late_it_is() -> None:
    evening, morning = paris("2031-04-02 21:00"), paris("2031-04-03 08:00")
    late = messages(evening, evening + 2 * HOUR)
    assert group(late, paris("2031-04-02 22:30")) == Group(next_due_at=morning)
    assert [message.number for message in group(late, morning).start] == [0, 1]
    assert [message.number for message in group(late, paris("2031-04-02 21:59:59")).start] == [0]
    assert group(late, paris("2031-04-02 21:59:59")).next_due_at == morning


def test_expiry_counts_from_the_end_of_the_quiet_hours_that_the_send_time_falls_into() -> None:
    night, morning = paris("2031-04-02 23:00"), paris("2031-04-03 08:00")
    assert len(group(messages(night), morning + HOUR - timedelta(seconds=1), expire_after=HOUR).start) == 1
    assert group(messages(night), morning + HOUR, expire_after=HOUR).skips == {0: Skip.EXPIRED}


def test_what_was_due_before_quiet_hours_expires_by_its_send_time_and_in_them() -> None:
    evening = paris("2031-04-02 21:30")
    assert group(messages(evening), paris("2031-04-02 22:00"), expire_after=HOUR).next_due_at == evening + HOUR
    assert group(messages(evening), evening + HOUR, expire_after=HOUR).skips == {0: Skip.EXPIRED}


def test_a_message_of_an_unknown_template_waits_for_its_expiry_whatever_the_hour() -> None:
    night, morning = paris("2031-04-02 23:00"), paris("2031-04-03 08:00")
    assert group(messages(night), night, required=None, expire_after=HOUR).next_due_at == morning + HOUR
    assert group(messages(night), morning + HOUR, required=None, expire_after=HOUR).skips == {0: Skip.UNKNOWN_TEMPLATE}


@settings(deadline=None, max_examples=200)
@given(moments, st.lists(st.timedeltas(-2 * DAY, 2 * DAY), max_size=6), quiets, st.booleans())
def test_a_group_ends_at_a_later_due_or_has_looked_at_all(
    now: datetime, offsets: list[timedelta], quiet: Quiet, known: bool
) -> None:
    of = messages(*sorted(now + offset for offset in offsets))
    found = next_group(of, now, required=() if known else None, only_to=[], expire_after=DAY, quiet=quiet)
    looked_at = len(found.start) + len(found.skips)
    assert (found.next_due_at is None) == (looked_at == len(of))
    assert found.next_due_at is None or found.next_due_at > now
    assert not found.start or (known and not shows_quiet(now, quiet))
