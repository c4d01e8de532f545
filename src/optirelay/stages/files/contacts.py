"""What a row of an import file says of one person in our directory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from optirelay.addresses import LONGEST_NAME, read_email, read_name, read_phone, read_token
from optirelay.model import LONGEST_VALUE, CustomerId
from optirelay.scalars import read_text
from optirelay.stages.files.rows import Columns, Rejection, Row

_NEEDED = "customer_id"
CONTACT_COLUMNS = Columns(needed=(_NEEDED,), optional=("email", "phone", "push_token"), others=True)


@dataclass(frozen=True, slots=True)
class SaidOfContact:
    """What has no name here stays as it is, None takes away."""

    customer_id: CustomerId
    addresses: Mapping[str, str | None]  # by column
    attributes: Mapping[str, str | None]  # of the tenant's own, by column


class BadContact(NamedTuple):
    """Why a row is not imported, and by which column."""

    reason: Rejection
    column: str


def read_contact(row: Row, default_country: str | None) -> SaidOfContact | BadContact:
    """What a row says; the country is that of phone numbers that do not name theirs."""
    customer = read_name(read_text(row.values.get(_NEEDED)) or "")
    if not customer:
        return BadContact(Rejection.NO_CUSTOMER, _NEEDED)
    readers: dict[str, Callable[[str], str | None]] = {
        "email": read_email,
        "phone": lambda value: read_phone(value, default_country),
        "push_token": read_token,
    }
    addresses: dict[str, str | None] = {}
    attributes: dict[str, str | None] = {}
    for column, value in row.values.items():
        if column == _NEEDED:
            continue
        text = _text(value)
        if text is None or len(text) > LONGEST_VALUE or not _is_name(column):
            return BadContact(Rejection.BAD_VALUE, column)
        said = text if (bare := text.strip()) and bare != "NULL" else None
        read = readers.get(column)
        if read is None:
            attributes[column] = said
        elif said is None or (address := read(said)) is not None:
            addresses[column] = None if said is None else address
        else:
            return BadContact(Rejection.BAD_ADDRESS, column)
    return SaidOfContact(CustomerId(customer), addresses, attributes)


def _text(value: Any) -> str | None:
    """A value as text, empty where it says nothing; lists and objects have none."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case _:
            return None


def _is_name(column: str) -> bool:
    return column == column.strip() and column.isprintable() and 0 < len(column) <= LONGEST_NAME
