"""Optimove's rows become recipients: who, which template, when, where, with what personalization."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from optirelay.addresses import read_email
from optirelay.model import CustomerId, Recipient, Skip, TemplateId
from optirelay.optimove import SendDetail, SendDetailsPage, UnreadableRow


@dataclass(frozen=True, slots=True)
class Tags:
    """The attributes asked of Optimove, in that order; the first is the address."""

    address: str
    personalization: tuple[str, ...]

    @property
    def asked(self) -> tuple[str, ...]:
        """Each name once."""
        return tuple(dict.fromkeys((self.address, *self.personalization)))


def read_page(page: SendDetailsPage, tags: Tags) -> list[Recipient]:
    """A recipient for each row, in the page's order; what is wrong with one is its `skip`."""
    names = tags.asked
    wanted = frozenset(tags.personalization)
    return [
        _read_unreadable(row) if isinstance(row, UnreadableRow) else _read_row(row, names, wanted) for row in page.rows
    ]


def _read_unreadable(row: UnreadableRow) -> Recipient:
    """The same row twice is the same recipient."""
    customer_id = CustomerId("raw:" + sha256(row.raw).hexdigest())
    return Recipient(customer_id, None, None, skip=Skip.UNREADABLE)


def _read_row(row: SendDetail, names: Sequence[str], wanted: frozenset[str]) -> Recipient:
    values = {name: value for name, value in zip(names, row.attributes, strict=True) if not _missing(value)}
    address, skip = _read_address(values.get(names[0]))
    return Recipient(
        CustomerId(row.customer_id),
        TemplateId(row.template_id),
        row.scheduled_time,
        address,
        {name: value for name, value in values.items() if value is not None and name in wanted},
        skip,
    )


def _missing(value: str | None) -> bool:
    """Null, empty, blank, or the text NULL."""
    return value is None or not value.strip() or value.strip() == "NULL"


def _read_address(value: str | None) -> tuple[str | None, Skip | None]:
    if value is None:
        return None, Skip.NO_ADDRESS
    address = read_email(value)
    return (address, None) if address is not None else (None, Skip.BAD_ADDRESS)
