"""A typed client for Optimove's partner API.

A call is a value: a function such as `get_channel_templates(452)` makes it, and does no I/O. A client sends it and
gives the answer back in types of this package, in an asyncio program or in one without:

    async with OptimoveClient("https://api5.optimove.net", key) as optimove:
        templates = await optimove.send(get_channel_templates(452))

    with SyncOptimoveClient("https://api5.optimove.net", key) as optimove:
        templates = optimove.send(get_channel_templates(452))

Long lists come in pages, one in memory at a time. `send` gives one page, `pages` page after page, `rows` every row:

    call = get_customer_send_details_by_channel(campaign_id=90211, channel_id=452, attributes=["FIRST_NAME"])
    async for row in optimove.rows(call):
        ...

What goes wrong with a call is an OptimoveError: one class for each thing that can happen next. Nothing is tried twice:
`error.repeatable` (and `call.repeatable`, before) says whether the same call again does no harm. More than one call
takes is a ValueError, with the limit, before anything is sent.

Answers are read tolerantly: keys in any case, ids as numbers or text, booleans as text, times with or without seconds,
older and newer forms of a field. What still is not what the call promises is Broken, never a wrong value. Times are
aware and in UTC; ids of customers are text, since zeros in front count. Personal values are in no `repr`.

What Optimove's documentation says, and where, is in each docstring; so is what it does not say. INFERRED there means
deduced by us: what you know better about your account can be given, such as another `limit`.
"""

from ._call import PAGE_SIZE, Call, Page, PagedCall
from ._read import Unreadable, read_time
from ._shell import MAX_ANSWER_BYTES, PATIENCE
from ._write import AttributeValue
from .actions import (
    CampaignDetails,
    ExecutedSend,
    ExecutionChannel,
    get_campaign_details,
    get_executed_campaign_channel_details,
    get_executed_campaign_details,
    get_executed_campaigns_by_channel,
    get_execution_channels,
)
from .attributes import (
    MAX_CHANGED_ATTRIBUTES,
    MAX_CHANGED_CUSTOMERS,
    AttributeAdded,
    AttributeChange,
    AttributeName,
    AttributeNotAdded,
    AttributeNotChanged,
    AttributesUpdated,
    CustomerAttribute,
    NewAttributeValues,
    UnchangedAttribute,
    add_customer_attribute,
    get_customer_attribute_changers,
    get_customer_attribute_list,
    get_customer_attributes,
    read_attribute_added,
    read_attributes_updated,
    update_customer_attributes,
    upsert_customer,
)
from .client import OptimoveClient, SyncOptimoveClient
from .customers import (
    MAX_FORGOTTEN,
    CampaignCustomer,
    ChannelInteraction,
    ExecutionDetail,
    InteractionCustomer,
    OneTimeAction,
    get_campaign_interaction_customers,
    get_canceled_campaign_customers,
    get_customer_channel_interactions,
    get_customer_execution_details_by_campaign,
    get_customer_one_time_actions_by_campaign,
    get_processed_campaign_customers,
    remove_customer_pii,
)
from .errors import (
    Broken,
    CannotConnect,
    Forbidden,
    Moved,
    NoAnswer,
    OptimoveError,
    RateLimited,
    Refused,
    RepeatedPage,
    TooLong,
    Unauthorized,
)
from .events import EventType
from .general import (
    EventListener,
    get_last_data_update,
    get_registered_event_listeners,
    register_event_listener,
    unregister_event_listener,
)
from .integrations import (
    MAX_APPS,
    MAX_CUSTOMERS,
    MAX_EVENT_AGE,
    MAX_EVENTS,
    MAX_METRICS,
    MAX_PREFERENCES,
    MAX_TEMPLATES,
    CampaignInteractions,
    CampaignMetric,
    ChannelApp,
    ChannelTemplate,
    ChannelTemplateDetails,
    CustomerEvent,
    Interaction,
    Metric,
    add_channel_apps,
    add_channel_templates,
    delete_channel_apps,
    delete_channel_templates,
    get_channel_template_details,
    get_channel_templates,
    save_event,
    set_customer_channel_preference,
    update_campaign_interactions,
    update_campaign_metrics,
)
from .promotions import (
    MAX_PROMOTION_STATUSES,
    MAX_PROMOTIONS,
    Promotion,
    add_promotions,
    delete_promotions,
    get_promotions,
    set_triggered_conditional_execution_gateway,
    update_customer_promotion_status,
)
from .send_details import (
    CampaignSend,
    SendDetail,
    SendDetailsPage,
    UnreadableRow,
    get_customer_send_details_by_campaign,
    get_customer_send_details_by_channel,
)

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_APPS",
    "MAX_CHANGED_ATTRIBUTES",
    "MAX_CHANGED_CUSTOMERS",
    "MAX_CUSTOMERS",
    "MAX_EVENTS",
    "MAX_EVENT_AGE",
    "MAX_FORGOTTEN",
    "MAX_METRICS",
    "MAX_PREFERENCES",
    "MAX_PROMOTIONS",
    "MAX_PROMOTION_STATUSES",
    "MAX_TEMPLATES",
    "PAGE_SIZE",
    "PATIENCE",
    "AttributeAdded",
    "AttributeChange",
    "AttributeName",
    "AttributeNotAdded",
    "AttributeNotChanged",
    "AttributeValue",
    "AttributesUpdated",
    "Broken",
    "Call",
    "CampaignCustomer",
    "CampaignDetails",
    "CampaignInteractions",
    "CampaignMetric",
    "CampaignSend",
    "CannotConnect",
    "ChannelApp",
    "ChannelInteraction",
    "ChannelTemplate",
    "ChannelTemplateDetails",
    "CustomerAttribute",
    "CustomerEvent",
    "EventListener",
    "EventType",
    "ExecutedSend",
    "ExecutionChannel",
    "ExecutionDetail",
    "Forbidden",
    "Interaction",
    "InteractionCustomer",
    "Metric",
    "Moved",
    "NewAttributeValues",
    "NoAnswer",
    "OneTimeAction",
    "OptimoveClient",
    "OptimoveError",
    "Page",
    "PagedCall",
    "Promotion",
    "RateLimited",
    "Refused",
    "RepeatedPage",
    "SendDetail",
    "SendDetailsPage",
    "SyncOptimoveClient",
    "TooLong",
    "Unauthorized",
    "UnchangedAttribute",
    "Unreadable",
    "UnreadableRow",
    "add_channel_apps",
    "add_channel_templates",
    "add_customer_attribute",
    "add_promotions",
    "delete_channel_apps",
    "delete_channel_templates",
    "delete_promotions",
    "get_campaign_details",
    "get_campaign_interaction_customers",
    "get_canceled_campaign_customers",
    "get_channel_template_details",
    "get_channel_templates",
    "get_customer_attribute_changers",
    "get_customer_attribute_list",
    "get_customer_attributes",
    "get_customer_channel_interactions",
    "get_customer_execution_details_by_campaign",
    "get_customer_one_time_actions_by_campaign",
    "get_customer_send_details_by_campaign",
    "get_customer_send_details_by_channel",
    "get_executed_campaign_channel_details",
    "get_executed_campaign_details",
    "get_executed_campaigns_by_channel",
    "get_execution_channels",
    "get_last_data_update",
    "get_processed_campaign_customers",
    "get_promotions",
    "get_registered_event_listeners",
    "read_attribute_added",
    "read_attributes_updated",
    "read_time",
    "register_event_listener",
    "remove_customer_pii",
    "save_event",
    "set_customer_channel_preference",
    "set_triggered_conditional_execution_gateway",
    "unregister_event_listener",
    "update_campaign_interactions",
    "update_campaign_metrics",
    "update_customer_attributes",
    "update_customer_promotion_status",
    "upsert_customer",
]
