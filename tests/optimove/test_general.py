"""Listeners: what is registered, and what is read back."""

from pathlib import Path

import msgspec
import pytest

from optirelay.optimove import (
    EventListener,
    EventType,
    Unreadable,
    get_registered_event_listeners,
    register_event_listener,
    unregister_event_listener,
)

SAMPLES = Path(__file__).parent.parent / "samples" / "optimove"
URL = "https://partner.example.com/optimove/acme/13"


def test_a_listener_is_registered_as_documented() -> None:
    call = register_event_listener(EventType.CHANNEL_EXECUTED, URL, 452)
    assert (call.method, call.path, call.name) == ("POST", "/general/RegisterEventListener", "RegisterEventListener")
    assert call.body == msgspec.json.decode((SAMPLES / "sent_register_event_listener.json").read_bytes())
    assert call.repeatable


def test_a_listener_for_all_channels_names_none() -> None:
    assert register_event_listener(99, URL).body == {"EventTypeID": 99, "ListenerURL": URL}


def test_clearance_is_registered_without_a_channel_only() -> None:
    register_event_listener(5, URL)
    with pytest.raises(ValueError, match="without a channel"):
        register_event_listener(5, URL, 452)


def test_a_listener_is_unregistered_by_its_type_and_channel() -> None:
    call = unregister_event_listener(EventType.CHANNEL_EXECUTED, 452)
    assert (call.method, call.path, call.repeatable) == ("POST", "/general/UnregisterEventListener", True)
    assert call.body == {"EventTypeID": 13, "ChannelID": 452}
    assert unregister_event_listener(4).body == {"EventTypeID": 4}


def test_the_url_of_a_listener_is_not_shown() -> None:
    assert "partner" not in repr(register_event_listener(13, URL))
    assert "partner" not in repr(EventListener(13, URL))


def test_registered_listeners_are_read() -> None:
    body = (SAMPLES / "registered_event_listeners.json").read_bytes()
    assert get_registered_event_listeners().read(body) == [
        EventListener(13, URL, 452),
        EventListener(5, "https://partner.example.com/optimove/acme/5"),
    ]


@pytest.mark.parametrize("body", [b'[{"EventTypeID":13}]', b'[{"EventTypeID":"x","ListenerURL":"u"}]', b"[1]", b"{}"])
def test_what_is_no_list_of_listeners_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        get_registered_event_listeners().read(body)
