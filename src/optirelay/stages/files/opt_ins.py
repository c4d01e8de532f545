"""What a row of an import file says of a customer and a channel."""

from collections.abc import Container
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from optirelay.model import LONGEST_CUSTOMER_ID, ChannelName, CustomerId
from optirelay.scalars import read_text
from optirelay.stages.files.rows import Columns, Rejection, Row

OPT_IN_COLUMNS = Columns(needed=("customer_id", "channel", "opted_in"), optional=("at", "source"))
LONGEST_SOURCE = 100
"""Characters; more has no room in an index beside the longest customer id."""
AHEAD = timedelta(minutes=5)
"""Clocks differ by so much. Later times would outlive what the customer says until then."""
_SOURCE = "import"
_ANSWERS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class OptIn(NamedTuple):
    """What a customer said of a channel, when, and by which way."""

    customer_id: CustomerId
    channel: ChannelName
    at: datetime
    opted_in: bool
    source: str


def read_opt_in(row: Row, channels: Container[str], now: datetime) -> OptIn | Rejection:
    """What a row says, or why it says nothing; a row without a time counts as now, one without a zone is in UTC."""
    values = row.values
    customer = read_text(values.get("customer_id"))
    if customer is None or len(customer) > LONGEST_CUSTOMER_ID:
        return Rejection.NO_CUSTOMER
    channel = _text(values.get("channel"))
    if channel not in channels:
        return Rejection.UNKNOWN_CHANNEL
    opted_in = _ANSWERS.get(_text(values.get("opted_in")).lower())
    source = _read_source(values.get("source"))
    if opted_in is None or source is None:
        return Rejection.BAD_VALUE
    at = _read_at(values.get("at"), now)
    if at is None or at > now + AHEAD:
        return Rejection.BAD_TIME
    return OptIn(CustomerId(customer), ChannelName(channel), at, opted_in, source)


def _text(value: Any) -> str:
    """Empty for what is none. JSON's booleans are written as CSV has them."""
    return value.strip() if isinstance(value, str) else str(value)


def _read_source(value: Any) -> str | None:
    """`import` where there is none; None for what is none."""
    if value is None:
        return _SOURCE
    text = read_text(value)
    if text is None:
        return _SOURCE if isinstance(value, str) else None
    return text if len(text) <= LONGEST_SOURCE else None


def _read_at(value: Any, now: datetime) -> datetime | None:
    """Now where there is none; None for what is none. A date alone is its first moment."""
    if value is None:
        return now
    try:
        time = datetime.fromisoformat(value.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (AttributeError, OverflowError, ValueError):
        return now if isinstance(value, str) and read_text(value) is None else None
