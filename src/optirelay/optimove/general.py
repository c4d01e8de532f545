"""Optimove's "general" area: where it sends its notifications."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ._call import Call
from ._read import read_date, read_id, read_list, read_nothing, read_object, read_optional_id, read_text
from .events import EventType


@dataclass(frozen=True)
class EventListener:
    """Where Optimove sends one kind of event; without `channel_id` it is for all channels."""

    event_type: int  # an EventType, or a number that we have no name for
    listener_url: str = field(repr=False)  # may hold a secret
    channel_id: int | None = None


def register_event_listener(
    event_type: EventType | int, listener_url: str, channel_id: int | None = None
) -> Call[None]:
    """Have events of this type sent to this URL, of one channel or of all.

    Once for each type and channel; again to change the URL (that it replaces the old one is not written anywhere).
    CLEARANCE_REQUIRED takes no channel: ValueError. FILES_READY is registered in Optimove's UI instead.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    if event_type == EventType.CLEARANCE_REQUIRED and channel_id is not None:
        raise ValueError("Optimove takes listeners of type 5 (clearance required) only without a channel")
    body: dict[str, int | str] = {"EventTypeID": int(event_type), "ListenerURL": listener_url}
    if channel_id is not None:
        body["ChannelID"] = channel_id
    return Call("POST", "/general/RegisterEventListener", read_nothing, body=body)


def unregister_event_listener(event_type: EventType | int, channel_id: int | None = None) -> Call[None]:
    """Have events of this type sent no longer: to the listener of one channel, or to the one of all channels.

    The channel is named as in `register_event_listener`; that a channel's listener is told apart so is INFERRED. What
    Optimove answers where there is no such listener is not documented.

    https://docs.optimove.com/api-usage-guide; the fields: github nicolasramy/optimove
    """
    body = {"EventTypeID": int(event_type)}
    if channel_id is not None:
        body["ChannelID"] = channel_id
    return Call("POST", "/general/UnregisterEventListener", read_nothing, body=body)


def get_registered_event_listeners() -> Call[list[EventListener]]:
    """All listeners registered with this key.

    The names of the fields are not documented in public; those of RegisterEventListener are expected.

    https://docs.optimove.com/api-usage-guide
    """
    return Call("GET", "/general/GetRegisteredEventListeners", read_list(_read_listener))


def get_last_data_update() -> Call[date]:
    """The day up to which Optimove has the customers' data. Not in Optimove's sandbox, which has no daily process.

    https://docs.optimove.com/api-usage-guide; the field: github nicolasramy/optimove
    """
    return Call("GET", "/general/GetLastDataUpdate", lambda body: read_date(read_object(body).get("date"), "Date"))


def _read_listener(row: Mapping[str, Any]) -> EventListener:
    return EventListener(
        read_id(row.get("eventtypeid"), "EventTypeID"),
        read_text(row.get("listenerurl"), "ListenerURL"),
        read_optional_id(row.get("channelid"), "ChannelID"),
    )
