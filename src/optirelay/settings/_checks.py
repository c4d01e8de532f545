"""What no single value shows: keys that need, exclude or repeat each other, whatever else is wrong."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from optirelay.model import ChannelKind
from optirelay.settings._faults import BadValue, Fault, dotted
from optirelay.settings._shapes import providers
from optirelay.settings._values import read_network, read_webhook_url

SILENT_PROVIDERS = ("console", "null")
"""They write to nobody, so nobody needs to be named as the sender."""
TABLES = {"smtp": "host", "webhook": "url and secret"}
"""Providers with a table of their own, and what it cannot lack."""
OTHER_KINDS = tuple(kind.value for kind in ChannelKind if kind is not ChannelKind.EMAIL)
Table = Mapping[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = list[ipaddress.IPv4Network | ipaddress.IPv6Network]


def check_together(document: Table) -> Iterator[Fault]:
    """Every fault between keys, also when single values are wrong."""
    tenants, allowed = document.get("tenants", {}), _allowed_networks(document.get("service"))
    if tenants == {}:
        yield Fault("tenants", "no tenant is named", "Add a table [tenants.NAME]; `optirelay init` writes an example")
    yield from _opt_in_directories(tenants)
    for tenant, settings in _tables(tenants):
        yield from _save_event(("tenants", tenant), settings)
        channels = list(_tables(settings.get("channels")))
        yield from _ids(("tenants", tenant, "channels"), channels)
        yield from _opt_in_attributes(("tenants", tenant, "channels"), channels)
        for channel, content in channels:
            yield from _channel(("tenants", tenant, "channels", channel), content, allowed)


def _tables(value: object) -> Iterator[tuple[str, Table]]:
    if isinstance(value, dict):
        yield from ((name, content) for name, content in value.items() if isinstance(content, dict))


def _save_event(at: tuple[str, ...], tenant: Table) -> Iterator[Fault]:
    """Events are saved at an address and signed with a token, of which Optimove's support tells both."""
    report = tenant.get("report")
    if report not in ("save_event", "both"):
        return
    for key, mend in (
        ("metrics_url", 'Write one such as "https://metric-777.optimove.net/api/saveEvent"'),
        ("metrics_token", 'Write metrics_token = { env = "NAME" }'),
    ):
        if key not in tenant:
            yield Fault(dotted((*at, key)), f'needed with report = "{report}"', mend)


def _ids(at: tuple[str, ...], channels: list[tuple[str, Table]]) -> Iterator[Fault]:
    """One of Optimove's channel ids belongs to one channel of a tenant, and to one kind of campaign."""
    owners: dict[int, str] = {}
    for channel, content in channels:
        for key in ("scheduled_id", "triggered_id"):
            number, place = content.get(key), dotted((*at, channel, key))
            if not isinstance(number, int) or isinstance(number, bool):
                continue
            owner = owners.setdefault(number, place)
            if owner != place:
                yield Fault(place, f"the same id as {owner}", "Give each one of Optimove's channels of its own")


def _opt_in_attributes(at: tuple[str, ...], channels: list[tuple[str, Table]]) -> Iterator[Fault]:
    """Two channels would take turns to overwrite an attribute that both tell their opt-ins by."""
    owners: dict[str, str] = {}
    for channel, content in channels:
        route, place = content.get("opt_in"), dotted((*at, channel, "opt_in"))
        if isinstance(route, str) and route.startswith("attributes:"):
            owner = owners.setdefault(route.lower(), place)  # Optimove does not tell capitals apart
            if owner != place:
                yield Fault(place, f"the same attribute as {owner}", "Give each channel an attribute of its own")


def _opt_in_directories(tenants: object) -> Iterator[Fault]:
    """Files are named by their channel alone, so channels of one name write into directories of their own."""
    owners: dict[tuple[str, str], str] = {}
    for tenant, settings in _tables(tenants):
        for channel, content in _tables(settings.get("channels")):
            route, place = content.get("opt_in"), dotted(("tenants", tenant, "channels", channel, "opt_in"))
            if isinstance(route, str) and route.startswith("batch_file:"):
                directory = os.path.normpath(route.removeprefix("batch_file:"))
                owner = owners.setdefault((channel, directory), place)
                if owner != place:
                    mend = "Give each tenant a directory of its own"
                    yield Fault(place, f"files of the same names in the same directory as {owner}", mend)


def _directory(at: tuple[str, ...], channel: Table) -> Iterator[Fault]:
    """Who is matched with our directory is written to where that says."""
    if channel.get("match", "customer_id") != "customer_id" and channel.get("address") != "contacts":
        mend = 'Write address = "contacts", or remove match'
        yield Fault(dotted((*at, "match")), 'only with address = "contacts"', mend)


def _files(at: tuple[str, ...], channel: Table) -> Iterator[Fault]:
    route = channel.get("opt_in")
    if "batch_file" in channel and not (isinstance(route, str) and route.startswith("batch_file:")):
        mend = 'Remove the table, or write opt_in = "batch_file:optins"'
        yield Fault(dotted((*at, "batch_file")), 'only with opt_in = "batch_file:…"', mend)


def _channel(at: tuple[str, ...], channel: Table, allowed: Networks) -> Iterator[Fault]:
    if "scheduled_id" not in channel and "triggered_id" not in channel:
        yield Fault(dotted(at), "neither scheduled_id nor triggered_id is set", "Write the id of Optimove's channel")
    kind, provider = channel.get("kind", "email"), channel.get("provider", "console")
    if kind == "sms" and "address" not in channel:
        mend = 'Write the attribute that holds phone numbers, such as address = "attribute:MOBILE"'
        yield Fault(dotted((*at, "address")), 'needed with kind = "sms"', mend)
    if isinstance(provider, str) and provider in providers():  # else the provider itself is the fault
        yield from _carried(at, channel, kind, provider)
        for table, needed in TABLES.items():
            yield from _table((*at, table), provider, channel.get(table), needed=needed)
    yield from _directory(at, channel)
    yield from _files(at, channel)
    yield from _smtp((*at, "smtp"), channel.get("smtp"))
    yield from _webhook((*at, "webhook"), channel.get("webhook"), allowed)


def _carried(at: tuple[str, ...], channel: Table, kind: object, provider: str) -> Iterator[Fault]:
    """What the provider needs, or cannot carry."""
    if kind == "email" and provider not in SILENT_PROVIDERS and "from" not in channel:
        mend = 'Write one such as "Acme <news@acme.example>"'
        yield Fault(dotted((*at, "from")), f'needed with provider = "{provider}"', mend)
    if kind != ChannelKind.PUSH and isinstance(channel.get("apps"), dict) and channel["apps"]:
        yield Fault(dotted((*at, "apps")), 'only for kind = "push"', "Remove it")
    if kind in OTHER_KINDS and provider == "smtp":
        mend = 'Write kind = "email", or provider = "webhook"'
        yield Fault(dotted((*at, "kind")), 'provider = "smtp" carries e-mail alone', mend)


def _table(at: tuple[str, ...], provider: str, table: object, *, needed: str) -> Iterator[Fault]:
    """The table of a provider's own, which has its name."""
    owner = at[-1]
    if provider == owner and table is None:
        yield Fault(dotted(at), f'needed with provider = "{owner}"', f"Add this table with at least {needed}")
    if provider != owner and table is not None:
        yield Fault(dotted(at), f'not for provider = "{provider}"', f'Remove the table, or write provider = "{owner}"')


def _webhook(at: tuple[str, ...], webhook: object, allowed: Networks) -> Iterator[Fault]:
    """What can be told of an address before it is asked for; the rest is judged when it is opened."""
    url = webhook.get("url") if isinstance(webhook, dict) else None
    try:
        parts = urlsplit(read_webhook_url(url))
    except BadValue:
        return  # the URL itself is the fault, or is missing
    literal = _literal(parts.hostname or "")
    permitted = literal is not None and any(literal in network for network in allowed)
    if parts.scheme == "http" and not (permitted or (literal is None and allowed)):
        mend = "Write https://, or name the network in [service] allow_networks"
        yield Fault(dotted((*at, "url")), "http:// leads only to allow_networks", mend)
    elif literal is not None and not permitted and not literal.is_global:
        mend = "Name the network in [service] allow_networks, or write a public address"
        yield Fault(dotted((*at, "url")), "it leads to a private network", mend)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _allowed_networks(service: object) -> Networks:
    """Those that can be read; the others are faults by themselves."""
    listed = service.get("allow_networks") if isinstance(service, dict) else None
    found = []
    for text in listed if isinstance(listed, list) else []:
        with suppress(BadValue):
            found.append(read_network(text))
    return found


def _smtp(at: tuple[str, ...], smtp: object) -> Iterator[Fault]:
    if isinstance(smtp, dict) and ("username" in smtp) != ("password" in smtp):
        lacking, there = ("password", "username") if "username" in smtp else ("username", "password")
        yield Fault(dotted((*at, lacking)), f"needed beside {there}", "Write both or neither")
