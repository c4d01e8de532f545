"""Triggers: when one fires for a customer, what its notification says, and what came of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from optirelay.simulator.clock import optimove_time
from optirelay.simulator.customers import Customer
from optirelay.simulator.quirks import Quirks

TRIGGERED = 11  # https://developer.optimove.com/reference/post_general-registereventlistener
SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Tally:
    """What came of a trigger's notifications; one that two listeners hear is two."""

    fired: int = 0  # times that it fired for somebody; the same moment for the same customer again is none
    sent: int = 0  # notifications, each once, however often it was tried
    duplicates: int = 0  # those of them that had been sent before
    answered: int = 0  # those that were answered 200
    failed: int = 0  # those that were given up
    retried: int = 0  # tries after the first
    latencies: Counter[float] = field(default_factory=Counter)  # ms to an answer of 200, three digits of it: how many

    def took(self, seconds: float) -> None:
        """A try was answered 200 after so long."""
        self.latencies[float(f"{seconds * 1000:.3g}")] += 1

    def percentile(self, share: float) -> float | None:
        """Within how many milliseconds this share (0 to 1) was answered; None before the first answer."""
        left = share * self.latencies.total()
        for latency, count in sorted(self.latencies.items()):
            left -= count
            if left <= 0:
                return latency
        return None


@dataclass(slots=True)
class Past:
    """What a trigger remembers, also when it is defined anew."""

    tally: Tally = field(default_factory=Tally)
    done: Counter[str] = field(default_factory=Counter)  # how often customers did the event since it fired for them
    stamps: dict[str | None, datetime] = field(default_factory=dict)  # the last of each customer; None: visitors
    told: set[tuple[str | None, datetime]] = field(default_factory=set)  # what was fired directly
    runs: int = 0  # of the generator
    running: int = 0


@dataclass(slots=True, kw_only=True)
class Trigger:
    """A campaign whose notifications go out one by one, when somebody meets its rule or when told to."""

    tenant_id: int
    campaign_id: int | str  # connectors in production read it as text, which may be no number
    channel_id: int
    name: str
    templates: tuple[int, ...]
    action_id: int
    action_name: str
    promo_codes: tuple[str, ...]
    notes: str
    event: str | None  # with `times`: the rule
    times: int
    values: Mapping[str, Any]  # the entry that it was made of
    past: Past = field(default_factory=Past)

    @property
    def key(self) -> tuple[int, str]:
        """What no two triggers share."""
        return self.tenant_id, str(self.campaign_id)

    def happened(self, customer_id: str) -> bool:
        """The customer did the event once more: whether the trigger fires, and counting starts anew."""
        self.past.done[customer_id] += 1
        if self.past.done[customer_id] < self.times:
            return False
        del self.past.done[customer_id]
        return True

    def next_stamp(self, customer_id: str | None, now: datetime) -> datetime:
        """Now, or the second after the customer's last one: whole seconds have to tell two firings apart."""
        stamp = now.replace(microsecond=0)
        last = self.past.stamps.get(customer_id)
        if last and last >= stamp:
            stamp = last + SECOND
        self.past.stamps[customer_id] = stamp
        return stamp

    def given_stamp(self, customer_id: str | None, stamp: datetime, now: datetime) -> datetime:
        """A moment that was asked for, as often as it is; a later firing does not get it by chance."""
        stamp = stamp.replace(microsecond=0)
        if stamp <= now:
            self.past.stamps[customer_id] = max(stamp, self.past.stamps.get(customer_id, stamp))
        return stamp


def notification(
    trigger: Trigger,
    customer: Customer | None,
    parameters: Mapping[str, Any],
    *,
    stamp: datetime,
    template_id: int,
    template_name: str | None,
    quirks: Quirks,
) -> dict[str, Any]:
    """What a listener is told about one customer; None is a visitor whom nobody knows, whose id is null.

    The documentation names the trigger, the ids and `personalization`, with every attribute and every event parameter
    (https://developer.optimove.com/docs/integrate-your-service-with-optimove). How fields are spelt: public
    connectors in PHP and Node.
    """
    wire_id = quirks.wire_id
    campaign_id = trigger.campaign_id
    body = {
        "eventTypeID": wire_id(TRIGGERED),
        "timeStamp": optimove_time(stamp),
        "tenantID": wire_id(trigger.tenant_id),
        "triggerName": trigger.name,
        "customerID": customer.customer_id if customer else None,
        "campaignID": wire_id(campaign_id) if isinstance(campaign_id, int) else campaign_id,
        "actionID": wire_id(trigger.action_id),
        "actionName": trigger.action_name,
        "channelID": wire_id(trigger.channel_id),
        "templateID": wire_id(template_id),
        "templateName": template_name,
        "promoCode": list(trigger.promo_codes),
        "notes": trigger.notes,
    }
    attributes = customer.attributes if customer else {}
    if quirks.triggered_keys == "camel":
        return {**body, "personalization": {**attributes, **parameters}}
    pascal = {name[0].upper() + name[1:]: value for name, value in body.items()}
    return {**parameters, **pascal, "Personalization": dict(attributes)}
