"""Optimove's "integrations" area: the templates that marketers pick, and what became of the messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import Any

from ._call import Call
from ._read import Unreadable, read_id, read_list, read_note, read_nothing, read_saved, read_text
from ._write import check_limit, date_to_wire

MAX_TEMPLATES = 100  # a call; Optimove's older documentation
MAX_APPS = 100  # a call; Optimove's older documentation
MAX_METRICS = 100  # a call; Optimove's older documentation
MAX_CUSTOMERS = 10_000  # a call of UpdateCampaignInteractions
MAX_PREFERENCES = 50_000  # customers a call of SetCustomerChannelPreference
MAX_EVENTS = 10_000  # a call of saveEvent; its own limit is not documented
MAX_EVENT_AGE = timedelta(days=7)  # saveEvent takes nothing older


class Metric(IntEnum):
    """What UpdateCampaignMetrics counts (wire: MetricID); seen in public connectors. 7 and 8 are not known."""

    SENT = 0
    DELIVERED = 1
    OPENED = 2
    CLICKED = 3
    UNSUBSCRIBED = 4
    DROPPED = 5
    SPAM = 6
    BOUNCED = 9


class Interaction(IntEnum):
    """What UpdateCampaignInteractions tells (wire: EventID); seen in a public connector. Bounced is not Metric's 9."""

    SENT = 0  # 0 and 1 are deduced from Metric
    DELIVERED = 1
    OPENED = 2
    CLICKED = 3
    UNSUBSCRIBED = 4
    DROPPED = 5
    SPAM = 6
    BOUNCED = 7


@dataclass(frozen=True)
class ChannelTemplate:
    """A template as marketers see it; `app_id` ties it to one app of a push channel."""

    template_id: int
    template_name: str
    app_id: str | None = None


@dataclass(frozen=True)
class ChannelTemplateDetails:
    """A template with what it says. The answer may leave out its id and name: then they are as asked, and empty."""

    template_id: int
    template_name: str
    content: str = field(default="", repr=False)
    attributes: tuple[
        str, ...
    ] = ()  # of mail: sender's name, its address, subject (deduced from the documented sample)


@dataclass(frozen=True)
class ChannelApp:
    """One app of a push channel; marketers pick it by its name, templates and customers are tied to its id."""

    app_id: str
    app_name: str


@dataclass(frozen=True)
class CampaignMetric:
    """One count of one template of a campaign on a channel."""

    campaign_id: int
    channel_id: int
    template_id: int
    metric_id: Metric | int
    value: int


@dataclass(frozen=True, kw_only=True)
class CampaignInteractions:
    """Customers who did the same on the same day."""

    campaign_id: int
    channel_id: int
    template_id: int
    event_id: Interaction | int
    interaction_on: date
    customer_ids: Sequence[str] = field(repr=False)
    recipient_group_id: int = 1
    app_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class CustomerEvent:
    """One thing that happened to one customer; `event` is a word such as "delivered"."""

    event: str
    happened_at: datetime
    customer_id: str = field(repr=False)
    campaign_id: int | str  # text: where it is no number
    channel_id: int
    template_id: int
    recipient_group_id: int = 1


def add_channel_templates(
    channel_id: int, templates: Sequence[ChannelTemplate], *, limit: int = MAX_TEMPLATES
) -> Call[None]:
    """Offer templates to marketers in the Campaign Builder.

    At most `limit` a call; more is a ValueError, so that the caller batches and can name the batch that failed. So is
    a template without a name. What Optimove does with an id that it already has is not documented.

    https://developer.optimove.com/reference/post_integrations-addchanneltemplates
    """
    check_limit(templates, limit, "templates")
    if nameless := [template.template_id for template in templates if not template.template_name.strip()]:
        raise ValueError(f"Optimove takes no template without a name: {nameless}")
    return Call(
        "POST",
        "/integrations/AddChannelTemplates",
        read_nothing,
        query={"ChannelID": channel_id},
        body=[_template_to_wire(template) for template in templates],
    )


def get_channel_templates(channel_id: int) -> Call[list[ChannelTemplate]]:
    """The templates that marketers can pick for this channel.

    https://developer.optimove.com/docs/integrate-your-service-with-optimove
    """
    return Call(
        "GET",
        "/integrations/GetChannelTemplates",
        read_list(_read_template),
        query={"ChannelID": channel_id},
    )


def get_channel_template_details(*, channel_id: int, template_id: int) -> Call[list[ChannelTemplateDetails]]:
    """What a template says. Meant for Optimove's own mail; what it answers for a partner's channel is not documented.

    Seen in a public connector: github sylenaid/optimove-integration; fields also of
    https://developer.optimove.com/reference/get_transactionalmail-gettemplatedetails
    """
    return Call(
        "GET",
        "/Integrations/GetChannelTemplateDetails",
        read_list(lambda row: _read_template_details(row, template_id)),
        query={"ChannelID": channel_id, "TemplateID": template_id},
    )


def delete_channel_templates(channel_id: int, template_ids: Sequence[int], *, limit: int = MAX_TEMPLATES) -> Call[None]:
    """Offer these templates no longer.

    At most `limit` a call; more is a ValueError. What becomes of a campaign that uses one of them, and what Optimove
    answers for an id that it does not have, is not documented.

    github nicolasramy/optimove
    """
    check_limit(template_ids, limit, "templates")
    body = [{"ChannelID": channel_id, "TemplateID": template_id} for template_id in template_ids]
    return Call("POST", "/integrations/DeleteChannelTemplates", read_nothing, body=body)


def add_channel_apps(channel_id: int, apps: Sequence[ChannelApp], *, limit: int = MAX_APPS) -> Call[None]:
    """Offer the apps of a push channel to marketers.

    At most `limit` a call; more is a ValueError, and so is an app without an id or a name. No call reads them back, and
    what Optimove does with an id that it already has is not documented.

    github nicolasramy/optimove
    """
    check_limit(apps, limit, "apps")
    if nameless := [app.app_id for app in apps if not app.app_id.strip() or not app.app_name.strip()]:
        raise ValueError(f"Optimove takes no app without an id and a name: {nameless}")
    return Call(
        "POST",
        "/integrations/AddChannelApps",
        read_nothing,
        query={"ChannelID": channel_id},
        body=[{"AppID": app.app_id, "AppName": app.app_name} for app in apps],
    )


def delete_channel_apps(channel_id: int, app_ids: Sequence[str], *, limit: int = MAX_APPS) -> Call[None]:
    """Offer these apps no longer.

    At most `limit` a call; more is a ValueError. What Optimove answers for an id that it does not have is not
    documented.

    github nicolasramy/optimove
    """
    check_limit(app_ids, limit, "apps")
    body = [{"ChannelID": channel_id, "AppID": app_id} for app_id in app_ids]
    return Call("POST", "/integrations/DeleteChannelApps", read_nothing, body=body)


def update_campaign_metrics(
    items: Sequence[CampaignMetric], *, additive: bool = False, limit: int = MAX_METRICS
) -> Call[None]:
    """Report counts, for seven days after execution. At most `limit` a call; more is a ValueError.

    Whether a later count replaces the one before or is added to it is not documented: we take it to replace, so counts
    are totals and the call is repeatable. `additive=True` for a tenant whose counts add up.

    Seen in public connectors; when: https://developer.optimove.com/docs/integrate-your-service-with-optimove
    """
    check_limit(items, limit, "metrics")
    body = [
        {
            "ChannelID": item.channel_id,
            "CampaignID": item.campaign_id,
            "TemplateID": item.template_id,
            "MetricID": int(item.metric_id),
            "MetricValue": item.value,
        }
        for item in items
    ]
    return Call("POST", "/integrations/UpdateCampaignMetrics", read_nothing, body=body, additive=additive)


def update_campaign_interactions(interactions: CampaignInteractions, *, limit: int = MAX_CUSTOMERS) -> Call[None]:
    """Report who did something. Never repeatable: what is sent again is counted again.

    At most `limit` customers a call; more is a ValueError.

    https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions (named legacy there)
    """
    check_limit(interactions.customer_ids, limit, "customers")
    body: dict[str, Any] = {
        "CampaignID": interactions.campaign_id,
        "ChannelID": interactions.channel_id,
        "InteractionDate": date_to_wire(interactions.interaction_on),
        "TemplateID": interactions.template_id,
        "EventID": int(interactions.event_id),
        "RecipientGroupID": interactions.recipient_group_id,
        "CustomerIDs": list(interactions.customer_ids),
    }
    if interactions.app_id is not None:
        body["AppID"] = interactions.app_id
    return Call("POST", "/integrations/UpdateCampaignInteractions", read_nothing, body=body, additive=True)


def set_customer_channel_preference(
    channel_id: int,
    customer_ids: Sequence[str],
    communication_mode: int,
    *,
    app_id: str | None = None,
    limit: int = MAX_PREFERENCES,
) -> Call[None]:
    """Say how these customers may be written to on this channel, or in one app of it.

    The numbers of `communication_mode` are not documented in public (the sample has 2): Optimove tells each partner.
    At most `limit` customers a call; more is a ValueError. What is set here is seen nowhere in Optimove until an
    attribute is made of it, and no call reads it back. The last one stands, so the call is repeatable.

    https://developer.optimove.com/reference/post_integrations-setcustomerchannelpreference
    """
    check_limit(customer_ids, limit, "customers")
    body = {
        "ChannelID": channel_id,
        "CustomerIDs": list(customer_ids),
        "CommunicationMode": communication_mode,
        "AppID": app_id,
    }
    return Call("POST", "/integrations/SetCustomerChannelPreference", read_nothing, body=body)


def save_event(events: Sequence[CustomerEvent], *, limit: int = MAX_EVENTS) -> Call[None]:
    """Report who did something, one by one, with its time: what replaces UpdateCampaignInteractions.

    Signed, and not repeatable: whether the same event again counts again is not documented. At most `limit` events a
    call; more is a ValueError. Optimove takes none that is older than MAX_EVENT_AGE. Names of events, the fields of
    `context`, the form of time stamps and the most that one call takes are not documented: these are deduced.

    https://developer.optimove.com/docs/external-vendors-campaign-engagement-metrics
    """
    check_limit(events, limit, "events")
    body = [_event_to_wire(event) for event in events]
    return Call("POST", "/api/saveEvent", read_saved, body=body, additive=True, signed=True)


def _event_to_wire(event: CustomerEvent) -> dict[str, Any]:
    context = {"campaign_id": event.campaign_id, "channel_id": event.channel_id, "template_id": event.template_id}
    if event.recipient_group_id != 1:
        context["recipient_group_id"] = event.recipient_group_id
    return {
        "event": event.event,
        "category": "metric",
        "timestamp": event.happened_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customer": event.customer_id,
        "context": context,
    }


def _template_to_wire(template: ChannelTemplate) -> dict[str, int | str]:
    wire: dict[str, int | str] = {"TemplateID": template.template_id, "TemplateName": template.template_name}
    if template.app_id is not None:
        wire["AppID"] = template.app_id
    return wire


def _read_template(row: Mapping[str, Any]) -> ChannelTemplate:
    app_id = row.get("appid")
    return ChannelTemplate(
        read_id(row.get("templateid"), "TemplateID"),
        read_text(row.get("templatename"), "TemplateName"),
        None if app_id in (None, "") else str(app_id),
    )


def _read_template_details(row: Mapping[str, Any], asked: int) -> ChannelTemplateDetails:
    attributes = row.get("templateattributes") or []
    if not isinstance(attributes, list):
        raise Unreadable("TemplateAttributes is not a list")
    return ChannelTemplateDetails(
        read_id(row.get("templateid") or asked, "TemplateID"),
        read_note(row.get("templatename"), "TemplateName"),
        read_note(row.get("templatecontent"), "TemplateContent"),
        tuple(read_note(attribute, "TemplateAttributes") for attribute in attributes),
    )
