"""Listeners: what is registered, and what is read back."""

import pytest

from optirelay.optimove import (
    EventListener,
    Unreadable,
    get_registered_event_listeners,
    register_event_listener,
)

URL = "https://partner.example.com/optimove/acme/13"


def test_a_listener_for_all_channels_names_none() -> None:
    assert register_event_listener(99, URL).body == {"EventTypeID": 99, "ListenerURL": URL}


def test_clearance_is_registered_without_a_channel_only() -> None:
    register_event_listener(5, URL)
    with pytest.raises(ValueError, match="without a channel"):
        register_event_listener(5, URL, 452)


def test_the_url_of_a_listener_is_not_shown() -> None:
    assert "partner" not in repr(register_event_listener(13, URL))
    assert "partner" not in repr(EventListener(13, URL))


@pytest.mark.parametrize("body", [b'[{"EventTypeID":13}]', b'[{"EventTypeID":"x","ListenerURL":"u"}]', b"[1]", b"{}"])
def test_what_is_no_list_of_listeners_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        get_registered_event_listeners().read(body)
