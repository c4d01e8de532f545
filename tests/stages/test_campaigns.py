"""What a sweep looks for."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from optirelay.stages.campaigns import days_to_sweep

NOON = datetime(2031, 4, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "zone", "days"),
    [
        (NOON, "UTC", (1, 2)),
        (NOON, "Pacific/Auckland", (1, 2, 3)),  # there it is the third
        (NOON.replace(day=3, hour=5), "America/Los_Angeles", (1, 2, 3)),  # there it is still the second
    ],
)
def test_today_and_yesterday_are_swept_by_both_clocks(now: datetime, zone: str, days: tuple[int, ...]) -> None:
    assert days_to_sweep(now, ZoneInfo(zone)) == [date(2031, 4, day) for day in days]
