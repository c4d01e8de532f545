"""What a partner reports of its campaigns: totals, customers, single events; and what can be read of it."""

from datetime import date
from itertools import islice
from typing import Any

from optirelay.simulator import events
from optirelay.simulator.calls.call import Call, Told, read_date
from optirelay.simulator.calls.customers import read_asked, read_page
from optirelay.simulator.campaigns import FIRST_ACTION
from optirelay.simulator.customers import Customer
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import Fields, read_array, read_number, read_text
from optirelay.simulator.world import InteractionKey, MetricKey

# Most that one call takes: the older documentation (github nicolasramy/optimove), and
# https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions
MAX_METRICS = 100
MAX_INTERACTION_CUSTOMERS = 10_000


def update_campaign_metrics(told: Told) -> None:
    """Totals, all of them or none; what a second total does is a quirk (github nicolasramy/optimove)."""
    new: list[tuple[MetricKey, int]] = []
    for row in read_array(told.body, MAX_METRICS, "metrics"):
        fields = Fields(row)
        channel_id = told.channel(fields.number("ChannelID"))
        key = MetricKey(fields.number("CampaignID"), channel_id, fields.number("TemplateID"), fields.number("MetricID"))
        new.append((key, fields.number("MetricValue")))
    for key, value in new:
        before = told.tenant.metrics.get(key, 0) if told.world.quirks.metrics == "add" else 0
        told.tenant.metrics[key] = before + value


def update_campaign_interactions(told: Told) -> None:
    """Customers who did something; the same again adds up.

    https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions
    """
    fields = Fields(told.body)
    happened_on = fields.text("InteractionDate")
    read_date(happened_on, "InteractionDate")
    customers = fields.texts("CustomerIDs")
    if len(customers) > MAX_INTERACTION_CUSTOMERS:
        raise Refused(f"A call takes at most {MAX_INTERACTION_CUSTOMERS} customers.")
    group = fields.number_or_none("RecipientGroupID")
    key = InteractionKey(
        fields.number("CampaignID"),
        told.channel(fields.number("ChannelID")),
        fields.number("TemplateID"),
        fields.number("EventID"),
        happened_on,
        1 if group is None else group,
        fields.text_or_none("AppID"),
    )
    told.tenant.interactions[key] += len(customers)
    told.tenant.who_interacted[key].append(customers)  # the body's own list, which is remembered anyway


def get_campaign_interaction_customers(told: Told) -> list[dict[str, Any]]:
    """A page of who did something with a campaign that was delivered on a day over a channel, each once.

    Github nicolasramy/optimove quotes what the call is for; its query and its rows are deduced. A campaign that the
    simulator does not know counts as delivered on the day of the interaction.
    """
    day = read_date(told.request.param("Date"), "Date")
    channel_id, event_id = told.channel_in_query(), read_number(told.request, "EventID")
    asked, wire_id = read_asked(told), told.world.quirks.wire_id
    rows: dict[tuple[str, int, int], None] = {}
    for key, lists in told.tenant.who_interacted.items():
        if (key.channel_id, key.event_id) == (channel_id, event_id) and day in _delivered_on(told, key):
            rows.update(((who, key.campaign_id, key.template_id), None) for customers in lists for who in customers)
    skip, top = read_page(told)
    wires = []
    for customer_id, campaign_id, template_id in islice(rows, skip, skip + top):
        position = told.tenant.customers.position_of(customer_id)
        customer = Customer(customer_id, {}) if position is None else told.tenant.customers.at(position)
        wire = {"CustomerID": customer_id, "CampaignID": wire_id(campaign_id), "TemplateID": wire_id(template_id)}
        wires.append(asked.add_to(wire, customer))
    return wires


def get_customer_channel_interactions(told: Told) -> list[dict[str, Any]]:
    """What one customer did in a time, from day to day inclusive; channel 0 is all.

    https://developer.optimove.com/reference/get_customers-getcustomerchannelinteractions
    """
    customer_id = read_text(told.request, "CustomerID")
    first, last = (read_date(told.request.param(name), name).isoformat() for name in ("StartDate", "EndDate"))
    channel_id, wire_id = read_number(told.request, "ChannelID", 0), told.world.quirks.wire_id
    return [
        {
            "Date": key.happened_on,
            "CampaignID": wire_id(key.campaign_id),
            "RecipientGroupID": wire_id(key.recipient_group_id),
            "ActionID": wire_id(FIRST_ACTION),
            "ChannelID": wire_id(key.channel_id),
            "TemplateID": wire_id(key.template_id),
            "EventID": wire_id(key.event_id),
        }
        for key, lists in told.tenant.who_interacted.items()
        if first <= key.happened_on <= last and channel_id in (0, key.channel_id)
        for _ in range(sum(customers.count(customer_id) for customers in lists))
    ]


def _delivered_on(told: Told, key: InteractionKey) -> set[date]:
    campaigns = told.world.campaigns_with(key.campaign_id, told.tenant.tenant_id)
    return {day for campaign in campaigns for day in campaign.fired_on} or {date.fromisoformat(key.happened_on)}


def save_event(told: Told) -> dict[str, str]:
    """Things that happened to customers, each with its time.

    https://developer.optimove.com/docs/external-vendors-campaign-engagement-metrics
    """
    events.check(told.body)
    return {"status": "success", "message": str(len(told.world.told["events"]) + 1)}


SAVE_EVENT = Call("POST", "api", "saveEvent", save_event, "events")
CALLS = (
    Call("POST", "integrations", "UpdateCampaignMetrics", update_campaign_metrics, "metrics"),
    Call("POST", "integrations", "UpdateCampaignInteractions", update_campaign_interactions, "interactions"),
    Call("GET", "customers", "GetCampaignInteractionCustomers", get_campaign_interaction_customers),
    Call("GET", "customers", "GetCustomerChannelInteractions", get_customer_channel_interactions),
    SAVE_EVENT,
)
