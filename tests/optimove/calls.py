"""Every call of the client, with the arguments that make the samples of the one table."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from optirelay import optimove
from optirelay.optimove import (
    Call,
    CampaignInteractions,
    CampaignMetric,
    ChannelApp,
    ChannelTemplate,
    CustomerEvent,
    EventType,
    Interaction,
    Metric,
    NewAttributeValues,
    Promotion,
)

LISTENER = "https://partner.example.com/optimove/acme/"
CALLBACK = "https://partner.example.com/optimove/attr-callback"
SIGNED = "https://metric-7001.optimove.net/api/saveEvent"

CALLS: dict[str, Callable[[], Call[Any]]] = {
    "RegisterEventListener, of one channel": partial(
        optimove.register_event_listener, EventType.CHANNEL_EXECUTED, LISTENER + "13", 452
    ),
    "RegisterEventListener, of all channels": partial(
        optimove.register_event_listener, EventType.CLEARANCE_REQUIRED, LISTENER + "5"
    ),
    "UnregisterEventListener, of one channel": partial(
        optimove.unregister_event_listener, EventType.CHANNEL_EXECUTED, 452
    ),
    "UnregisterEventListener, of all channels": partial(optimove.unregister_event_listener, 4),
    "GetRegisteredEventListeners": partial(optimove.get_registered_event_listeners),
    "GetLastDataUpdate": partial(optimove.get_last_data_update),
    "AddChannelTemplates": partial(
        optimove.add_channel_templates,
        452,
        [ChannelTemplate(17, "Loan nudge SMS"), ChannelTemplate(18, "Welcome", "ios-main")],
    ),
    "DeleteChannelTemplates": partial(optimove.delete_channel_templates, 452, [17, 18]),
    "GetChannelTemplates": partial(optimove.get_channel_templates, 452),
    "GetChannelTemplateDetails": partial(optimove.get_channel_template_details, channel_id=15, template_id=5),
    "AddChannelApps": partial(optimove.add_channel_apps, 506, [ChannelApp("ios-main", "Acme iOS")]),
    "DeleteChannelApps": partial(optimove.delete_channel_apps, 506, ["ios-main"]),
    "GetCustomerSendDetailsByChannel": partial(
        optimove.get_customer_send_details_by_channel,
        campaign_id=90211,
        channel_id=452,
        attributes=["FIRST_NAME", "PHONE"],
    ),
    "GetCustomerSendDetailsByChannel, without attributes, a later page": partial(
        optimove.get_customer_send_details_by_channel,
        campaign_id=90211,
        channel_id=452,
        attributes=[],
        skip=20_000,
        top=100,
    ),
    "GetCustomerSendDetailsByCampaign": partial(optimove.get_customer_send_details_by_campaign, 90211),
    "GetCustomerSendDetailsByCampaign, with templates": partial(
        optimove.get_customer_send_details_by_campaign, 90211, template_ids=True
    ),
    "GetCustomerExecutionDetailsByCampaign": partial(
        optimove.get_customer_execution_details_by_campaign,
        campaign_id=90211,
        channel_id=452,
        attributes=["FIRST_NAME", "COUNTRY"],
    ),
    "GetCustomerOneTimeActionsByCampaign": partial(
        optimove.get_customer_one_time_actions_by_campaign,
        90211,
        channel_id=452,
        control_group=True,
        attributes=["FIRST_NAME", "COUNTRY"],
    ),
    "GetCustomerOneTimeActionsByCampaign, on all channels": partial(
        optimove.get_customer_one_time_actions_by_campaign, 90211
    ),
    "GetProcessedCampaignCustomers": partial(optimove.get_processed_campaign_customers, 90211),
    "GetCanceledCampaignCustomers": partial(optimove.get_canceled_campaign_customers, 90211),
    "GetCampaignInteractionCustomers": partial(
        optimove.get_campaign_interaction_customers,
        on=date(2031, 4, 2),
        channel_id=452,
        event_id=Interaction.CLICKED,
        attributes=["FIRST_NAME"],
    ),
    "GetCustomerChannelInteractions": partial(
        optimove.get_customer_channel_interactions,
        "C-004711",
        start_on=date(2031, 4, 1),
        end_on=date(2031, 4, 7),
    ),
    "GetExecutedCampaignsByChannel": partial(optimove.get_executed_campaigns_by_channel, 452, date(2031, 4, 2)),
    "GetExecutedCampaignChannelDetails": partial(
        optimove.get_executed_campaign_channel_details, campaign_id=90211, channel_id=452
    ),
    "GetExecutedCampaignDetails": partial(optimove.get_executed_campaign_details, date(2031, 4, 2)),
    "GetCampaignDetails": partial(optimove.get_campaign_details, 90211),
    "GetExecutionChannels": partial(optimove.get_execution_channels),
    "GetCustomerAttributes": partial(optimove.get_customer_attributes, "C-004711"),
    "GetCustomerAttributes, of a customer whose id is no path": partial(optimove.get_customer_attributes, "a/b? é"),
    "GetCustomerAttributeList": partial(optimove.get_customer_attribute_list),
    "GetCustomerAttributeChangers": partial(
        optimove.get_customer_attribute_changers, "TIER", attributes=["FIRST_NAME", "COUNTRY"]
    ),
    "AddCustomerAttribute": partial(
        optimove.add_customer_attribute, "SmsOptIn", "VARCHAR(5)", default_value="false", callback_url=CALLBACK
    ),
    "UpdateCustomerAttributes": partial(
        optimove.update_customer_attributes,
        [NewAttributeValues("C-004711", {"SmsOptIn": True, "INSTALLATION_DATE": date(2031, 4, 2), "VISITS": 3})],
        callback_url=CALLBACK,
    ),
    "UpsertCustomer": partial(
        optimove.upsert_customer, NewAttributeValues("C-004711", {"SmsOptIn": "true"}), callback_url=CALLBACK
    ),
    "SetCustomerChannelPreference": partial(optimove.set_customer_channel_preference, 452, ["C-004711", "C-004712"], 2),
    "RemoveCustomerPII": partial(optimove.remove_customer_pii, ["C-1", "C-2"]),
    "UpdateCampaignMetrics": partial(
        optimove.update_campaign_metrics,
        [CampaignMetric(90211, 452, 17, Metric.SENT, 925), CampaignMetric(90211, 452, 17, Metric.BOUNCED, 12)],
    ),
    "UpdateCampaignInteractions": partial(
        optimove.update_campaign_interactions,
        CampaignInteractions(
            campaign_id=90211,
            channel_id=452,
            template_id=17,
            event_id=Interaction.CLICKED,
            interaction_on=date(2031, 4, 2),
            customer_ids=["C-004711", "C-004712"],
        ),
    ),
    "saveEvent": partial(
        optimove.save_event,
        [
            CustomerEvent(
                event="delivered",
                happened_at=datetime(2031, 4, 2, 10, 0, 7, tzinfo=UTC),
                customer_id="C-004711",
                campaign_id=90211,
                channel_id=452,
                template_id=17,
            )
        ],
    ),
    "AddPromotions": partial(optimove.add_promotions, [Promotion("LOAN5", "Loan 5%")]),
    "GetPromotions": partial(optimove.get_promotions),
    "DeletePromotions": partial(optimove.delete_promotions, ["LOAN5"]),
    "UpdateCustomerPromotionStatus": partial(
        optimove.update_customer_promotion_status,
        90211,
        {"C-1": True, "C-2": False},
        datetime(2031, 4, 2, 8, 40, tzinfo=UTC),
    ),
    "triggered_conditional_execution_gateway": partial(
        optimove.set_triggered_conditional_execution_gateway, LISTENER + "may-we"
    ),
}
