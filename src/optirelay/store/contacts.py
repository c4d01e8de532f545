"""One tenant's directory: people by a customer id of its own, with an address of each kind and attributes of theirs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection

from optirelay.model import ChannelKind, Contact, CustomerId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What is said of one person: what has no name here stays as it is, None takes away."""

    customer_id: CustomerId
    addresses: Mapping[str, str | None] = field(repr=False)  # by column: email, phone, push_token
    attributes: Mapping[str, str | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ContactRow:
    """One person as the directory has them."""

    customer_id: CustomerId
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    push_token: str | None = field(repr=False)
    attributes: Mapping[str, str] = field(repr=False)
    updated_at: datetime  # when any of it changed last


class Contacts:
    """One tenant's directory."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "contacts", {"tenant": tenant})

    async def keep(self, changes: Iterable[ContactChange]) -> int:
        """Write what is said of people; of how many it was new. Of two rows of one person the later wins, name by name.

        Until the end of the transaction nobody else writes the directory.
        """
        people = _by_customer(changes)
        if not people:
            return 0
        await self._sql.value("alone")
        return await self._sql.count(
            "keep",
            customer_ids=list(people),
            said=[_json(addresses) for addresses, _ in people.values()],
            attributes=[_json(attributes) for _, attributes in people.values()],
        )

    async def contact(self, customer_id: CustomerId) -> ContactRow | None:
        """One person; None where the directory does not have them."""
        return await self._sql.row(ContactRow, "contact", customer_id=customer_id)

    async def of_customers(self, kind: ChannelKind, customer_ids: Collection[CustomerId]) -> dict[CustomerId, Contact]:
        """Those of these people whom the directory has, as channels of the kind need them."""
        rows = await self._sql.tuples("of_customers", kind=kind.value, customer_ids=list(dict.fromkeys(customer_ids)))
        return {customer_id: Contact(address, attributes) for customer_id, address, attributes in rows}

    async def of_addresses(
        self, kind: ChannelKind, sought: Collection[tuple[str, CustomerId]]
    ) -> dict[tuple[str, CustomerId], Contact]:
        """Whom the directory has under these e-mail addresses, whatever their capitals, and phone numbers (E.164).

        Each is asked for on behalf of a customer: where several have the address, it is the one of that very id, else
        one with an address of the kind, the one that changed last, the first by id.
        """
        pairs = dict.fromkeys(sought)
        rows = await self._sql.tuples(
            "of_addresses",
            kind=kind.value,
            values=list(dict.fromkeys(value for value, _ in pairs)),
            own_values=[value for value, _ in pairs],
            customer_ids=[customer_id for _, customer_id in pairs],
        )
        found = {(value, customer_id): Contact(address, text) for value, customer_id, address, text in rows}
        best = ((pair, found.get(pair) or found.get((pair[0], None))) for pair in pairs)
        return {pair: contact for pair, contact in best if contact is not None}


def _by_customer(
    changes: Iterable[ContactChange],
) -> dict[CustomerId, tuple[dict[str, str | None], dict[str, str | None]]]:
    together: dict[CustomerId, tuple[dict[str, str | None], dict[str, str | None]]] = {}
    for change in changes:
        addresses, attributes = together.setdefault(change.customer_id, ({}, {}))
        addresses |= change.addresses
        attributes |= change.attributes
    return together


def _json(said: Mapping[str, str | None]) -> str:
    return msgspec.json.encode(said).decode()
