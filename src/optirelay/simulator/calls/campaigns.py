"""Campaigns that were executed."""

from typing import Any

from optirelay.simulator.calls.call import Call, Told, channel_in_query, check_date


def get_executed_campaigns_by_channel(told: Told) -> list[dict[str, Any]]:
    """The scheduled campaigns that were fired on the channel on a day (github nicolasramy/optimove).

    Whether a cancelled one is among them is not documented: `executed_cancelled` decides.
    """
    channel_id = channel_in_query(told)
    day = check_date(told.request.param("Date") or "", "Date")
    quirks = told.world.quirks
    return [
        {"CampaignID": quirks.wire_id(campaign.campaign_id)}
        for campaign in told.world.campaigns
        if campaign.tenant_id == told.tenant.tenant_id
        and campaign.channel_id == channel_id
        and day in campaign.fired_on
        and (quirks.executed_cancelled == "listed" or not campaign.cancelled_at)
    ]


CALLS = (Call("GET", "actions", "GetExecutedCampaignsByChannel", get_executed_campaigns_by_channel),)
