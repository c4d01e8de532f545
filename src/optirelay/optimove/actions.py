"""Optimove's "actions" area: which campaigns there were, and what they were."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ._call import Call
from ._read import read_id, read_list


def get_executed_campaigns_by_channel(channel_id: int, on: date) -> Call[list[int]]:
    """The ids of the campaigns that were executed on this day via this channel: to find those nobody told us of.

    By which clock a day of Optimove's begins is not documented; its times are UTC.

    github nicolasramy/optimove; ids as text: github larvit/optimove_mocker
    """
    return Call(
        "GET",
        "/actions/GetExecutedCampaignsByChannel",
        read_list(_read_campaign_id),
        query={"ChannelID": channel_id, "Date": on.strftime("%Y-%m-%d")},
    )


def _read_campaign_id(row: Mapping[str, Any]) -> int:
    return read_id(row.get("campaignid"), "CampaignID")
