"""In: a request from Optimove, checked and read."""

from typing import Any

from optirelay.model import CampaignId, Notification
from optirelay.nesting import NoObject, read_object
from optirelay.optimove import EventType, Unreadable, read_time
from optirelay.scalars import read_number, read_text

LARGEST_ID = 2**31 - 1
LARGEST_CAMPAIGN_ID = 2**63 - 1
LONGEST_CAMPAIGN_ID = 100  # characters, where it is no number
LONGEST_OCCASION = 64  # characters; what is longer is no time stamp, and the store's index has no room for it


class MalformedNotification(ValueError):
    """No notification of Optimove's, whatever else it may be."""


def read(body: bytes) -> Notification:
    """A notification of any event type; keys without regard to case, ids as numbers or as text.

    MalformedNotification where the body is empty, not UTF-8, no JSON object, nested deeper than 32, or has no event
    type that is a number. An id that cannot be read is None.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    event_type, fields, said = _read_object(body)
    return Notification(
        event_type,
        _read_campaign_id(fields.get("campaignid"), any_text=event_type == EventType.TRIGGERED),
        read_number(fields.get("channelid"), LARGEST_ID),
        _read_occasion(fields.get("timestamp")),
        said,
    )


def _read_campaign_id(value: Any, *, any_text: bool) -> CampaignId | None:
    """A number; of a triggered campaign (`any_text`) also another word: Optimove's readers do not rely on a number."""
    number = read_number(value, LARGEST_CAMPAIGN_ID)
    if number is not None:
        return CampaignId(str(number))
    text = read_text(value) if any_text else None
    return None if text is None or len(text) > LONGEST_CAMPAIGN_ID or not text.isprintable() else CampaignId(text)


def check(body: bytes) -> None:
    """MalformedNotification where `read` raises it; nothing else is read."""
    _read_object(body)


def _read_object(body: bytes) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """The event type, each field by its name in lower case, and all of it as it came."""
    try:
        value = read_object(body)
    except NoObject as error:
        raise MalformedNotification(str(error)) from error
    fields = {key.lower(): field for key, field in value.items()}
    event_type = read_number(fields.get("eventtypeid"), LARGEST_ID)
    if event_type is None:
        raise MalformedNotification("EventTypeID is missing or no number")
    return event_type, fields, value


def _read_occasion(value: Any) -> str | None:
    text = read_text(value)
    if text is None or len(text) > LONGEST_OCCASION or "\0" in text:
        return None
    try:
        return read_time(text).isoformat()
    except Unreadable:
        return text
