"""What became of messages, as counts, interactions and events for Optimove: when it is told, in calls to be frozen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import msgspec

from optirelay.model import AppId, CampaignId, CustomerId, FrozenCall, TemplateId
from optirelay.optimove import (
    MAX_EVENT_AGE,
    Call,
    CampaignInteractions,
    CampaignMetric,
    CustomerEvent,
    save_event,
    update_campaign_interactions,
    update_campaign_metrics,
)

METRICS = "UpdateCampaignMetrics"
INTERACTIONS = "UpdateCampaignInteractions"
SAVE_EVENT = "saveEvent"
BY_HOST = ((METRICS, INTERACTIONS), (SAVE_EVENT,))
FIRST_AFTER = timedelta(seconds=5)  # of a day of a triggered campaign, so that a burst is told of at once
ON_ITS_WAY = timedelta(minutes=10)  # so much younger an event must be when it is to be sent, to be in time


# --- when -------------------------------------------------------------------------------------------------------------


def is_shut(handed_off_at: datetime | None, now: datetime, *, lasts: timedelta) -> bool:
    """Whether the last hand-off of a campaign is so long ago that Optimove is not told of it any more."""
    return handed_off_at is not None and now >= handed_off_at + lasts


def next_report(
    handed_off_at: datetime | None, now: datetime, *, every: timedelta, lasts: timedelta
) -> datetime | None:
    """When Optimove is told after now: regularly, and once more at the end of the window. None: not again."""
    if handed_off_at is None or is_shut(handed_off_at, now, lasts=lasts):
        return None
    return min(now + every, handed_off_at + lasts)


def oldest_event(now: datetime) -> datetime:
    """What happened before that is too old for saveEvent by the time that it arrives."""
    return now - MAX_EVENT_AGE + ON_ITS_WAY


# --- what -------------------------------------------------------------------------------------------------------------


class Counted(Protocol):
    """How often something happened by one template, and how often Optimove knows of."""

    @property
    def template_id(self) -> TemplateId: ...
    @property
    def event(self) -> str: ...
    @property
    def total(self) -> int: ...
    @property
    def told(self) -> int: ...


class Happened(Protocol):
    """One thing that happened to one customer."""

    @property
    def customer_id(self) -> CustomerId: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Alike:
    """What the customers of one call have in common."""

    event: str
    template_id: TemplateId
    on_date: date
    recipient_group: int
    app: AppId | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The campaign and the channel, as Optimove numbers them."""

    campaign_id: int | str  # text where it is no number: only events can name it
    channel_id: int

    @property
    def campaign_number(self) -> int:
        """Where it is one."""
        assert isinstance(self.campaign_id, int)
        return self.campaign_id


def place_of(campaign_id: CampaignId, channel_id: int) -> Place:
    """A campaign on one of Optimove's channels."""
    return Place(int(campaign_id) if is_number(campaign_id) else campaign_id, channel_id)


def is_number(campaign_id: CampaignId) -> bool:
    """Whether metrics and interactions can name the campaign: of triggered ones some ids are other words."""
    return campaign_id.isascii() and campaign_id.isdigit()


def calls_of(campaign_id: CampaignId, report: str) -> frozenset[str]:
    """The calls by which Optimove is told of a campaign, with this `report` of the tenant's settings; maybe none."""
    calls = {"interactions": {METRICS, INTERACTIONS}, "save_event": {SAVE_EVENT}}
    wanted = calls.get(report, {METRICS, INTERACTIONS, SAVE_EVENT})
    return frozenset(wanted if is_number(campaign_id) else wanted & {SAVE_EVENT})


def values_to_tell(counted: Sequence[Counted], *, increments: bool) -> list[tuple[Counted, int]]:
    """The counts that a report carries, each with its value; none where nothing is new.

    Increments: what is more than was told, never less. Totals: all of them as soon as one has changed, also one that
    is zero again.
    """
    if increments:
        return [(count, count.total - count.told) for count in counted if count.total > count.told]
    changed = any(count.total != count.told for count in counted)
    return [(count, count.total) for count in counted] if changed else []


def metric_calls(
    place: Place,
    values: Sequence[tuple[Counted, int]],
    *,
    increments: bool,
    metric_ids: Mapping[str, int],
    per_call: int,
) -> Iterator[FrozenCall]:
    """Counts by template and event, `per_call` of them a call."""
    metrics = [
        CampaignMetric(place.campaign_number, place.channel_id, count.template_id, metric_ids[count.event], value)
        for count, value in values
    ]
    for start in range(0, len(metrics), per_call):
        part = metrics[start : start + per_call]
        yield _freeze(update_campaign_metrics(part, additive=increments, limit=per_call), event="", customers=0)


def interaction_call(
    place: Place, alike: Alike, customers: Sequence[Happened], *, interaction_ids: Mapping[str, int]
) -> FrozenCall:
    """Customers to whom the same happened on the same day, in one call."""
    interactions = CampaignInteractions(
        campaign_id=place.campaign_number,
        channel_id=place.channel_id,
        template_id=alike.template_id,
        event_id=interaction_ids[alike.event],
        interaction_on=alike.on_date,
        customer_ids=[customer.customer_id for customer in customers],
        recipient_group_id=alike.recipient_group,
        app_id=alike.app,
    )
    call = update_campaign_interactions(interactions, limit=len(customers))
    return _freeze(call, event=alike.event, customers=len(customers))


def event_call(place: Place, alike: Alike, customers: Sequence[Happened]) -> FrozenCall:
    """The same as events, each with its own time; at least one customer."""
    events = [
        CustomerEvent(
            event=alike.event,
            happened_at=customer.at,
            customer_id=customer.customer_id,
            campaign_id=place.campaign_id,
            channel_id=place.channel_id,
            template_id=alike.template_id,
            recipient_group_id=alike.recipient_group,
        )
        for customer in customers
    ]
    call = _freeze(save_event(events, limit=len(events)), event=alike.event, customers=len(events))
    return replace(call, oldest_at=min(customer.at for customer in customers))


def _freeze(call: Call[None], *, event: str, customers: int) -> FrozenCall:
    return FrozenCall(call.name, event, customers, msgspec.json.encode(call.body), call.additive)


def thaw(name: str, body: bytes, *, additive: bool) -> Call[None]:
    """The frozen call, to be sent byte for byte."""
    return replace(_CALLS[name], body=msgspec.Raw(body), additive=additive)


_NOBODY: Any = CampaignInteractions(
    campaign_id=0, channel_id=0, template_id=0, event_id=0, interaction_on=date.min, customer_ids=()
)
_CALLS: Mapping[str, Call[None]] = {
    METRICS: update_campaign_metrics([]),
    INTERACTIONS: update_campaign_interactions(_NOBODY),
    SAVE_EVENT: save_event([]),
}


def without_customer(call: str, body: bytes, customer_id: CustomerId) -> tuple[bytes, int]:
    """A frozen call that does not name the customer any more, and how many customers are left in it; metrics name
    nobody."""
    told = msgspec.json.decode(body)
    if call == INTERACTIONS:
        left = told["CustomerIDs"] = [each for each in told["CustomerIDs"] if each != customer_id]
    elif call == SAVE_EVENT:
        told = left = [event for event in told if event["customer"] != customer_id]
    else:
        return body, 0
    return msgspec.json.encode(told), len(left)
