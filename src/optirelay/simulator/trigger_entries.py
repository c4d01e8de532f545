"""Entries about triggers: what one is, and what is told to fire it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optirelay.simulator.campaigns import Moment
from optirelay.simulator.customers import Customer
from optirelay.simulator.entry import Entry, is_number
from optirelay.simulator.errors import BadEntry
from optirelay.simulator.firing import TRIES
from optirelay.simulator.named import read_chosen, tenant_of
from optirelay.simulator.triggers import TRIGGERED, Trigger
from optirelay.simulator.world import Tenant, World

KEYS = (
    *("tenant", "campaign", "channel", "name", "templates", "action", "action_name", "promo_codes", "notes"),
    *("event", "times"),
)
NAMING = frozenset(("tenant", "campaign", "name"))  # these alone change nothing about a trigger that is known
FIRST_ACTION = 214
MOST_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """Fire a trigger now, once for each of these."""

    trigger: Trigger
    customers: Sequence[Customer | None]  # None: a visitor
    parameters: Mapping[str, Any]
    time_stamp: Moment | None  # None: now, and later than the customer's last one


@dataclass(frozen=True, slots=True)
class Load:
    """Fire a trigger over and over."""

    trigger: Trigger
    positions: Sequence[int]  # of the customers that it fires for, each once before one a second time
    parameters: Mapping[str, Any]
    per_second: float
    count: int
    duplicates: float  # the share that is sent again
    connections: int
    tries: int


def add_trigger(world: World, values: Any) -> Trigger:
    """Add a trigger; its campaign is one that no trigger of the tenant has yet."""
    trigger = _read_trigger(world, values)
    if trigger.key in world.triggers:
        raise BadEntry(
            f"triggers: campaign {trigger.campaign_id} has a trigger; give another campaign, or leave it out"
        )
    world.triggers[trigger.key] = trigger
    return trigger


def read_order(world: World, values: Any) -> Order:
    """What to fire now; a trigger that the entry defines is put into the world."""
    entry = Entry("triggers/fire", values)
    trigger, tenant = _trigger_of(world, entry)
    customers: list[Customer | None]
    if entry.switch("visitor"):
        customers = [None] * entry.number("customers", 1)
    else:
        customers = [tenant.customers.at(position) for position in _positions(entry, tenant, 1)]
    order = Order(trigger, customers, entry.mapping("parameters"), entry.moment("time_stamp"))
    entry.done()
    world.triggers[trigger.key] = trigger
    return order


def read_load(world: World, values: Any) -> Load:
    """What to generate; a trigger that the entry defines is put into the world."""
    entry = Entry("triggers/generate", values)
    trigger, tenant = _trigger_of(world, entry)
    if not tenant.urls(TRIGGERED, trigger.channel_id):
        heard = f"channel {trigger.channel_id} of tenant {tenant.tenant_id}"
        raise BadEntry(f"triggers/generate: nobody listens to type {TRIGGERED} on {heard}; register a listener first")
    if tenant.gateway:
        raise BadEntry("triggers/generate: the tenant has a gateway, which is not asked here; use triggers/fire")
    positions = _positions(entry, tenant, len(tenant.customers))
    if not positions:
        raise entry.wrong("customers", 0, "at least one")
    per_second = entry.quantity("per_second", 100.0, least=0.001, most=1_000_000)
    load = Load(
        trigger=trigger,
        positions=positions,
        parameters=entry.mapping("parameters"),
        per_second=per_second,
        count=_read_count(entry, per_second),
        duplicates=entry.quantity("duplicates", 0.0, most=1),
        connections=_up_to(entry, "connections", 8, MOST_CONNECTIONS),
        tries=_up_to(entry, "tries", TRIES, 1_000_000),
    )
    entry.done()
    world.triggers[trigger.key] = trigger
    return load


def read_event(world: World, values: Any) -> list[Order]:
    """One customer did something: what that fires."""
    entry = Entry("customers/events", values)
    tenant = tenant_of(world, entry)
    customer_id, event = entry.text("customer"), entry.text("event")
    position = tenant.customers.position_of(customer_id)
    if position is None:
        raise entry.wrong("customer", customer_id, f"the id, as text, of one that tenant {tenant.tenant_id} has")
    parameters = entry.mapping("parameters")
    entry.done()
    customer = tenant.customers.at(position)
    return [
        Order(trigger, [customer], parameters, None)
        for trigger in world.triggers.values()
        if trigger.tenant_id == tenant.tenant_id and trigger.event == event and trigger.happened(customer_id)
    ]


def _read_trigger(world: World, values: Any) -> Trigger:
    entry = Entry("triggers", values)
    tenant = tenant_of(world, entry)
    campaign_id = entry.take("campaign", world.new_campaign_id())
    if not (is_number(campaign_id) and campaign_id > 0) and not (isinstance(campaign_id, str) and campaign_id):
        raise entry.wrong("campaign", campaign_id, "a whole number from 1 or a text")
    channel_id = entry.number("channel", next(iter(tenant.channels)) if len(tenant.channels) == 1 else None)
    if channel_id not in tenant.channels:
        raise entry.wrong("channel", channel_id, f"one of tenant {tenant.tenant_id}'s: {sorted(tenant.channels)}")
    templates = entry.numbers("templates")
    if not templates:
        raise entry.wrong("templates", [], "at least one")
    name = entry.text_or_none("name") or f"Trigger of campaign {campaign_id}"
    trigger = Trigger(
        tenant_id=tenant.tenant_id,
        campaign_id=campaign_id,
        channel_id=channel_id,
        name=name,
        templates=templates,
        action_id=entry.number("action", FIRST_ACTION),
        action_name=entry.text_or_none("action_name") or name,
        promo_codes=entry.texts("promo_codes"),
        notes=entry.take("notes", ""),
        event=entry.text_or_none("event"),
        times=entry.number("times", 1),
        values=dict(values),
    )
    entry.done()
    if not isinstance(trigger.notes, str):
        raise entry.wrong("notes", trigger.notes, "a text")
    if trigger.event is None and "times" in values:
        raise entry.wrong("event", None, "the name of what is counted, or leave times out")
    return trigger


def _trigger_of(world: World, entry: Entry) -> tuple[Trigger, Tenant]:
    """The trigger that is named, with what is said anew about it, or the one that is defined; not in the world yet."""
    given = entry.some(KEYS)
    known = _known(world, given)
    if known is None:
        trigger = _read_trigger(world, given)
    elif given.keys() <= NAMING:
        trigger = known
    else:
        given["campaign"] = known.campaign_id  # which may not have been what named it
        trigger = _read_trigger(world, {**known.values, **given})
        trigger.past = known.past
    return trigger, world.tenants[trigger.tenant_id]


def _known(world: World, given: Mapping[str, Any]) -> Trigger | None:
    """The trigger with that campaign, else with that name, else the only one; None where the entry defines one."""
    if "tenant" in given:
        tenant_of(world, Entry("triggers", given))
    found = [t for t in world.triggers.values() if given.get("tenant", t.tenant_id) == t.tenant_id]
    key = next((key for key in ("campaign", "name") if key in given), None)
    if key == "campaign":
        found = [t for t in found if str(t.campaign_id) == str(given[key])]
    elif key:
        found = [t for t in found if t.name == given[key]]
    elif "templates" in given:
        return None
    if len(found) == 1:
        return found[0]
    if not found and "templates" in given:
        return None
    what = f"{key} is {given[key]!r}, which is" if key else "campaign is missing, and there are"
    number = "several triggers" if found else "no trigger" if key else "no triggers"
    known = ", ".join(f"{t.campaign_id} of tenant {t.tenant_id}" for t in found or world.triggers.values())
    mend = f"give the tenant and the campaign of one ({known})" if known else "add one"
    raise BadEntry(f"triggers: {what} {number}; {mend}, or templates and a channel for a new one")


def _positions(entry: Entry, tenant: Tenant, default: int) -> Sequence[int]:
    chosen = read_chosen(entry, tenant, default)
    return chosen if isinstance(chosen, list) else range(chosen or 0)


def _read_count(entry: Entry, per_second: float) -> int:
    given = entry.some(("seconds", "count"))
    if len(given) != 1:
        raise entry.wrong("count", given.get("count"), "either count or seconds")
    if "count" in given:
        return Entry("triggers/generate", given).number("count")
    seconds = Entry("triggers/generate", given).quantity("seconds", most=86_400)
    return max(1, round(seconds * per_second))


def _up_to(entry: Entry, key: str, default: int, most: int) -> int:
    value = entry.number(key, default)
    if value > most:
        raise entry.wrong(key, value, f"a whole number from 1 to {most}")
    return value
