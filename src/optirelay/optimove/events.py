"""The kinds of news that Optimove sends to a registered listener."""

from enum import IntEnum


class EventType(IntEnum):
    """What a notification is about (wire: EventTypeID). Other numbers exist and are not documented.

    https://developer.optimove.com/reference/post_general-registereventlistener, except FILES_READY.
    """

    CAMPAIGN_PROCESSED = 1
    """A campaign was processed; at least one of its channels or templates succeeded."""

    DAY_PROCESSED = 2
    """All of today's campaigns were processed, some perhaps without success."""

    DAY_COMPLETE = 3
    """Today's whole daily process is over."""

    CAMPAIGN_CANCELLED = 4
    """A campaign that was already processed is cancelled."""

    CLEARANCE_REQUIRED = 5
    """A scheduled campaign waits for approval of its customers. Registered without a channel only."""

    TRIGGERED = 11
    """One customer met the trigger of a real-time campaign: execute at once."""

    CHANNEL_EXECUTED = 13
    """A campaign was executed via one channel; all of its templates there succeeded."""

    FILES_READY = 14
    """An engagement's customer files lie in cloud storage. Registered in Optimove's UI, seen in Optimove's own SDK."""
