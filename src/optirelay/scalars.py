"""Single values of JSON that others send: a number may come as text, and a text as a number."""

from typing import Any

MOST_DIGITS = 100  # of a number, zeros in front among them


def read_text(value: Any) -> str | None:
    """A text without blanks around it, or a whole number's digits; None for what says nothing ("NULL" neither) and for
    anything else."""
    match value:
        case str():
            text = value.strip()
            return text if text and text != "NULL" else None
        case bool():
            return None
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return None


def read_number(value: Any, largest: int) -> int | None:
    """A whole number from 0 to `largest`, or its text; zeros in front do not count."""
    if type(value) is int:
        return value if 0 <= value <= largest else None
    text = read_text(value)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= largest else None
