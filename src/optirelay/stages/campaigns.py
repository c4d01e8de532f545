"""A notification becomes what we do: read a campaign's recipients for a channel, stop a campaign, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from optirelay.model import CampaignId, ChannelName, Notification, ProblemKind
from optirelay.optimove import EventType
from optirelay.settings import ChannelSettings


@dataclass(frozen=True, slots=True)
class SendPlan:
    """Fetch the recipients of this campaign on this channel. The same occasion twice is one pass."""

    campaign_id: CampaignId
    channel: ChannelName
    occasion: str


@dataclass(frozen=True, slots=True)
class CallOff:
    """Nothing more of this campaign leaves, on any channel."""

    campaign_id: CampaignId


@dataclass(frozen=True, slots=True)
class Kept:
    """Nothing to do; a problem where the operator should know."""

    kind: ProblemKind | None = None
    problem: str = ""
    mend: str = ""


Step = SendPlan | CallOff | Kept


def next_step(notification: Notification, digest: bytes, channels: Mapping[str, ChannelSettings]) -> Step:
    """What a notification asks for. `digest` of its bytes stands in for a time stamp that it lacks.

    Type 13: a campaign is ready on one channel. Type 4: it was cancelled. Others are kept and not acted on.
    """
    match notification.event_type:
        case EventType.CHANNEL_EXECUTED:
            return _plan(notification, digest, channels)
        case EventType.CAMPAIGN_CANCELLED:
            if notification.campaign_id is None:
                return _unreadable(notification, "CampaignID")
            return CallOff(notification.campaign_id)
        case _:
            return Kept()


def _plan(notification: Notification, digest: bytes, channels: Mapping[str, ChannelSettings]) -> Step:
    campaign_id, channel_id = notification.campaign_id, notification.channel_id
    if campaign_id is None or not (campaign_id.isascii() and campaign_id.isdigit()):
        return _unreadable(notification, "CampaignID")
    if channel_id is None:
        return _unreadable(notification, "ChannelID")
    for name, channel in channels.items():
        if channel.scheduled_id == channel_id:
            return SendPlan(campaign_id, ChannelName(name), notification.occasion or digest.hex())
    return Kept(
        ProblemKind.UNKNOWN_CHANNEL_ID,
        f"Optimove announced campaign {campaign_id} on channel id {channel_id}, which no channel has as scheduled_id",
        "Give a channel of this tenant that scheduled_id, or have the listener removed at Optimove",
    )


def _unreadable(notification: Notification, field: str) -> Kept:
    return Kept(
        ProblemKind.UNREADABLE_NOTIFICATION,
        f"A notification of type {notification.event_type} has no {field} that can be read",
        "Ask Optimove what it sends; the notification is kept",
    )
