"""Listeners: what Optimove tells, and to whom; and how new its data is."""

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from optirelay.simulator.calls.call import Call, Told, check_web_address
from optirelay.simulator.clock import utc_now
from optirelay.simulator.errors import Refused
from optirelay.simulator.fields import Fields
from optirelay.simulator.world import ListenerKey

# https://developer.optimove.com/reference/post_general-registereventlistener
EVENT_TYPES = (1, 2, 3, 4, 5, 11, 13)
WITHOUT_CHANNEL = (5,)


def register_event_listener(told: Told) -> None:
    """One listener for a type and channel; a second call moves it.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    fields = Fields(told.body)
    event_type = _event_type(fields)
    channel_id = fields.number_or_none("ChannelID")
    if channel_id is not None:
        if event_type in WITHOUT_CHANNEL:
            raise Refused(f"ChannelID is not allowed for EventTypeID {event_type}.")
        told.channel(channel_id)
    url = fields.text("ListenerURL")
    if "://" not in url:  # the older documentation's sample is percent-encoded (github nicolasramy/optimove)
        url = unquote(url)
    check_web_address(url, "ListenerURL")
    told.tenant.listeners[ListenerKey(event_type, channel_id)] = url


def unregister_event_listener(told: Told) -> None:
    """The listener of a type, and of a channel where one is named, is gone; the type's others stay.

    That ChannelID names the listener of a channel is deduced from registering (github nicolasramy/optimove has the
    type alone).
    """
    fields = Fields(told.body)
    key = ListenerKey(_event_type(fields), fields.number_or_none("ChannelID"))
    told.check_there(key in told.tenant.listeners, "The listener")
    told.tenant.listeners.pop(key, None)


def get_registered_event_listeners(told: Told) -> list[dict[str, Any]]:
    """All listeners of the key. The rows are not documented; these have the fields that registering has."""
    wire_id = told.world.quirks.wire_id
    return [
        {"EventTypeID": wire_id(event_type)}
        | ({} if channel_id is None else {"ChannelID": wire_id(channel_id)})
        | {"ListenerURL": url}
        for (event_type, channel_id), url in told.tenant.listeners.items()
    ]


def get_last_data_update(told: Told) -> dict[str, str]:  # noqa: ARG001 - the same for everybody
    """The day up to which there is data: yesterday, as after every night's update (github nicolasramy/optimove)."""
    return {"Date": (utc_now() - timedelta(days=1)).date().isoformat()}


def _event_type(fields: Fields) -> int:
    event_type = fields.number("EventTypeID")
    if event_type not in EVENT_TYPES:
        raise Refused(f"EventTypeID {event_type} is not valid.")
    return event_type


CALLS = (
    Call("POST", "general", "RegisterEventListener", register_event_listener, "listeners"),
    Call("POST", "general", "UnregisterEventListener", unregister_event_listener, "listeners"),
    Call("GET", "general", "GetRegisteredEventListeners", get_registered_event_listeners),
    Call("GET", "general", "GetLastDataUpdate", get_last_data_update),
)
