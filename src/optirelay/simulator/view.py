"""What the simulator knows and was told, as JSON."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from optirelay.simulator.campaigns import Campaign, RawRow
from optirelay.simulator.clock import iso_time, optimove_time
from optirelay.simulator.triggers import Trigger
from optirelay.simulator.world import Tenant, World


def state(world: World) -> dict[str, Any]:
    """Everything; what it was told stands newest last."""
    return {
        "seed": world.seed,
        "quirks": asdict(world.quirks),
        "faults": [asdict(fault) for fault in world.faults],
        "tenants": [_tenant(tenant) for tenant in world.tenants.values()],
        "channels": [
            {
                "tenant": tenant.tenant_id,
                "channel": channel_id,
                "name": name,
                "templates": _templates(tenant, channel_id),
                "apps": _apps(tenant, channel_id),
            }
            for tenant in world.tenants.values()
            for channel_id, name in tenant.channels.items()
        ],
        "campaigns": [campaign_state(world, campaign) for campaign in world.campaigns],
        "triggers": triggers(world),
        **{kind: world.entries(kind) for kind in world.told},
        "notifications_not_kept": world.not_kept,
    }


def summary(world: World) -> dict[str, int]:
    """Counts alone."""
    counts = {"tenants": len(world.tenants), "campaigns": len(world.campaigns), "faults": len(world.faults)}
    counts |= {"triggers": len(world.triggers)} | {kind: len(world.entries(kind)) for kind in world.told}
    counts["notifications"] += world.not_kept
    return counts


def _tenant(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.tenant_id,
        "customers": len(tenant.customers),
        "listeners": _listeners(tenant),
        "attributes": [
            {
                "RealFieldName": attribute.name,
                "Type": attribute.type,
                "DefaultValue": attribute.default,
                "by_api": attribute.by_api,
            }
            for attribute in tenant.attributes()
        ],
        "customers_changed": tenant.customers.changed_count,
        "preferences": preferences(tenant),
        "promotions": [{"PromoCode": code, "PromotionName": name} for code, name in tenant.promotions.items()],
        "gateway": tenant.gateway,
        "metrics": [{**key._asdict(), "value": value} for key, value in tenant.metrics.items()],
        "interactions": [{**key._asdict(), "customers": count} for key, count in tenant.interactions.items()],
    }


def preferences(tenant: Tenant) -> list[dict[str, Any]]:
    """How many customers stand in which mode, channel by channel and app by app."""
    return [
        {"ChannelID": channel_id, "AppID": app_id, "CommunicationMode": mode, "customers": count}
        for (channel_id, app_id), modes in tenant.preferences.items()
        for mode, count in sorted(Counter(modes.values()).items())
    ]


def _listeners(tenant: Tenant) -> list[dict[str, Any]]:
    return [
        {"EventTypeID": event_type, "ChannelID": channel_id, "ListenerURL": url}
        for (event_type, channel_id), url in tenant.listeners.items()
    ]


def _templates(tenant: Tenant, channel_id: int) -> list[dict[str, Any]]:
    return [
        {"TemplateID": template_id, "TemplateName": template.name, "AppID": template.app_id}
        for template_id, template in tenant.templates.get(channel_id, {}).items()
    ]


def _apps(tenant: Tenant, channel_id: int) -> list[dict[str, Any]]:
    return [{"AppID": app_id, "AppName": name} for app_id, name in tenant.apps.get(channel_id, {}).items()]


# How things stand now at a tenant, after all that was told.
CURRENT: dict[str, Callable[[Tenant], Iterable[dict[str, Any]]]] = {
    "listeners": _listeners,
    "templates": lambda tenant: (
        {"ChannelID": one, **row} for one in tenant.templates for row in _templates(tenant, one)
    ),
    "apps": lambda tenant: ({"ChannelID": one, **row} for one in tenant.apps for row in _apps(tenant, one)),
    "attributes": lambda tenant: (
        {"CustomerID": customer_id, "Attributes": dict(changes)} for customer_id, changes in tenant.customers.changes()
    ),
    "preferences": lambda tenant: (
        {"ChannelID": channel_id, "AppID": app_id, "CustomerID": customer_id, "CommunicationMode": mode}
        for (channel_id, app_id), modes in tenant.preferences.items()
        for customer_id, mode in modes.items()
    ),
    "promotions": lambda tenant: (
        {"PromoCode": code, "PromotionName": name} for code, name in tenant.promotions.items()
    ),
}


def current(world: World, kind: str, tenant_id: int | None) -> list[dict[str, Any]]:
    """How things of a kind in CURRENT stand, at one tenant or at all."""
    return [
        {"tenant": tenant.tenant_id, **row}
        for tenant in world.tenants.values()
        if tenant_id in (None, tenant.tenant_id)
        for row in CURRENT[kind](tenant)
    ]


def campaign_state(world: World, campaign: Campaign) -> dict[str, Any]:
    """A campaign on one channel, with what a marketer would see of its results."""
    return {
        "tenant": campaign.tenant_id,
        "id": campaign.campaign_id,
        "channel": campaign.channel_id,
        "state": campaign.state,
        "customers": campaign.size,
        "raw_rows": len(campaign.raw_rows),
        "templates": list(campaign.templates),
        "fired_at": campaign.fired_at and iso_time(campaign.fired_at),
        "on_hold_until": campaign.on_hold_until and iso_time(campaign.on_hold_until),
        "cancelled_at": campaign.cancelled_at and iso_time(campaign.cancelled_at),
        **_results(world.tenants[campaign.tenant_id], campaign.campaign_id, campaign.channel_id),
    }


def triggers(world: World) -> list[dict[str, Any]]:
    """Every trigger with what came of it."""
    return [_trigger(world.tenants[trigger.tenant_id], trigger) for trigger in world.triggers.values()]


def _trigger(tenant: Tenant, trigger: Trigger) -> dict[str, Any]:
    tally, campaign = trigger.past.tally, str(trigger.campaign_id)
    return {
        "tenant": trigger.tenant_id,
        "campaign": trigger.campaign_id,
        "channel": trigger.channel_id,
        "name": trigger.name,
        "templates": list(trigger.templates),
        "action": trigger.action_id,
        "event": trigger.event,
        "times": trigger.times,
        "running": trigger.past.running,
        "fired": tally.fired,
        "sent": tally.sent,
        "duplicates": tally.duplicates,
        "answered": tally.answered,
        "failed": tally.failed,
        "retried": tally.retried,
        "latency_ms": {"p50": tally.percentile(0.5), "p99": tally.percentile(0.99)},
        # Neither call takes an id that is no number.
        **_results(tenant, int(campaign) if campaign.isdecimal() else None, trigger.channel_id),
    }


def _results(tenant: Tenant, campaign_id: int | None, channel_id: int) -> dict[str, Any]:
    here = (campaign_id, channel_id)
    return {
        "metrics": [
            {"TemplateID": key.template_id, "MetricID": key.metric_id, "MetricValue": value}
            for key, value in sorted(tenant.metrics.items())
            if key[:2] == here
        ],
        "interactions": [
            {
                "TemplateID": key.template_id,
                "EventID": key.event_id,
                "InteractionDate": key.happened_on,
                "RecipientGroupID": key.recipient_group_id,
                "customers": count,
            }
            for key, count in tenant.interactions.items()
            if key[:2] == here
        ],
    }


def campaign_rows(campaign: Campaign) -> list[Any]:
    """All rows in the order in which Optimove serves them, each with all attributes; raw rows as they are."""
    return [
        row.value
        if isinstance(row, RawRow)
        else {
            "CustomerID": row.customer.customer_id,
            "TemplateID": row.template_id,
            "ScheduledTime": row.send_at and optimove_time(row.send_at),
            "CustomerAttributes": row.customer.attributes,
        }
        for row in campaign.rows()
    ]


def people(tenant: Tenant) -> list[dict[str, Any]]:
    """All customers of a tenant, each as it could be given back to /_sim/customers."""
    everyone = (tenant.customers.at(position) for position in range(len(tenant.customers)))
    return [{"customer_id": customer.customer_id, **customer.attributes} for customer in everyone]
