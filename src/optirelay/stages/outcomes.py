"""Delivery events decide where a message stands and who is written to; late or repeated ones are normal."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from optirelay.model import Accepted, DeliveryEvent, EventKind, MessageState, Refusal, Refused

STATES: Mapping[EventKind, str] = {
    EventKind.SENT: MessageState.ACCEPTED,
    EventKind.DELIVERED: "delivered",
    EventKind.OPENED: "opened",
    EventKind.CLICKED: "clicked",
    EventKind.BOUNCED: "bounced",
    EventKind.BLOCKED: "blocked",
    EventKind.COMPLAINED: "complained",
    EventKind.UNSUBSCRIBED: "unsubscribed",
    EventKind.FAILED: "failed",
}
"""How an accepted message stands after the furthest of its events; a reply changes nothing of that."""
_RANKS: Mapping[EventKind, int] = {
    EventKind.REPLIED: 0,
    EventKind.SENT: 1,
    EventKind.FAILED: 2,
    EventKind.BLOCKED: 3,
    EventKind.BOUNCED: 4,
    EventKind.DELIVERED: 5,
    EventKind.OPENED: 7,
    EventKind.CLICKED: 8,
    EventKind.UNSUBSCRIBED: 9,
    EventKind.COMPLAINED: 10,
}
_PERMANENT_BOUNCE = 6  # may come after a server that took the mail said delivered
FACTS: Mapping[EventKind, str] = {
    EventKind.DELIVERED: "delivered",
    EventKind.OPENED: "opened",
    EventKind.CLICKED: "clicked",
    EventKind.BOUNCED: "bounced",
    EventKind.COMPLAINED: "complained",
    EventKind.UNSUBSCRIBED: "unsubscribed",
    EventKind.FAILED: "dropped",
    EventKind.BLOCKED: "dropped",
}
"""What Optimove is told of a message because of an event; a `sent` says no more than that it was accepted."""
STOP_WORDS = frozenset({"STOP", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
_LETTERS = re.compile(r"[^A-Z]+")


class Consequence(NamedTuple):
    """Who is not written to any more because of an event."""

    opts_out: str | None  # the customer, by this source
    suppresses: str | None  # the address, for this reason


def rank(event: DeliveryEvent) -> int:
    """How far the event carries its message: the highest decides where it stands. 0: it does not."""
    if event.kind is None:
        return 0
    return _PERMANENT_BOUNCE if event.kind is EventKind.BOUNCED and event.permanent else _RANKS[event.kind]


def stands(state: str, furthest: EventKind | None) -> str:
    """Where a message stands: an accepted one by the furthest of its events."""
    return state if furthest is None or state != MessageState.ACCEPTED else STATES[EventKind(furthest)]


def is_stop(text: str | None) -> bool:
    """Whether a reply asks for no more messages: a stop word alone, however it is spelled."""
    return text is not None and _LETTERS.sub("", text.upper()) in STOP_WORDS


def facts(event: DeliveryEvent) -> tuple[str, ...]:
    """What of the event is counted and told to Optimove. Who replies with a stop word unsubscribes."""
    if event.kind is EventKind.REPLIED and is_stop(event.text):
        return ("unsubscribed",)
    return (FACTS[event.kind],) if event.kind is not None and event.kind in FACTS else ()


def consequence(event: DeliveryEvent) -> Consequence:
    """Who is not written to because of an event."""
    match event.kind:
        case EventKind.UNSUBSCRIBED:
            return Consequence("unsubscribed", None)
        case EventKind.COMPLAINED:
            return Consequence("complained", "complaint")
        case EventKind.BOUNCED if event.permanent:
            return Consequence(None, "hard_bounce")
        case EventKind.REPLIED if is_stop(event.text):
            return Consequence("replied", None)
        case _:
            return Consequence(None, None)


def is_undecided(state: str | None, reason: str | None, *, by_event: bool) -> bool:
    """Whether events may still decide what became of a message: nothing is known, or nothing of its provider."""
    return state in (None, MessageState.IN_DOUBT) or (
        state == MessageState.REFUSED and (by_event or reason == Refusal.GIVEN_UP)
    )


def decide(state: str, reason: str | None, *, by_event: bool, arrived: bool) -> Accepted | Refused | None:
    """What events make of an outcome; None: it stays. `arrived`: another event than `failed` names the message."""
    if not is_undecided(state, reason, by_event=by_event):
        return None
    if arrived:
        return Accepted()
    return Refused(Refusal.REJECTED, "a delivery event says that it failed") if state == MessageState.IN_DOUBT else None
