"""The page on /: what a marketer, and whoever tries things out, would like to see."""

from collections.abc import Iterable
from html import escape
from itertools import islice
from typing import Any

from optirelay.simulator.attributes import MADE
from optirelay.simulator.exchange import Answer
from optirelay.simulator.view import campaign_state, preferences, triggers
from optirelay.simulator.world import World

LAST_CALLS = 50
RESULTS = ("metrics by template", "interactions")
REFRESH_SECONDS = 5
# Github nicolasramy/optimove and public connectors; what 7 and 8 are is not known.
METRICS = {
    0: "sent",
    1: "delivered",
    2: "opened",
    3: "clicked",
    4: "unsubscribed",
    5: "dropped",
    6: "spam",
    9: "bounced",
}
EVENTS = {
    0: "sent",
    1: "delivered",
    2: "opened",
    3: "clicked",
    4: "unsubscribed",
    5: "dropped",
    6: "spam",
    7: "bounced",
}
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; } p { color: #666; margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: #666; font-weight: 500; white-space: nowrap; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd; } th, td { border-color: #333; }
th, p { color: #999; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def answer(world: World) -> Answer:
    """The page, without anything from elsewhere."""
    return Answer(
        200,
        render(world).encode(errors="replace"),
        "text/html; charset=utf-8",
        headers={"content-security-policy": POLICY},
    )


def render(world: World) -> str:
    """The page as HTML; everything that was told is escaped."""
    parts = [
        _section("Tenants", ("tenant", "channels", "customers", "gateway"), _tenants(world)),
        _section("Templates", ("tenant", "channel", "template", "name", "app"), _templates(world)),
        _section("Apps", ("tenant", "channel", "app", "name"), _apps(world)),
        _section("Listeners", ("tenant", "event", "channel", "address"), _listeners(world)),
        _section(
            "Campaigns",
            ("tenant", "campaign", "channel", "state", "fired at", "customers", *RESULTS),
            _campaigns(world),
        ),
        _section(
            "Triggers",
            ("tenant", "campaign", "channel", "name", "rule", "fired", "told", "answers", *RESULTS),
            _triggers(world),
        ),
        _section("Promotions", ("tenant", "code", "name"), _promotions(world)),
        _section("Added attributes", ("tenant", "attribute", "type", "default", "made"), _attributes(world)),
        _section("Changed customers", ("tenant", "customer", "new values"), _changed(world)),
        _section("Preferences", ("tenant", "channel", "app", "mode", "customers"), _preferences(world)),
        _section("Notifications", ("at", "address", "what", "tries", "answer"), _notifications(world)),
        _section(
            f"Last {LAST_CALLS} calls", ("at", "tenant", "call", "query", "status", "rows", "fault"), _calls(world)
        ),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Simulated Optimove</title><style>{STYLE}</style></head><body><h1>Simulated Optimove</h1>"
        f"<p>A small Optimove on this machine, made from seed {world.seed}. "
        f"The page looks again every {REFRESH_SECONDS} seconds.</p>{''.join(parts)}</body></html>"
    )


def _section(title: str, headings: Iterable[str], rows: list[tuple[Any, ...]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else "<p>None yet.</p>"
    return f"<h2>{escape(title)}</h2>{table}"


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "<br>".join(escape(str(line)) for line in value)
    return "" if value is None else escape(str(value))


def _tenants(world: World) -> list[tuple[Any, ...]]:
    return [
        (
            tenant.tenant_id,
            [f"{channel_id} {name}" for channel_id, name in tenant.channels.items()],
            f"{len(tenant.customers):,}",
            tenant.gateway,
        )
        for tenant in world.tenants.values()
    ]


def _templates(world: World) -> list[tuple[Any, ...]]:
    return [
        (tenant.tenant_id, f"{channel_id} {tenant.channels.get(channel_id, '')}", template_id, *template)
        for tenant in world.tenants.values()
        for channel_id, templates in tenant.templates.items()
        for template_id, template in templates.items()
    ]


def _apps(world: World) -> list[tuple[Any, ...]]:
    return [
        (tenant.tenant_id, f"{channel_id} {tenant.channels.get(channel_id, '')}", app_id, name)
        for tenant in world.tenants.values()
        for channel_id, apps in tenant.apps.items()
        for app_id, name in apps.items()
    ]


def _promotions(world: World) -> list[tuple[Any, ...]]:
    return [(one.tenant_id, code, name) for one in world.tenants.values() for code, name in one.promotions.items()]


def _attributes(world: World) -> list[tuple[Any, ...]]:
    """Those that not every made customer has."""
    return [
        (tenant.tenant_id, one.name, one.type, one.default, "by API" if one.by_api else "with the data")
        for tenant in world.tenants.values()
        for one in tenant.attributes()
        if one.name not in MADE
    ]


def _changed(world: World) -> list[tuple[Any, ...]]:
    """The first of each tenant's."""
    return [
        (tenant.tenant_id, customer_id, [f"{name} = {value}" for name, value in changes.items()])
        for tenant in world.tenants.values()
        for customer_id, changes in islice(tenant.customers.changes(), LAST_CALLS)
    ]


def _preferences(world: World) -> list[tuple[Any, ...]]:
    return [
        (tenant.tenant_id, row["ChannelID"], row["AppID"], row["CommunicationMode"], f"{row['customers']:,}")
        for tenant in world.tenants.values()
        for row in preferences(tenant)
    ]


def _listeners(world: World) -> list[tuple[Any, ...]]:
    return [
        (tenant.tenant_id, key.event_type, "all" if key.channel_id is None else key.channel_id, url)
        for tenant in world.tenants.values()
        for key, url in tenant.listeners.items()
    ]


def _campaigns(world: World) -> list[tuple[Any, ...]]:
    rows = []
    for campaign in reversed(world.campaigns):
        shown = campaign_state(world, campaign)
        told = (_state(shown), shown["fired_at"], f"{shown['customers']:,}", *_results(shown))
        rows.append((shown["tenant"], shown["id"], shown["channel"], *told))
    return rows


def _state(shown: dict[str, Any]) -> str:
    """In words; one on hold says until when."""
    return f"on hold until {shown['on_hold_until']}" if shown["state"] == "on_hold" else str(shown["state"])


def _triggers(world: World) -> list[tuple[Any, ...]]:
    rows = []
    for shown in reversed(triggers(world)):
        p50, p99 = shown["latency_ms"].values()
        told = [f"{shown[count]:,} {count}" for count in ("sent", "duplicates")]
        answers = [f"{shown[count]:,} {count}" for count in ("answered", "failed", "retried")]
        answers += [] if p50 is None else [f"p50 {p50:g} ms, p99 {p99:g} ms"]
        rule = shown["event"] and f"{shown['event']}, {shown['times']} times"
        rows.append(
            (
                *(shown[key] for key in ("tenant", "campaign", "channel", "name")),
                *(rule, f"{shown['fired']:,}", told, answers),
                *_results(shown),
            )
        )
    return rows


def _results(shown: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What Optimove was told of a campaign or a trigger."""
    return (
        [
            f"{row['TemplateID']} {METRICS.get(row['MetricID'], row['MetricID'])}: {row['MetricValue']:,}"
            for row in shown["metrics"]
        ],
        [
            f"{row['TemplateID']} {EVENTS.get(row['EventID'], row['EventID'])}, "
            f"{row['InteractionDate']}: {row['customers']:,}"
            for row in shown["interactions"]
        ],
    )


def _notifications(world: World) -> list[tuple[Any, ...]]:
    return [
        (entry["at"], entry["url"], entry["body"], entry["tries"], entry["error"] or entry["status"])
        for entry in reversed(world.entries("notifications")[-LAST_CALLS:])
    ]


def _calls(world: World) -> list[tuple[Any, ...]]:
    return [
        (
            entry["at"],
            entry["tenant"],
            entry["call"] or f"{entry['method']} {entry['path']}",
            [f"{name}={value}" for name, value in entry["query"].items()],
            entry["status"] or "cut",
            entry["rows"],
            entry["fault"],
        )
        for entry in reversed(world.told["calls"][-LAST_CALLS:])
    ]
