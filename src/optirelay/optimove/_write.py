"""What is sent alike everywhere: dates, times, values of attributes; and the limits of a call."""

from collections.abc import Mapping, Sized
from datetime import UTC, date, datetime
from decimal import Decimal

AttributeValue = str | bool | int | Decimal | date


def date_to_wire(on: date) -> str:
    """As in "2031-04-02"."""
    return on.strftime("%Y-%m-%d")


def time_to_wire(at: datetime) -> str:
    """As in "2031-04-02 10:00:00": UTC, without a mark of it. ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("A time for Optimove needs a zone")
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def check_limit(items: Sized, limit: int, what: str) -> None:
    """ValueError, with both numbers, for more than one call takes."""
    if len(items) > limit:
        raise ValueError(f"Optimove takes at most {limit} {what} a call, not {len(items)}")


def attributes_to_wire(values: Mapping[str, AttributeValue]) -> list[dict[str, str]]:
    """Real field names and their values, which Optimove takes as text. ValueError for a name that is empty."""
    if any(not name.strip() for name in values):
        raise ValueError("An attribute of a customer has a name")
    return [{"RealFieldName": name, "Value": _value_to_wire(value)} for name, value in values.items()]


def _value_to_wire(value: AttributeValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return time_to_wire(value)
    return date_to_wire(value) if isinstance(value, date) else str(value)
