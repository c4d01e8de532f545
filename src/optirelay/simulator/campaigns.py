"""Campaigns: who gets which template when, worked out row by row when it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from optirelay.simulator.customers import Customer, Customers
from optirelay.simulator.quirks import Quirks

Moment = timedelta | datetime  # counted from the first firing, or a time of its own
# https://developer.optimove.com/reference/get_customers-getcustomeronetimeactionsbycampaign: 1 is the control group
CONTROL_GROUP, FIRST_ACTION = 1, 2
CONTROL_SHARE = 10  # one of so many customers is in the control group
GROUPS = 2
CLEARANCE = timedelta(hours=3)  # not documented: how long a campaign on hold waits


@dataclass(slots=True)  # not frozen: a page has 10,000 of them
class Row:
    """One customer of a campaign on a channel; `send_at` is None as long as it hangs on a firing to come."""

    campaign: "Campaign"
    customer: Customer
    template_id: int
    send_at: datetime | None
    action_id: int = FIRST_ACTION
    group: int = 1


class RawRow(NamedTuple):
    """A line that is served as it was given, to try what bad input does."""

    value: Any


@dataclass(slots=True, kw_only=True)
class Campaign:
    """One campaign on one channel; the same id on another channel is the other half of the same campaign."""

    tenant_id: int
    campaign_id: int
    channel_id: int
    templates: tuple[int, ...]
    send_at: tuple[Moment, ...]
    events: tuple[int, ...]
    people: Customers
    chosen: int | list[int] | None = None  # the first so many, these positions, or everyone there is at the firing
    raw_rows: list[Any] = field(default_factory=list)
    fire_at: Moment | None = None
    promo_codes: tuple[str, ...] = ()
    notes: str = ""
    tags: tuple[str, ...] = ()
    clearance: timedelta = CLEARANCE
    on_hold_until: datetime | None = None  # until then promotions may be cleared, and customers with them
    cleared: dict[str, bool] = field(default_factory=dict)  # what was said of whom
    fired_at: datetime | None = None  # the first time; from then on its rows can be read
    fired_on: set[date] = field(default_factory=set)  # the days, in UTC
    cancelled_at: datetime | None = None
    stamped_at: datetime | None = None  # the last TimeStamp it was told with
    shifts: int = 0  # how many rows moved from the end to the front while they were read

    @property
    def state(self) -> str:
        """What has become of it: waiting, on_hold, fired or cancelled."""
        if self.cancelled_at:
            return "cancelled"
        if self.fired_at:
            return "fired"
        return "on_hold" if self.on_hold_until else "waiting"

    @property
    def size(self) -> int:
        """How many customers were chosen; the raw rows come on top."""
        if isinstance(self.chosen, list):
            return len(self.chosen)
        return len(self.people) if self.chosen is None else self.chosen

    def hold(self, now: datetime) -> None:
        """It was processed, and waits for clearance."""
        self.chosen = self.size if self.chosen is None else self.chosen
        self.on_hold_until = now + self.clearance

    def fire(self, now: datetime) -> None:
        """From now on its rows can be read; a second firing changes nothing about them.

        One that was on hold runs for the customers who were cleared alone; those never reported count as no:
        https://developer.optimove.com/reference/post_integrations-updatecustomerpromotionstatus
        """
        if self.fired_at is None:
            self.chosen = self.size if self.chosen is None else self.chosen
            if self.on_hold_until:
                everyone = self.chosen if isinstance(self.chosen, list) else range(self.chosen)
                told = {self.people.position_of(customer_id) for customer_id, good in self.cleared.items() if good}
                self.chosen = [position for position in everyone if position in told]
            self.fired_at = now
        self.fired_on.add(now.astimezone(UTC).date())

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[Row | RawRow]:
        """The rows from `start` up to `stop`: every template meets every send time, raw rows stand in between."""
        times = [self._time_of(moment) for moment in self.send_at]
        made, raw = self.size, len(self.raw_rows)
        mixed = 2 * min(made, raw)  # one of each in turn, then what is left
        for place in range(start, min(made + raw, made + raw if stop is None else stop)):
            if place < mixed:
                number, is_raw = place // 2, place % 2 == 1
            else:
                number, is_raw = place - min(made, raw), raw > made
            if is_raw:
                yield RawRow(self.raw_rows[number])
                continue
            position = self.chosen[number] if isinstance(self.chosen, list) else number
            yield Row(
                self,
                self.people.at(position),
                self.templates[number % len(self.templates)],
                times[number // len(self.templates) % len(times)],
                CONTROL_GROUP if number % CONTROL_SHARE == CONTROL_SHARE - 1 else FIRST_ACTION,
                1 + number % GROUPS,
            )

    def sendings(self) -> list[tuple[int, datetime | None]]:
        """Every template with every send time, in the order in which rows take them."""
        return [(template_id, self._time_of(moment)) for moment in self.send_at for template_id in self.templates]

    def _time_of(self, moment: Moment) -> datetime | None:
        if isinstance(moment, datetime):
            return moment
        return self.fired_at + moment if self.fired_at else None


def page_of(campaigns: Sequence[Campaign], skip: int, top: int, paging: str) -> Iterator[Row | RawRow]:
    """The rows of one answer, of one campaign after the other."""
    if paging in ("stable", "endless"):
        skip = 0 if paging == "endless" else skip
        yield from _rows_of(campaigns, skip, skip + top)
        return
    whole = sum(campaign.size + len(campaign.raw_rows) for campaign in campaigns)
    if paging == "shifting":
        top = max(0, min(top, whole - skip))
        for campaign in campaigns[:1]:
            campaign.shifts += skip > 0
    shifts = sum(campaign.shifts for campaign in campaigns[:1])
    for place in range(skip, skip + top if whole else skip):
        moved = (place - shifts) % whole
        yield from _rows_of(campaigns, moved, moved + 1)


def _rows_of(campaigns: Sequence[Campaign], start: int, stop: int) -> Iterator[Row | RawRow]:
    for campaign in campaigns:
        yield from campaign.rows(max(0, start), max(0, stop))
        before = campaign.size + len(campaign.raw_rows)
        start, stop = start - before, stop - before


def action_of(row: Row, quirks: Quirks) -> int:
    """The ActionID: 1 is the control group, where there is one."""
    return row.action_id if quirks.control_group == "rows" else FIRST_ACTION
