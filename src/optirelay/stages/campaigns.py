"""A notification becomes what we do: read a campaign's recipients for a channel, stop a campaign, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from optirelay.model import CampaignId, CampaignKind, ChannelName, Notification, ProblemKind
from optirelay.optimove import EventType
from optirelay.settings import ChannelSettings


@dataclass(frozen=True, slots=True)
class SendPlan:
    """Fetch the recipients of this campaign on these channels. The same occasion twice is one pass."""

    campaign_id: CampaignId
    channels: tuple[ChannelName, ...]
    occasion: str
    announced: bool  # on each of them; else a channel without rows has no part in it


def swept(campaign_id: CampaignId, channel: ChannelName, at: datetime) -> SendPlan:
    """A campaign that was executed, and of which nobody told us. Like one that was named without a channel it is shown
    once it has a row: an empty answer makes no campaign."""
    return SendPlan(campaign_id, (channel,), f"{SWEPT}{at.isoformat()}", announced=False)


SWEPT = "sweep, "
"""How the occasion of a pass begins that no notification started."""


def days_to_sweep(now: datetime, zone: ZoneInfo) -> list[date]:
    """Today and yesterday, by UTC and by the tenant's clocks: Optimove does not say by which its days begin."""
    todays = {now.astimezone(clock).date() for clock in (UTC, zone)}
    return sorted({today - timedelta(days=back) for today in todays for back in (0, 1)})


@dataclass(frozen=True, slots=True)
class CallOff:
    """Nothing more of this campaign leaves, on any channel."""

    campaign_id: CampaignId


@dataclass(frozen=True, slots=True)
class SendOne:
    """A customer met a trigger: one message on this channel, at once."""

    campaign_id: CampaignId
    channel: ChannelName


@dataclass(frozen=True, slots=True)
class Kept:
    """Nothing to do; a problem where the operator should know."""

    kind: ProblemKind | None = None
    problem: str = ""
    mend: str = ""


_ACTED_ON = (
    EventType.CHANNEL_EXECUTED,
    EventType.CAMPAIGN_PROCESSED,
    EventType.CAMPAIGN_CANCELLED,
    EventType.TRIGGERED,
)
Step = SendPlan | CallOff | SendOne | Kept


def next_step(notification: Notification, digest: bytes, channels: Mapping[str, ChannelSettings]) -> Step:
    """What a notification asks for. `digest` of its bytes stands in for a time stamp that it lacks.

    Type 13: a campaign is ready on one channel. Type 1: on one at least, and mostly it names none: each is read.
    Type 4: it was cancelled. Type 11: a customer met a trigger, on a channel's triggered_id. Others are kept and not
    acted on: after a 5 nothing is sent before the 13 or 1.
    """
    event_type, campaign_id = notification.event_type, notification.campaign_id
    if event_type not in _ACTED_ON:
        return Kept()
    if campaign_id is None:
        return _unreadable(notification, "CampaignID")
    if event_type == EventType.CAMPAIGN_CANCELLED:
        return CallOff(campaign_id)
    if event_type != EventType.CAMPAIGN_PROCESSED and notification.channel_id is None:
        return _unreadable(notification, "ChannelID")
    if event_type == EventType.TRIGGERED:
        return _one(notification, campaign_id, channels)
    return _plan(notification, campaign_id, digest, channels)


def _one(notification: Notification, campaign_id: CampaignId, channels: Mapping[str, ChannelSettings]) -> Step:
    for name, channel in channels.items():
        if channel.triggered_id == notification.channel_id:
            return SendOne(campaign_id, ChannelName(name))
    return Kept(
        ProblemKind.UNKNOWN_CHANNEL_ID,
        f"Optimove fired a trigger of campaign {campaign_id} on channel id {notification.channel_id}, which no channel "
        "has as triggered_id; the notification is kept and nothing was sent",
        "Give a channel of this tenant that triggered_id, or have the listener removed at Optimove",
    )


def _plan(
    notification: Notification, campaign_id: CampaignId, digest: bytes, channels: Mapping[str, ChannelSettings]
) -> Step:
    channel_id = notification.channel_id
    named = tuple(
        ChannelName(name)
        for name, channel in channels.items()
        if channel.scheduled_id is not None and channel_id in (None, channel.scheduled_id)
    )
    if named or channel_id is None:
        return SendPlan(campaign_id, named, _occasion(notification, digest), announced=channel_id is not None)
    return Kept(
        ProblemKind.UNKNOWN_CHANNEL_ID,
        f"Optimove announced campaign {campaign_id} on channel id {channel_id}, which no channel has as scheduled_id",
        "Give a channel of this tenant that scheduled_id, or have the listener removed at Optimove",
    )


def remembered_on(channels: Mapping[str, ChannelSettings]) -> list[tuple[ChannelName, CampaignKind]]:
    """Where a campaign is shown of which the first thing heard is that it was cancelled: on each scheduled channel;
    where a tenant has none, on its triggered ones."""
    kinds = (CampaignKind.SCHEDULED, CampaignKind.TRIGGERED)
    found = [[(ChannelName(n), kind) for n, c in channels.items() if c.channel_id(kind) is not None] for kind in kinds]
    return found[0] or found[1]


def _occasion(notification: Notification, digest: bytes) -> str:
    """A 1 is another occasion than a 13 of the same time stamp: when it came, the channel may have had no rows yet."""
    occasion = notification.occasion or digest.hex()
    return occasion if notification.event_type == EventType.CHANNEL_EXECUTED else f"type 1, {occasion}"


def _unreadable(notification: Notification, field: str) -> Kept:
    return Kept(
        ProblemKind.UNREADABLE_NOTIFICATION,
        f"A notification of type {notification.event_type} has no {field} that can be read",
        "Ask Optimove what it sends; the notification is kept",
    )
