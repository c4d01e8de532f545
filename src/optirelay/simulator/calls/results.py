"""What a partner reports of its campaigns: totals, customers, single events."""

from optirelay.simulator import events
from optirelay.simulator.calls.call import Call, Told, check_channel, check_date
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import Fields, read_array
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
        channel_id = check_channel(told.tenant, fields.number("ChannelID"))
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
    check_date(happened_on, "InteractionDate")
    customers = fields.texts("CustomerIDs")
    if len(customers) > MAX_INTERACTION_CUSTOMERS:
        raise Refused(f"A call takes at most {MAX_INTERACTION_CUSTOMERS} customers.")
    group = fields.number_or_none("RecipientGroupID")
    key = InteractionKey(
        fields.number("CampaignID"),
        check_channel(told.tenant, fields.number("ChannelID")),
        fields.number("TemplateID"),
        fields.number("EventID"),
        happened_on,
        1 if group is None else group,
        fields.text_or_none("AppID"),
    )
    told.tenant.interactions[key] += len(customers)


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
    SAVE_EVENT,
)
