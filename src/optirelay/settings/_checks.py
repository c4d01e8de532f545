"""What no single value shows: keys that need, exclude or repeat each other, whatever else is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from optirelay.settings._faults import Fault, dotted
from optirelay.settings._shapes import providers

SILENT_PROVIDERS = ("console", "null")
"""They write to nobody, so nobody needs to be named as the sender."""
Table = Mapping[str, Any]


def check_together(document: Table) -> Iterator[Fault]:
    """Every fault between keys, also when single values are wrong."""
    tenants = document.get("tenants", {})
    if tenants == {}:
        yield Fault("tenants", "no tenant is named", "Add a table [tenants.NAME]; `optirelay init` writes an example")
    for tenant, settings in _tables(tenants):
        yield from _save_event(("tenants", tenant), settings)
        channels = list(_tables(settings.get("channels")))
        yield from _ids(("tenants", tenant, "channels"), channels)
        for channel, content in channels:
            yield from _channel(("tenants", tenant, "channels", channel), content)


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


def _channel(at: tuple[str, ...], channel: Table) -> Iterator[Fault]:
    if "scheduled_id" not in channel and "triggered_id" not in channel:
        yield Fault(dotted(at), "neither scheduled_id nor triggered_id is set", "Write the id of Optimove's channel")
    provider = channel.get("provider", "console")
    if not isinstance(provider, str) or provider not in providers():
        return  # the provider itself is the fault
    if provider not in SILENT_PROVIDERS and "from" not in channel:
        mend = 'Write one such as "Acme <news@acme.example>"'
        yield Fault(dotted((*at, "from")), f'needed with provider = "{provider}"', mend)
    yield from _smtp((*at, "smtp"), provider, channel.get("smtp"))


def _smtp(at: tuple[str, ...], provider: str, smtp: object) -> Iterator[Fault]:
    if provider == "smtp" and smtp is None:
        yield Fault(dotted(at), 'needed with provider = "smtp"', "Add this table with at least host")
    if provider != "smtp" and smtp is not None:
        yield Fault(dotted(at), f'not for provider = "{provider}"', 'Remove the table, or write provider = "smtp"')
    if isinstance(smtp, dict) and ("username" in smtp) != ("password" in smtp):
        lacking, there = ("password", "username") if "username" in smtp else ("username", "password")
        yield Fault(dotted((*at, lacking)), f"needed beside {there}", "Write both or neither")
