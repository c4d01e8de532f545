"""Optimove's "actions" area: which campaigns there were, what they were, and over which channels they go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ._call import Call
from ._read import (
    Unreadable,
    fold,
    read_bool,
    read_id,
    read_list,
    read_note,
    read_object,
    read_optional_id,
    read_text,
    read_time,
)
from ._write import date_to_wire


@dataclass(frozen=True)
class ExecutedSend:
    """One template of an executed campaign on one channel, and when it goes out."""

    template_id: int
    scheduled_time: datetime  # aware, UTC
    send_id: str = ""  # the channel's own name for the sending; empty where it has none
    list_id: str = ""  # told by some channels


@dataclass(frozen=True, kw_only=True)
class CampaignDetails:
    """What a campaign is, and how its execution went. None and empty: Optimove did not say."""

    campaign_id: int
    target_group_id: int | None = None
    campaign_type: str = ""  # such as "Test/Control"
    duration_days: int | None = None  # from its first day to its end
    lead_time_days: int | None = None
    notes: str = ""
    is_multi_channel: bool | None = None
    is_recurrence: bool | None = None
    status: str = ""  # "Successful" and "Failed" were seen
    error: str = ""
    tags: tuple[str, ...] = ()
    channel_ids: tuple[int, ...] = ()
    test_group_size: int | None = None  # customers
    control_group_size: int | None = None  # customers


@dataclass(frozen=True)
class ExecutionChannel:
    """A channel that campaigns can be executed on."""

    channel_id: int
    channel_name: str


def get_executed_campaigns_by_channel(channel_id: int, on: date) -> Call[list[int]]:
    """The ids of the campaigns that were executed on this day via this channel: to find those nobody told us of.

    By which clock a day of Optimove's begins is not documented; its times are UTC.

    https://docs.optimove.com/api-usage-guide; the field: github nicolasramy/optimove, ids as text: github
    larvit/optimove_mocker
    """
    return Call(
        "GET",
        "/actions/GetExecutedCampaignsByChannel",
        read_list(_read_campaign_id),
        query={"ChannelID": channel_id, "Date": date_to_wire(on)},
    )


def get_executed_campaign_channel_details(*, campaign_id: int, channel_id: int) -> Call[list[ExecutedSend]]:
    """The templates of an executed campaign on one channel, each with its time.

    A row without template or time is unreadable.

    https://docs.optimove.com/api-usage-guide; fields: github nicolasramy/optimove
    """
    return Call(
        "GET",
        "/actions/GetExecutedCampaignChannelDetails",
        read_list(_read_executed_send),
        query={"CampaignID": campaign_id, "ChannelID": channel_id},
    )


def get_executed_campaign_details(on: date) -> Call[list[CampaignDetails]]:
    """All campaigns that were executed on this day.

    A row without CampaignID is unreadable. A key of the third-party role may be refused this call.

    https://docs.optimove.com/api-usage-guide; fields: github nicolasramy/optimove and newer public connectors
    """
    return Call(
        "GET",
        "/actions/GetExecutedCampaignDetails",
        read_list(lambda row: _read_details(row, read_id(row.get("campaignid"), "CampaignID"))),
        query={"Date": date_to_wire(on)},
    )


def get_campaign_details(campaign_id: int) -> Call[CampaignDetails]:
    """One campaign. What Optimove answers for an id that it does not have is not documented.

    https://docs.optimove.com/api-usage-guide; fields: github nicolasramy/optimove and newer public connectors
    """
    return Call(
        "GET",
        "/actions/GetCampaignDetails",
        lambda body: _read_details(read_object(body), campaign_id),
        query={"CampaignID": campaign_id},
    )


def get_execution_channels() -> Call[list[ExecutionChannel]]:
    """The tenant's channels: their ids and names.

    A key of the third-party role may be refused this call.

    https://developer.optimove.com/reference/post_integrations-setcustomerchannelpreference; fields: github
    nicolasramy/optimove
    """
    return Call("GET", "/actions/GetExecutionChannels", read_list(_read_channel))


def _read_campaign_id(row: Mapping[str, Any]) -> int:
    return read_id(row.get("campaignid"), "CampaignID")


def _read_executed_send(row: Mapping[str, Any]) -> ExecutedSend:
    return ExecutedSend(
        read_id(row.get("templateid"), "TemplateID"),
        read_time(row.get("scheduledtime"), "ScheduledTime"),
        read_note(row.get("sendid"), "SendID"),
        read_note(row.get("listid"), "ListID"),
    )


def _read_details(row: Mapping[str, Any], campaign_id: int) -> CampaignDetails:
    return CampaignDetails(
        campaign_id=campaign_id,
        target_group_id=read_optional_id(row.get("targetgroupid"), "TargetGroupID"),
        campaign_type=read_note(row.get("campaigntype"), "CampaignType"),
        duration_days=read_optional_id(row.get("duration"), "Duration"),
        lead_time_days=read_optional_id(row.get("leadtime"), "LeadTime"),
        notes=read_note(row.get("notes"), "Notes"),
        is_multi_channel=read_bool(row.get("ismultichannel"), "IsMultiChannel"),
        is_recurrence=read_bool(row.get("isrecurrence"), "IsRecurrence"),
        status=read_note(row.get("status"), "Status"),
        error=read_note(row.get("error"), "Error"),
        tags=tuple(read_note(tag, "Tags") for tag in _list(row.get("tags"), "Tags")),
        channel_ids=tuple(_read_channel_id(channel) for channel in _list(row.get("channels"), "Channels")),
        test_group_size=read_optional_id(row.get("testgroupsize"), "TestGroupSize"),
        control_group_size=read_optional_id(row.get("controlgroupsize"), "ControlGroupSize"),
    )


def _list(value: object, field: str) -> list[object]:
    if value is not None and not isinstance(value, list):
        raise Unreadable(f"{field} is not a list")
    return value or []


def _read_channel_id(channel: object) -> int:
    named = fold(channel)
    return read_id(named.get("id", named.get("channelid")), "Channels")


def _read_channel(row: Mapping[str, Any]) -> ExecutionChannel:
    return ExecutionChannel(
        read_id(row.get("channelid"), "ChannelID"), read_text(row.get("channelname"), "ChannelName")
    )
