"""What the rows of customers have in common: the customer, the attributes that were asked for, promotion codes."""

from collections.abc import Mapping, Sequence
from typing import Any

from ._read import Unreadable, is_clean, read_note, read_text

DELIMITER = ";"  # of the attributes' names as we ask, and of their values where a row holds them as one text
NULL = "NULL"  # what older answers write for no value


def attributes_query(attributes: Sequence[str]) -> dict[str, str | int]:
    """The attributes to ask for; nothing for none. ValueError for a name that is empty or holds ";"."""
    if wrong := [name for name in attributes if not name.strip() or DELIMITER in name]:
        raise ValueError(f'The name of a customer attribute is not empty and has no "{DELIMITER}": {wrong}')
    return {"CustomerAttributes": DELIMITER.join(attributes)} if attributes else {}


def read_customer(row: Mapping[str, Any]) -> str:
    """The CustomerID, a text; a whole number is the text of it."""
    value = row.get("customerid")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else read_text(value, "CustomerID")


def read_attributes(value: object, asked: int) -> tuple[str | None, ...]:
    """The values in any form seen: an array, or one text joined by ";" (of one attribute it is the value itself).

    As many as were asked for: None for null, and where there are fewer. Unreadable where there are more.
    """
    if not asked or value is None:
        return (None,) * asked
    if isinstance(value, list):
        values = value
    elif isinstance(value, str) and asked > 1:
        values = value.split(DELIMITER)
    else:
        values = [value]
    if len(values) > asked:
        raise Unreadable(f"CustomerAttributes has {len(values)} values for the {asked} that were asked for")
    return (*(read_value(one, "CustomerAttributes") for one in values), *(None,) * (asked - len(values)))


def read_value(value: object, field: str) -> str | None:
    """One value of an attribute: always text, or None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise Unreadable(f"{field} holds a value that is neither text, number, boolean nor null")
    if isinstance(value, str) and not is_clean(value):
        raise Unreadable(f"{field} holds characters that are no text")
    return str(value)


def read_asked(row: Mapping[str, Any], asked: int) -> tuple[str | None, ...]:
    """A row's attributes, under either name that was seen; None also for the text "NULL"."""
    values = read_attributes(row.get("customerattributes", row.get("customerattribute")), asked)
    return tuple(without_null(value) for value in values)


def without_null(value: str | None) -> str | None:
    """None for the text "NULL"."""
    return None if value == NULL else value


def read_promo_codes(value: object) -> tuple[str, ...]:
    """The codes in any form seen: none, an array, or one text joined by ","."""
    if value is None:
        return ()
    codes = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    return tuple(text for code in codes if (text := read_note(code, "PromoCode").strip()))
