"""Campaigns and channels: what was executed, and how."""

from typing import Any

from optirelay.simulator.calls.call import Call, Told, read_date
from optirelay.simulator.calls.customers import send_id
from optirelay.simulator.campaigns import CONTROL_SHARE, Campaign
from optirelay.simulator.clock import optimove_time
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import read_number

# What the simulator has no data about; the values are made up.
TARGET_GROUP, DURATION_DAYS, LEAD_TIME_DAYS = 15, 7, 0


def get_executed_campaigns_by_channel(told: Told) -> list[dict[str, Any]]:
    """The scheduled campaigns that were fired on the channel on a day (github nicolasramy/optimove).

    Whether a cancelled one is among them is not documented: `executed_cancelled` decides.
    """
    channel_id = told.channel_in_query()
    wire_id = told.world.quirks.wire_id
    return [{"CampaignID": wire_id(one.campaign_id)} for one in _of_the_day(told) if one.channel_id == channel_id]


def get_executed_campaign_channel_details(told: Told) -> list[dict[str, Any]]:
    """Each sending of a campaign on a channel: a template at a time (github nicolasramy/optimove)."""
    channel_id, campaign_id = told.channel_in_query(), read_number(told.request, "CampaignID")
    return [
        {
            "SendID": send_id(campaign_id, channel_id, template_id, send_at),
            "TemplateID": told.world.quirks.wire_id(template_id),
            "ScheduledTime": send_at and optimove_time(send_at),
        }
        for campaign in told.world.campaigns_with(campaign_id, told.tenant.tenant_id)
        if campaign.channel_id == channel_id and campaign.fired_at
        for template_id, send_at in campaign.sendings()
    ]


def get_executed_campaign_details(told: Told) -> list[dict[str, Any]]:
    """What every campaign of a day was (github nicolasramy/optimove)."""
    ids = dict.fromkeys(campaign.campaign_id for campaign in _of_the_day(told))
    return [{"CampaignID": told.world.quirks.wire_id(number)} | _details(told, number) for number in ids]


def get_campaign_details(told: Told) -> dict[str, Any]:
    """What one campaign is, as one object; what an unknown one gets is not documented."""
    return _details(told, read_number(told.request, "CampaignID"))


def get_execution_channels(told: Told) -> list[dict[str, Any]]:
    """The channels that there are (github nicolasramy/optimove)."""
    return [
        {"ChannelID": told.world.quirks.wire_id(channel_id), "ChannelName": name}
        for channel_id, name in told.tenant.channels.items()
    ]


def _of_the_day(told: Told) -> list[Campaign]:
    day = read_date(told.request.param("Date"), "Date")
    listed = told.world.quirks.executed_cancelled == "listed"
    return [
        campaign
        for campaign in told.world.campaigns
        if campaign.tenant_id == told.tenant.tenant_id
        and day in campaign.fired_on
        and (listed or not campaign.cancelled_at)
    ]


def _details(told: Told, campaign_id: int) -> dict[str, Any]:
    """The fields of the older documentation, and those that newer connectors read (TypeScript, Go, Node)."""
    campaigns = told.world.campaigns_with(campaign_id, told.tenant.tenant_id)
    if not campaigns:
        raise Refused(f"CampaignID {campaign_id} is not valid.")
    first, quirks = campaigns[0], told.world.quirks
    size = sum(campaign.size for campaign in campaigns)
    control = size // CONTROL_SHARE if quirks.control_group == "rows" else 0
    multi: bool | str = len(campaigns) > 1
    recurring: bool | str = len(first.fired_on) > 1
    if quirks.campaign_flags == "texts":
        multi, recurring = str(multi).lower(), str(recurring).lower()
    return {
        "TargetGroupID": quirks.wire_id(TARGET_GROUP),
        "CampaignType": "Test/Control",
        "Duration": DURATION_DAYS,
        "LeadTime": LEAD_TIME_DAYS,
        "Notes": first.notes,
        "IsMultiChannel": multi,
        "IsRecurrence": recurring,
        "Status": "Successful",
        "Error": "",
        "Tags": list(first.tags),
        "Channels": [{"Id": quirks.wire_id(campaign.channel_id)} for campaign in campaigns],
        "TestGroupSize": size - control,
        "ControlGroupSize": control,
    }


CALLS = (
    Call("GET", "actions", "GetExecutedCampaignsByChannel", get_executed_campaigns_by_channel),
    Call("GET", "actions", "GetExecutedCampaignChannelDetails", get_executed_campaign_channel_details),
    Call("GET", "actions", "GetExecutedCampaignDetails", get_executed_campaign_details),
    Call("GET", "actions", "GetCampaignDetails", get_campaign_details),
    Call("GET", "actions", "GetExecutionChannels", get_execution_channels),
)
