"""Customers made from a seed when they are asked for, so that a million of them needs no memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from optirelay.simulator.seeded import bytes_from


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "Ana Bo Carla David Elena Farid Grace Hugo Ines Jonas Kofi Lena Mario Nadia Oscar Priya "
    "Quentin Rosa Samir Tara Ulrich Vera Walid Xenia Yusuf Zita Amara Bruno Chloe Dina Emil Freya"
)
LAST_NAMES = _words(
    "Adler Baker Costa Diaz Evans Fischer Garcia Haddad Ivanova Jensen Keller Lopez Moreau Novak Okafor Petrov "
    "Quinn Rossi Silva Tanaka Ueda Vidal Weber Xu Young Zimmer Almeida Brandt Conti Duarte Eriksen Fontaine"
)
COUNTRIES = ("AR", "BR", "CA", "DE", "ES", "FR", "GB", "IL", "IT", "JP", "KE", "MX", "NO", "PL", "PT", "US")
CENTS = (".00", ".25", ".50", ".99")
# Reserved by RFC 2606: what goes there by mistake reaches nobody.
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org", "shop.example.net")

# Of a thousand customers about 15 have no address, 3 have one that is none, and 7 have a name that is a trap.
NO_EMAIL_BELOW, NO_ADDRESS_BELOW, ODD_NAME_BELOW = 15, 18, 25
# Optimove writes a missing value as null or as the text NULL: github nicolasramy/optimove, and
# https://developer.optimove.com/reference/get_customers-getcustomerattributechangers
NO_EMAIL = (None, "", "   ", "NULL")
NO_ADDRESS = ("{} at example.com", "{}@", "@example.com", "{}@@example.com", "{}.@example.com")
ODD_NAMES = (
    "<script>alert('{}')</script>",
    "{}\r\nBcc: everyone@example.net",
    "{} \N{PARTY POPPER}",
    "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}-\N{LATIN CAPITAL LETTER L WITH STROKE}ucja",
    "\N{CJK UNIFIED IDEOGRAPH-5B6B} \N{CJK UNIFIED IDEOGRAPH-609F}\N{CJK UNIFIED IDEOGRAPH-7A7A}",
)


@dataclass(slots=True)  # not frozen: a page has 10,000 of them, and frozen ones take twice as long
class Customer:
    """A person in a tenant's data."""

    customer_id: str
    attributes: Mapping[str, Any]


class Customers:
    """One tenant's customers in their order: the made ones first, then the added ones.

    What was changed of one lies over what was made or added; `defaults` are values of all who have none.
    """

    def __init__(self, seed: str, made: int, defaults: Mapping[str, Any] | None = None) -> None:
        self._seed = seed
        self._made = made
        self._defaults = {} if defaults is None else defaults
        self.names: dict[str, None] = {}  # of attributes that came with added customers, in their order
        self._changes: dict[int, dict[str, Any]] = {}
        self._before: dict[str, dict[int, tuple[date, Any]]] = {}  # by attribute: the last change's day, the value then
        self._replaced: dict[int, Customer] = {}
        self._added: list[Customer] = []
        self._added_at: dict[str, int] = {}

    def __len__(self) -> int:
        return self._made + len(self._added)

    def at(self, position: int) -> Customer:
        """The customer at a position from 0; IndexError past the end."""
        customer = self._unchanged(position)
        if self._defaults or position in self._changes:
            attributes = {**self._defaults, **customer.attributes, **self._changes.get(position, {})}
            return Customer(customer.customer_id, attributes)
        return customer

    def position_of(self, customer_id: str) -> int | None:
        """Where this customer stands; None when the tenant has no such customer."""
        if customer_id in self._added_at:
            return self._added_at[customer_id]
        digits = customer_id.removeprefix("C-")
        if not (digits.isascii() and digits.isdigit()):
            return None
        for number in (int(digits), int(digits) + 1):
            if 1 <= number <= self._made and made_id(number) == customer_id:
                return number - 1
        return None

    def put(self, customer: Customer) -> None:
        """Add a customer at the end or, when the id is known, replace the one who has it."""
        self.names.update(dict.fromkeys(customer.attributes))
        position = self.position_of(customer.customer_id)
        if position is not None:
            self._changes.pop(position, None)
        if position is None:
            self._added_at[customer.customer_id] = len(self)
            self._added.append(customer)
        elif position < self._made:
            self._replaced[position] = customer
        else:
            self._added[position - self._made] = customer

    def change(self, position: int, values: Mapping[str, Any], today: date) -> None:
        """Some attributes of a customer have new values."""
        attributes = self.at(position).attributes
        for name in values:
            before = self._before.setdefault(name, {})
            if position not in before or before[position][0] != today:
                before[position] = (today, attributes.get(name))
        self._changes.setdefault(position, {}).update(values)

    def changed(self, name: str, today: date) -> Iterator[tuple[Customer, Any]]:
        """The customers whose value of an attribute is not what it was when the day began, and that earlier value."""
        for position, (day, before) in sorted(self._before.get(name, {}).items()):
            customer = self.at(position)
            if day == today and customer.attributes.get(name) != before:
                yield customer, before

    @property
    def changed_count(self) -> int:
        """How many were changed."""
        return len(self._changes)

    def changes(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The ids of changed customers, each with what was changed."""
        return ((self._id_at(position), changes) for position, changes in self._changes.items())

    def _id_at(self, position: int) -> str:
        return made_id(position + 1) if position < self._made else self._added[position - self._made].customer_id

    def _unchanged(self, position: int) -> Customer:
        if position >= self._made:
            return self._added[position - self._made]
        return self._replaced.get(position) or made_customer(self._seed, position + 1)


def made_id(number: int) -> str:
    """Mostly "C-000001"; of a hundred, one has zeros in front, and the next is the same digits without them.

    Zeros in front count at Optimove ("0192837821" is a sample of its documentation), so these two are two people.
    """
    if number % 100 not in (41, 42):
        return "C-" + str(number).zfill(6)  # quicker than a format, and a page has 10,000 of them
    return str(number).zfill(10) if number % 100 == 41 else str(number - 1)


def made_customer(seed: str, number: int) -> Customer:
    """The customer with this number, counted from 1: the same for the same seed, and mostly an ordinary person."""
    drawn = bytes_from(f"{seed}:{number}")
    first, last = FIRST_NAMES[drawn[2] % 32], LAST_NAMES[drawn[3] % 32]
    email: str | None = f"{first.lower()}.{last.lower()}.{number}@{DOMAINS[drawn[4] % 6]}"
    in_thousand = (drawn[0] * 256 + drawn[1]) % 1000
    if in_thousand < NO_EMAIL_BELOW:
        email = NO_EMAIL[drawn[5] % len(NO_EMAIL)]
    elif in_thousand < NO_ADDRESS_BELOW:
        email = NO_ADDRESS[drawn[5] % len(NO_ADDRESS)].format(first.lower())
    elif in_thousand < ODD_NAME_BELOW:
        first = ODD_NAMES[drawn[5] % len(ODD_NAMES)].format(first)
    return Customer(
        made_id(number),
        {
            "EMAIL": email,
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "COUNTRY": COUNTRIES[drawn[6] % 16],
            "MOBILE": str(15_550_000_000 + number % 1_000_000),  # no exchange starts with 0: reaches nobody
            "BALANCE": str(drawn[7] * 256 + drawn[8]) + CENTS[drawn[9] % 4],
        },
    )
