"""When Optimove is told, and what a report carries."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from optirelay.model import CustomerId, TemplateId
from optirelay.settings import TenantSettings
from optirelay.settings._shapes import INTERACTION_IDS, METRIC_IDS
from optirelay.stages import metrics
from optirelay.stages.metrics import Alike, Place

NOON = datetime(2031, 4, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLACE = Place(90211, 504)


@dataclass(frozen=True)
class Count:
    template_id: TemplateId
    event: str
    total: int
    told: int


@dataclass(frozen=True)
class Person:
    customer_id: CustomerId
    at: datetime


def count(event: str, total: int, told: int = 0) -> Count:
    return Count(TemplateId(17), event, total, told)


@given(st.integers(1, 24), st.integers(1, 300), st.integers(0, 300))
def test_from_one_report_to_the_next_the_end_of_the_window_is_reached_and_nothing_comes_after(
    every: int, lasts: int, late: int
) -> None:
    now, times = NOON, 0
    while (following := metrics.next_report(NOON, now, every=every * HOUR, lasts=lasts * HOUR)) is not None:
        assert now < following <= NOON + lasts * HOUR
        now, times = following, times + 1
    assert now == NOON + lasts * HOUR
    assert times == -(-lasts // every)
    assert metrics.is_shut(NOON, now + late * HOUR, lasts=lasts * HOUR)


def test_before_anything_was_handed_off_there_is_no_window() -> None:
    assert metrics.next_report(None, NOON, every=HOUR, lasts=HOUR) is None
    assert not metrics.is_shut(None, NOON, lasts=HOUR)


def test_totals_are_told_all_together_once_one_has_changed_also_down_to_zero() -> None:
    counted = [count("sent", 5, 5), count("dropped", 0, 1)]
    assert metrics.values_to_tell(counted, increments=False) == [(counted[0], 5), (counted[1], 0)]
    assert metrics.values_to_tell([count("sent", 5, 5)], increments=False) == []


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99))))
def test_increments_are_what_is_more_and_never_less(pairs: list[tuple[int, int]]) -> None:
    counted = [count("sent", total, told) for total, told in pairs]
    values = metrics.values_to_tell(counted, increments=True)
    assert all(value > 0 and value == of.total - of.told for of, value in values)
    assert len(values) == sum(total > told for total, told in pairs)


def test_each_event_has_its_numbers_and_a_call_at_most_so_many() -> None:
    values = [(count(event, 1), 1) for event in METRIC_IDS]
    calls = list(metrics.metric_calls(PLACE, values, increments=True, metric_ids=METRIC_IDS, per_call=3))
    bodies = [msgspec.json.decode(call.body) for call in calls]
    assert [len(body) for body in bodies] == [3, 3, 2]
    assert [row["MetricID"] for body in bodies for row in body] == [0, 1, 2, 3, 4, 5, 6, 9]
    assert all(call.additive for call in calls)
    (total,) = metrics.metric_calls(PLACE, values, increments=False, metric_ids=METRIC_IDS, per_call=8)
    assert not total.additive


def test_interactions_name_their_group_and_bounced_is_not_the_metrics_number() -> None:
    alike = Alike("bounced", TemplateId(17), date(2031, 4, 2), recipient_group=2)
    people = [Person(CustomerId("0042"), NOON), Person(CustomerId("42"), NOON)]
    call = metrics.interaction_call(PLACE, alike, people, interaction_ids=INTERACTION_IDS)
    assert msgspec.json.decode(call.body) == {
        "CampaignID": 90211,
        "ChannelID": 504,
        "InteractionDate": "2031-04-02",
        "TemplateID": 17,
        "EventID": 7,
        "RecipientGroupID": 2,
        "CustomerIDs": ["0042", "42"],
    }
    assert (call.event, call.customers, call.additive, call.oldest_at) == ("bounced", 2, True, None)


def test_a_frozen_call_is_sent_byte_for_byte_and_repeated_as_it_was_frozen() -> None:
    alike = Alike("sent", TemplateId(17), date(2031, 4, 2), recipient_group=1)
    people = [Person(CustomerId("Zoë"), NOON), Person(CustomerId("bo"), NOON - HOUR)]
    frozen = metrics.event_call(PLACE, alike, people)
    assert frozen.oldest_at == NOON - HOUR
    for additive in (True, False):
        call = metrics.thaw(frozen.call, frozen.body, additive=additive)
        assert msgspec.json.encode(call.body) == frozen.body
        assert (call.name, call.signed, call.additive) == ("saveEvent", True, additive)


def test_nothing_is_too_old_that_the_longest_pause_between_reports_leaves_untold() -> None:
    assert TenantSettings.model_fields["report_every"].default == "4h"
    assert NOON - timedelta(days=1) > metrics.oldest_event(NOON)
