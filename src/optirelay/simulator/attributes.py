"""Attributes of customers: which there are, of which type, and what fits into one."""

import re
from datetime import date
from typing import NamedTuple


class Attribute(NamedTuple):
    """One attribute that every customer of a tenant may have a value of."""

    name: str
    type: str  # as AddCustomerAttribute takes it
    default: str | None = None
    by_api: bool = False

    @property
    def field_type(self) -> str:
        """The type as GetCustomerAttributes writes it: "Varchar", "Bigint", "Decimal" were met in public connectors."""
        return self.type.partition("(")[0].capitalize()


# https://developer.optimove.com/reference/post_customers-addcustomerattribute
TYPES = re.compile(r"DECIMAL\(19,4\)|INT|BIGINT|DATE|N?VARCHAR\(([1-9]\d{0,3})\)")
MAX_BY_API = 40
# Of 250 characters: https://developer.optimove.com/docs/prepare-your-data-for-optimove-ecommerce. The rest is ours.
MADE = {
    attribute.name: attribute
    for attribute in (
        Attribute("EMAIL", "NVARCHAR(250)"),
        Attribute("FIRST_NAME", "NVARCHAR(100)"),
        Attribute("LAST_NAME", "NVARCHAR(100)"),
        Attribute("COUNTRY", "VARCHAR(50)"),
        Attribute("MOBILE", "VARCHAR(50)"),
        Attribute("BALANCE", "DECIMAL(19,4)"),
    )
}
ADDED_BY_HAND = "NVARCHAR(4000)"
# What a client marked as personal; RemoveCustomerPII changes these alone: https://developer.optimove.com/docs/remove-pii-guide
PERSONAL = ("EMAIL", "FIRST_NAME", "LAST_NAME", "MOBILE")


def fits(kind: str, value: object) -> bool:
    """Whether a text, as all values are written, is one of this type; null is one of every type."""
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    if kind in ("INT", "BIGINT"):
        most = 2 ** (31 if kind == "INT" else 63)
        return bool(re.fullmatch(r"-?[0-9]{1,19}", value)) and -most <= int(value) < most
    if kind == "DATE":
        return _is_date(value)
    if kind.startswith("DECIMAL"):
        return bool(re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", value))
    length = TYPES.fullmatch(kind)
    return length is not None and len(value) <= int(length[1])


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
