"""Whom one tenant does not write to: what customers said of its channels, and suppressed addresses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from optirelay.model import ChannelName, CustomerId
from optirelay.store._sql import Statements

EVERY_CHANNEL = ""
_SAID_TYPES = ("int4", "text", "text", "timestamptz", "bool", "text")


class Statement(NamedTuple):
    """What a customer said of a channel, when, and by which way."""

    customer_id: CustomerId
    channel: ChannelName
    at: datetime
    opted_in: bool
    source: str


class Suppression(NamedTuple):
    """An address that is not written to on a channel, or on EVERY_CHANNEL; capitals do not matter."""

    address: str
    channel: str
    reason: str  # hard_bounce, complaint or manual
    note: str = ""
    erased: bool = False  # whose it is was erased: a keyed hash of the address is kept


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """What counts of what a customer said of a channel; or one of all that they said."""

    channel: ChannelName
    opted_in: bool
    at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class SuppressionRow:
    """A suppression as it is listed."""

    address: str = field(repr=False)
    channel: ChannelName | None  # None: every channel
    reason: str
    note: str
    at: datetime


class OptOuts:
    """One tenant's subscriptions and suppressions. What is written here counts for every group that starts later."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._tenant = tenant
        self._sql = Statements(connection, "opt_outs", {"tenant": tenant})

    async def keep(self, statements: Sequence[Statement], *, bulk: bool = False) -> int:
        """Keep what customers said; the newest by its own time counts; of how many customers and channels that is new.
        Of who was erased nothing is kept. Last in a transaction: no group starts until its end. 2,000 hold them up for
        some 40 ms.

        `bulk`: one of many that come at once; Optimove is told of the others first.
        """
        if not statements:
            return 0
        await self._sql.do("said")
        await self._sql.copy("copy_said", [(self._tenant, *statement) for statement in statements], _SAID_TYPES)
        await self._sql.value("alone")
        await self._sql.do("leave_out_erased")
        await self._sql.do("keep_statements")
        return await self._sql.count("keep_subscriptions", bulk=bulk)

    async def erased_among(self, customers: Sequence[CustomerId]) -> set[CustomerId]:
        """Of these customers those who were erased; who is written about under a keyed hash is one of them."""
        return set(await self._sql.values("erased_among", customers=list(customers)))

    async def suppress(self, suppressions: Sequence[Suppression]) -> int:
        """Have nobody write there; how many are new. Last in a transaction: no group starts until its end."""
        if not suppressions:
            return 0
        await self._sql.value("alone")
        columns = list(map(list, zip(*suppressions, strict=True)))
        names = ("addresses", "channels", "reasons", "notes", "erased")
        return await self._sql.count("suppress", **dict(zip(names, columns, strict=True)))

    async def unsuppress(self, address: str, channel: str | None) -> list[str]:
        """Have the address written to again: on that channel or EVERY_CHANNEL, or None: wherever it is not. From where
        it was taken."""
        return await self._sql.values("unsuppress", address=address, channel=channel)

    async def suppressions(self, channel: str | None = None) -> list[SuppressionRow]:
        """All, or those of one channel; oldest first."""
        return await self._sql.rows(SuppressionRow, "suppressions", channel=channel)

    async def subscriptions(self, customer_id: CustomerId) -> list[SubscriptionRow]:
        """What counts of what a customer said, channel by channel."""
        return await self._sql.rows(SubscriptionRow, "subscriptions", customer_id=customer_id)

    async def statements(self, customer_id: CustomerId) -> list[SubscriptionRow]:
        """All that a customer said, oldest first."""
        return await self._sql.rows(SubscriptionRow, "statements", customer_id=customer_id)
