"""A typed client for Optimove's partner API: calls are values, `OptimoveClient` sends them."""

from ._call import Call
from ._read import Unreadable, read_time
from .client import OptimoveClient
from .customers import SendDetail, SendDetailsPage, UnreadableRow, get_customer_send_details_by_channel
from .errors import Broken, CannotConnect, Moved, NoAnswer, OptimoveError, RateLimited, Refused, TooLong, Unauthorized
from .events import EventType
from .general import EventListener, get_registered_event_listeners, register_event_listener
from .integrations import (
    MAX_CUSTOMERS,
    MAX_EVENT_AGE,
    MAX_EVENTS,
    MAX_METRICS,
    MAX_TEMPLATES,
    CampaignInteractions,
    CampaignMetric,
    ChannelTemplate,
    CustomerEvent,
    Interaction,
    Metric,
    add_channel_templates,
    get_channel_templates,
    save_event,
    update_campaign_interactions,
    update_campaign_metrics,
)

__all__ = [
    "MAX_CUSTOMERS",
    "MAX_EVENTS",
    "MAX_EVENT_AGE",
    "MAX_METRICS",
    "MAX_TEMPLATES",
    "Broken",
    "Call",
    "CampaignInteractions",
    "CampaignMetric",
    "CannotConnect",
    "ChannelTemplate",
    "CustomerEvent",
    "EventListener",
    "EventType",
    "Interaction",
    "Metric",
    "Moved",
    "NoAnswer",
    "OptimoveClient",
    "OptimoveError",
    "RateLimited",
    "Refused",
    "SendDetail",
    "SendDetailsPage",
    "TooLong",
    "Unauthorized",
    "Unreadable",
    "UnreadableRow",
    "add_channel_templates",
    "get_channel_templates",
    "get_customer_send_details_by_channel",
    "get_registered_event_listeners",
    "read_time",
    "register_event_listener",
    "save_event",
    "update_campaign_interactions",
    "update_campaign_metrics",
]
