"""In: a request from Optimove, checked and read."""

from typing import Any

import msgspec

from optirelay.model import CampaignId, Notification
from optirelay.optimove import Unreadable, read_time

DEEPEST = 32


class MalformedNotification(ValueError):
    """No notification of Optimove's, whatever else it may be."""


def read(body: bytes) -> Notification:
    """A notification of any event type; keys without regard to case, ids as numbers or as text.

    MalformedNotification where the body is empty, not UTF-8, no JSON object, nested deeper than 32, or has no event
    type that is a number. An id that cannot be read is None.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    fields = _read_object(body)
    event_type = _read_number(fields.get("eventtypeid"))
    if event_type is None:
        raise MalformedNotification("EventTypeID is missing or no number")
    campaign_id = _read_text(fields.get("campaignid"))
    return Notification(
        event_type,
        None if campaign_id is None else CampaignId(campaign_id),
        _read_number(fields.get("channelid")),
        _read_occasion(fields.get("timestamp")),
    )


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedNotification("the body is no JSON") from error
    if not isinstance(value, dict):
        raise MalformedNotification("the body is no JSON object")
    if _deeper_than(value, DEEPEST):
        raise MalformedNotification(f"the body is nested deeper than {DEEPEST}")
    return {key.lower(): field for key, field in value.items()}


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value
    return any(_deeper_than(item, levels - 1) for item in inner)


def _read_number(value: Any) -> int | None:
    """A whole number that fits 32 bits, or its text."""
    text = _read_text(value)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len(str(2**31)):
        return None
    number = int(text)
    return number if number < 2**31 else None


def _read_text(value: Any) -> str | None:
    """A text, or a whole number's digits; None for what is missing and for anything else."""
    match value:
        case bool():
            return None
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case str() if value.strip() and "\0" not in value:
            return value.strip()
        case _:
            return None


def _read_occasion(value: Any) -> str | None:
    text = _read_text(value)
    if text is None:
        return None
    try:
        return read_time(text).isoformat()
    except Unreadable:
        return text
