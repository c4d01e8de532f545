"""Scenario entries, from a TOML file or as JSON one at a time, become part of a world."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optirelay.simulator import calls
from optirelay.simulator.campaigns import CLEARANCE, Campaign
from optirelay.simulator.customers import Customer, Customers
from optirelay.simulator.entry import Entry
from optirelay.simulator.errors import BadEntry
from optirelay.simulator.faults import FAILS_LATER, FAULTS, Fault
from optirelay.simulator.firing import OF_THE_DAY
from optirelay.simulator.named import read_chosen, tenant_of
from optirelay.simulator.opt_ins import Folder
from optirelay.simulator.quirks import changed
from optirelay.simulator.trigger_entries import add_trigger
from optirelay.simulator.world import ApiKey, Tenant, World

DEFAULT_SEED = 7
DEFAULT_TENANT = {
    "id": 7001,
    "key": "demo-key",
    "metrics_token": "demo-token",
    "channels": {"504": "Mail scheduled", "604": "Mail triggered"},
    "customers": 5000,
}
EVENTS = (1, 2, 3, 5, 13)  # what a campaign fires; 4 is fired by cancelling it
EVENT_LATER = 14
ACCESS = ("all", "integrations")
CALLED_BACK = ("AddCustomerAttribute", "UpdateCustomerAttributes")


def make_world(seed: int | None, scenario: Path | str | Mapping[str, Any] | None) -> World:
    """A world as the scenario wants it; a seed that is given wins over the scenario's. BadEntry for what is wrong."""
    entry = Entry("scenario", read_file(Path(scenario)) if isinstance(scenario, Path | str) else scenario or {})
    own_seed = entry.number("seed", DEFAULT_SEED, least=0)
    world = World(seed=own_seed if seed is None else seed)
    world.quirks = changed(world.quirks, entry.take("quirks", {}))
    for tenant in entry.listed("tenants", [DEFAULT_TENANT]):
        add_tenant(world, tenant)
    for campaign in entry.listed("campaigns", []):
        add_campaign(world, campaign)
    for trigger in entry.listed("triggers", []):
        add_trigger(world, trigger)
    for fault in entry.listed("faults", []):
        add_fault(world, fault)
    entry.done()
    return world


def read_file(path: Path) -> dict[str, Any]:
    """The entries of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadEntry(f"scenario: {path} cannot be read ({error.strerror}); give the path of a TOML file") from error
    except ValueError as error:
        raise BadEntry(f"scenario: {path} is no TOML: {error}") from error


def add_tenant(world: World, values: Any) -> Tenant:
    """Add a tenant; a known one gets the new keys, channels and customers, and keeps what it was told."""
    entry = Entry("tenants", values)
    tenant_id, channels = entry.number("id"), _read_channels(entry)
    keys = _read_keys(entry)
    made = entry.number("customers", 0, least=0)
    token = entry.text_or_none("metrics_token")
    closed = frozenset(entry.texts("closed_attributes"))
    opt_ins = entry.text_or_none("opt_in_files")
    entry.done()
    _check_secrets(world, tenant_id, keys, token)
    known = world.tenants.get(tenant_id)
    defaults = known.defaults if known else {}
    customers = Customers(f"{world.seed}:{tenant_id}", made, defaults)
    if known is None:
        known = Tenant(tenant_id, keys, channels, customers, token, closed, defaults=defaults)
        world.tenants[tenant_id] = known
    for key in keys:  # what was called before counts, whatever else changes
        key.called_at = next((old.called_at for old in known.keys if old.text == key.text), key.called_at)
    known.keys, known.channels, known.customers, known.metrics_token = keys, channels, customers, token
    known.closed, known.opt_ins = closed, None if opt_ins is None else Folder(Path(opt_ins))
    return known


def _read_keys(entry: Entry) -> list[ApiKey]:
    """The partner's key, and the client's own where there is one, which may do everything."""
    text, admin = entry.text("key"), entry.text_or_none("admin_key")
    access = entry.take("access", "all")
    if access not in ACCESS:
        raise entry.wrong("access", access, f"one of {', '.join(ACCESS)}")
    channels, attributes = entry.numbers("access_channels", []), entry.texts("access_attributes")
    if access == "all" and (channels or attributes):
        raise entry.wrong("access", access, '"integrations", or leave access_channels and access_attributes out')
    partner = ApiKey(
        text,
        integrations=access == "integrations",
        channels=frozenset(channels) or None,
        attributes=frozenset(attributes) or None,
    )
    return [partner, ApiKey(admin)] if admin else [partner]


def _check_secrets(world: World, tenant_id: int, keys: list[ApiKey], token: str | None) -> None:
    """Each tells the tenant, so no two tenants have the same."""
    for key in keys:
        found = world.key_with(key.text)
        if found and found[0].tenant_id != tenant_id:
            owner = found[0].tenant_id
            raise BadEntry(f"tenants: key is that of tenant {owner}; the key tells the tenant, so give another")
    for other in world.tenants.values():
        if token is not None and other.metrics_token == token and other.tenant_id != tenant_id:
            raise BadEntry(f"tenants: metrics_token is that of tenant {other.tenant_id}; it tells the tenant")


def _read_channels(entry: Entry) -> dict[int, str]:
    channels = entry.take("channels")
    if not isinstance(channels, Mapping) or not all(str(channel).isdecimal() for channel in channels):
        raise entry.wrong("channels", channels, 'ids with names such as {"504": "Mail scheduled"}')
    return {int(channel): str(name) for channel, name in channels.items()}


def add_customers(world: World, values: Any) -> Tenant:
    """Add customers to a tenant, or replace those whose id it knows."""
    entry = Entry("customers", values)
    tenant = tenant_of(world, entry)
    people = []
    for row in entry.listed("customers"):
        person = Entry("customers", row)
        people.append(Customer(person.text("customer_id"), {k: v for k, v in row.items() if k != "customer_id"}))
    entry.done()
    for customer in people:
        tenant.customers.put(customer)
    return tenant


def add_campaign(world: World, values: Any) -> Campaign:
    """Add a campaign on one channel; the id of a known one is good for its other channels alone."""
    entry = Entry("campaigns", values)
    tenant = tenant_of(world, entry)
    campaign_id = entry.number("id", world.new_campaign_id())
    channel_id = entry.number("channel")
    if channel_id not in tenant.channels:
        raise entry.wrong("channel", channel_id, f"one of tenant {tenant.tenant_id}'s: {sorted(tenant.channels)}")
    if any(campaign.channel_id == channel_id for campaign in world.campaigns_with(campaign_id, tenant.tenant_id)):
        raise entry.wrong("id", campaign_id, f"another one: it is taken on channel {channel_id}")
    templates = entry.numbers("templates")
    if not templates:
        raise entry.wrong("templates", [], "at least one")
    campaign = Campaign(
        tenant_id=tenant.tenant_id,
        campaign_id=campaign_id,
        channel_id=channel_id,
        templates=templates,
        send_at=entry.moments("send_at", ["+0s"]),
        events=read_events(entry, [13]),
        people=tenant.customers,
        chosen=read_chosen(entry, tenant),
        raw_rows=entry.listed("rows", []),
        fire_at=entry.moment("fire_at"),
        promo_codes=entry.texts("promo_codes"),
        notes=entry.text_or_none("notes") or "",
        tags=entry.texts("tags"),
        clearance=entry.duration("clearance", CLEARANCE),
    )
    entry.done()
    world.campaigns.append(campaign)
    return campaign


def read_events(entry: Entry, default: list[int]) -> tuple[int, ...]:
    """The event types to fire; none at all is well: the campaign ran and nobody is told."""
    events = entry.numbers("events", default)
    for event in events:
        if event == EVENT_LATER:
            raise entry.wrong("events", list(events), f"{EVENTS} alone: type {event} is not built yet")
        if event not in EVENTS:
            mend = f"some of {EVENTS}; type 4 is what cancelling fires, 11 is what triggers fire"
            raise entry.wrong("events", list(events), mend)
    return events


def read_day(world: World, values: Any) -> tuple[Tenant, tuple[int, ...]]:
    """Whom to tell what of today's campaigns, types 2 and 3 alone."""
    entry = Entry("fire", values)
    tenant, events = tenant_of(world, entry), entry.numbers("events", list(OF_THE_DAY))
    entry.done()
    if not set(events) <= set(OF_THE_DAY):
        raise entry.wrong("events", list(events), f"some of {OF_THE_DAY}; the others are of a campaign or a trigger")
    return tenant, events


def add_fault(world: World, values: Any) -> Fault:
    """Let the next calls of a name go wrong."""
    entry = Entry("faults", values)
    named = entry.text("call")
    names: dict[str, str] = {call.name.lower(): call.name for call in calls.CALLS}
    if named.lower() not in names:
        raise entry.wrong("call", named, f"one of {', '.join(names.values())}")
    kind = entry.text("fault")
    if kind not in FAULTS:
        raise entry.wrong("fault", kind, f"one of {', '.join(FAULTS)}")
    if kind == FAILS_LATER and names[named.lower()] not in CALLED_BACK:
        raise entry.wrong(
            "fault", kind, f"another one: only {' and '.join(CALLED_BACK)} have a result that comes later"
        )
    seconds = entry.quantity("seconds", 5, most=3600)
    fault = Fault(names[named.lower()], kind, entry.number("times", 1), seconds)
    entry.done()
    world.faults.append(fault)
    return fault


def change_quirks(world: World, values: Any) -> None:
    """Put the given quirks over those that there are."""
    if not isinstance(values, Mapping):
        raise BadEntry(f"quirks: give an object with keys, not {values!r}")
    world.quirks = changed(world.quirks, values)


ADD: dict[str, Callable[[World, Any], Any]] = {
    "tenants": add_tenant,
    "customers": add_customers,
    "campaigns": add_campaign,
    "triggers": add_trigger,
    "faults": add_fault,
    "quirks": change_quirks,
}
