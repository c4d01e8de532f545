"""Triggers at work: fired when told to, when a customer did what the rule says, or so many a second."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from optirelay.simulator import trigger_entries
from optirelay.simulator.clock import utc_now
from optirelay.simulator.customers import Customer
from optirelay.simulator.firing import Firing, Notification
from optirelay.simulator.generating import Generator
from optirelay.simulator.trigger_entries import Order
from optirelay.simulator.triggers import TRIGGERED, Trigger, notification
from optirelay.simulator.world import Tenant, World


def fire(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """Fire one trigger for these customers. How many notifications went out, and for how many a gateway is asked."""
    return _fire(world, firing, [trigger_entries.read_order(world, values)])


def customer_event(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """A customer did something. The same."""
    return _fire(world, firing, trigger_entries.read_event(world, values))


def generate(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """Fire one trigger over and over in the background. How often it will."""
    load = trigger_entries.read_load(world, values)
    firing.begin(Generator(world, load).run())
    return {"id": load.trigger.campaign_id, "count": load.count}


def _fire(world: World, firing: Firing, orders: list[Order]) -> dict[str, Any]:
    asked = 0
    notifications: list[Notification] = []
    for order in orders:
        if world.tenants[order.trigger.tenant_id].gateway:
            asked += len(order.customers)
            firing.begin(_ask_and_fire(world, firing, order))
        else:
            notifications += _notifications(world, order)
    return {"notifications": firing.send(notifications)} | ({"asked": asked} if asked else {})


async def _ask_and_fire(world: World, firing: Firing, order: Order) -> None:
    """For each customer whom the tenant's gateway allows.

    https://developer.optimove.com/reference/put_triggered-conditional-execution-gateway
    """
    tenant = world.tenants[order.trigger.tenant_id]
    for customer in order.customers:
        allowed: Any = True
        if tenant.gateway:
            answer = await firing.ask(tenant.tenant_id, tenant.gateway, _question(tenant, order.trigger, customer))
            allowed = answer.get("allowed") if isinstance(answer, dict) else None
        if allowed is True or (not isinstance(allowed, bool) and world.quirks.gateway_silent == "fire"):
            firing.send(_notifications(world, replace(order, customers=[customer])))


def _question(tenant: Tenant, trigger: Trigger, customer: Customer | None) -> dict[str, Any]:
    templates = [{"id": one, "name": tenant.template_name(trigger.channel_id, one)} for one in trigger.templates]
    channel = {"id": trigger.channel_id, "name": tenant.channels.get(trigger.channel_id), "brand_id": None}
    return {
        "user": {"user_id": customer and customer.customer_id, "is_visitor": customer is None},
        "campaign": {
            "id": trigger.campaign_id,
            "series_id": trigger.campaign_id,
            "notes": trigger.notes,
            "tags": [],
            "action": {
                "id": trigger.action_id,
                "name": trigger.action_name,
                "promo_codes": list(trigger.promo_codes),
                "channels": [{**channel, "templates": templates}],
            },
        },
    }


def _notifications(world: World, order: Order) -> list[Notification]:
    """What the listeners of the trigger's channel are told, customer by customer."""
    trigger, now, told = order.trigger, utc_now(), []
    tenant, past = world.tenants[trigger.tenant_id], trigger.past
    urls = tenant.urls(TRIGGERED, trigger.channel_id)
    given = now + order.time_stamp if isinstance(order.time_stamp, timedelta) else order.time_stamp
    for place, customer in enumerate(order.customers):
        who = customer.customer_id if customer else None
        stamp = trigger.given_stamp(who, given, now) if given else trigger.next_stamp(who, now)
        # Of the customer and the moment alone: the same for the same again.
        position = place if who is None else tenant.customers.position_of(who) or 0
        template_id = trigger.templates[(position + int(stamp.timestamp())) % len(trigger.templates)]
        again = (who, stamp) in past.told
        past.told.add((who, stamp))
        past.tally.fired += not again
        body = notification(
            trigger,
            customer,
            order.parameters,
            stamp=stamp,
            template_id=template_id,
            template_name=tenant.template_name(trigger.channel_id, template_id),
            quirks=world.quirks,
        )
        told += [Notification(tenant.tenant_id, url, body, past.tally, again) for url in urls]
    return told


ORDERS: dict[str, Callable[[World, Firing, Any], dict[str, Any]]] = {
    "triggers/fire": fire,
    "triggers/generate": generate,
    "customers/events": customer_event,
}
