"""In: a request from a provider, checked and read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from optirelay.model import DeliveryEvent, EventKind
from optirelay.nesting import DEEPEST, is_too_deep

LONGEST_WORD = 200  # characters of an id or a name that are kept
LONGEST_TEXT = 2000  # of a reply
_IDENTITY_OCTETS = 16
_MILLISECONDS_FROM = 100_000_000_000  # as seconds, that would be far from now
_KINDS: Mapping[str, EventKind] = {kind.value: kind for kind in EventKind}


class MalformedCallback(ValueError):
    """No callback of a provider, whatever else it may be."""


class _Wire(msgspec.Struct):
    event_id: Any = None
    id: Any = None
    event: Any = None
    at: Any = None
    permanent: Any = None
    reason: Any = None
    text: Any = None
    events: Any = None


_decode = msgspec.json.Decoder(_Wire).decode


def events_in(body: bytes) -> list[Any]:
    """The events of a callback, each as it stands there: one, or those of its list.

    MalformedCallback where the body is empty, not UTF-8, no JSON object, nested deeper than 32, or has neither an event
    nor a list of events.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        body.decode()
        wire = _decode(body)
        if body.count(b"{") + body.count(b"[") > DEEPEST and is_too_deep(msgspec.json.decode(body)):
            raise MalformedCallback(f"the body is nested deeper than {DEEPEST}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedCallback("the body is no JSON object") from error
    if wire.events is not None:
        if not isinstance(wire.events, list):
            raise MalformedCallback("events is no list")
        return wire.events
    if not _is_event(wire.event):
        raise MalformedCallback("event is missing or no text")
    return [wire]


def is_readable(event: Any) -> bool:
    """Whether one of `events_in` tells something."""
    return isinstance(event, _Wire) or (isinstance(event, dict) and _is_event(event.get("event")))


def read_event(event: Any, received_at: datetime) -> DeliveryEvent:
    """One event that is readable. What it says of itself may be missing or wrong: then it is its bytes that count."""
    wire = event if isinstance(event, _Wire) else msgspec.convert({k: event.get(k) for k in _FIELDS}, _Wire)
    name = _word(wire.event) or ""
    return DeliveryEvent(
        identity=_identity(wire),
        sid=_word(wire.id) or "",
        name=name,
        kind=_KINDS.get(name),
        at=_time(wire.at, received_at),
        permanent=wire.permanent is True,
        text=_clean(wire.text)[:LONGEST_TEXT] if isinstance(wire.text, str) else None,
    )


_FIELDS = _Wire.__struct_fields__


def _is_event(name: Any) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _identity(wire: _Wire) -> bytes:
    """The provider's own, else what the event says."""
    own = _word(wire.event_id)
    said = own if own is not None else msgspec.json.encode([wire.id, wire.event, wire.at, wire.reason, wire.text])
    octets = said.encode() if isinstance(said, str) else said
    return blake2b(octets, digest_size=_IDENTITY_OCTETS, person=b"own" if own is not None else b"said").digest()


def _word(value: Any) -> str | None:
    """A text, or a number's digits, that is not blank."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return _clean(value).strip()[:LONGEST_WORD] or None


def _clean(text: str) -> str:
    """Without what the store cannot keep."""
    return text if text.isprintable() else text.replace("\0", " ").encode("utf-8", "replace").decode()


def _time(value: Any, received_at: datetime) -> datetime:
    """ISO 8601, UTC where it names no zone, or seconds or milliseconds since 1970; never later than it came."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            time = datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS_FROM else value, UTC)
        else:
            return received_at
    except (ValueError, OverflowError, OSError):
        return received_at
    return min(time, received_at)
