"""Triggers at work: fired when told to, when a customer did what the rule says, or so many a second."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from optirelay.simulator import trigger_entries
from optirelay.simulator.clock import utc_now
from optirelay.simulator.firing import Firing, Notification
from optirelay.simulator.generating import Generator
from optirelay.simulator.trigger_entries import Order
from optirelay.simulator.triggers import TRIGGERED, notification
from optirelay.simulator.world import World


def fire(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """Fire one trigger for these customers. How many notifications went out."""
    return {"notifications": firing.send(_notifications(world, trigger_entries.read_order(world, values)))}


def customer_event(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """A customer did something. How many notifications went out."""
    orders = trigger_entries.read_event(world, values)
    return {"notifications": firing.send([one for order in orders for one in _notifications(world, order)])}


def generate(world: World, firing: Firing, values: Any) -> dict[str, Any]:
    """Fire one trigger over and over in the background. How often it will."""
    load = trigger_entries.read_load(world, values)
    firing.begin(Generator(world, load).run())
    return {"id": load.trigger.campaign_id, "count": load.count}


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
