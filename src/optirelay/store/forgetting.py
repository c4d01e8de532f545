"""People who are erased, and what goes by its age: what of them is kept, and what is not."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import ChannelName, CustomerId, Skip, day_of
from optirelay.store._sql import Statements

CHUNK = 1000  # rows that one statement changes at the most
_TOGETHER = 500  # requests that are emptied at once


@dataclass(frozen=True, slots=True)
class Remembered:
    """A person who is erased."""

    customer_id: CustomerId  # what stands for them: `erased:` and a keyed hash
    new: bool  # until now nobody had erased them
    done: bool  # nothing of them was left


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """A person who was erased and is in a campaign again."""

    customer_id: CustomerId
    skip: Skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message to a person who is erased stands."""

    planned_on: date
    id: int
    sending: bool
    address: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawRow:
    """A request as it arrived."""

    kind: str  # notification, callback or attribute_result
    id: int
    state: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FrozenReport:
    """A call to Optimove, frozen."""

    id: int
    call: str
    customers: int
    state: str
    body: bytes = field(repr=False)


class Forgetting:
    """One tenant's people who are erased. Every step changes nothing the second time."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "forgetting", {"tenant": tenant})

    async def remember(self, customer_id: CustomerId) -> Remembered:
        """Whatever comes of them from the commit on is skipped, and not kept."""
        remembered = await self._sql.row(Remembered, "remember", customer_id=customer_id)
        assert remembered is not None
        return remembered

    async def all_gone(self, erased: CustomerId, *, gone: bool) -> None:
        """Whether nothing of them is left anywhere."""
        await self._sql.do("all_gone", erased=erased, gone=gone)

    async def has_erased(self) -> bool:
        """Whether anybody was erased."""
        return bool(await self._sql.value("has_erased"))

    async def erased_of(
        self, channel: ChannelName, people: Mapping[CustomerId, str | None], campaigns: Sequence[int]
    ) -> dict[CustomerId, ErasedPerson]:
        """Of these customers, each with the address that Optimove names, those who were erased.

        Messages of these campaigns that they have already are theirs under what stands for them, too.
        """
        rows = await self._sql.rows(_Known, "erased_of", customers=list(people))
        erased = {row.known_as: row.customer_id for row in rows}
        if not erased:
            return {}
        await self.rename(campaigns, erased)
        addresses = [address for customer_id in erased if (address := people[customer_id]) is not None]
        suppressed = set(await self._sql.values("suppressed_of", channel=channel, addresses=addresses))
        return {
            known_as: ErasedPerson(erased[known_as], Skip.SUPPRESSED if people[known_as] in suppressed else Skip.ERASED)
            for known_as in erased
        }

    async def rename(self, campaigns: Sequence[int], erased: Mapping[CustomerId, CustomerId]) -> int:
        """Messages of these campaigns are to what stands for their customers; how many were not yet."""
        named = {"known_as": list(erased), "customer_ids": list(erased.values())}
        return int(await self._sql.value("rename", campaigns=list(campaigns), **named))

    async def moment(self) -> datetime:
        """Now, by the database's clock."""
        moment: datetime = await self._sql.value("moment")
        return moment

    async def older_at_work(self, before: datetime) -> bool:
        """Whether a transaction that began before, and writes, has not ended."""
        return bool(await self._sql.value("older_at_work", before=before))

    async def campaigns_of(self, *names: CustomerId) -> list[int]:
        """Campaigns with a message to somebody under one of these names."""
        return await self._sql.values("campaigns_of", names=list(names))

    async def open_batches_of(self, campaign: int, erased: CustomerId) -> list[int]:
        """Batches of a campaign that are not done and have a message to them."""
        return await self._sql.values("open_batches_of", campaign=campaign, erased=erased)

    async def unstarted_of(self, batch: int, planned_on: date, started: int, erased: CustomerId) -> list[int]:
        """Messages of a locked batch to them that neither began nor have an outcome."""
        return await self._sql.values(
            "unstarted_of", batch=batch, planned_on=planned_on, started=started, erased=erased
        )

    async def standing_of(self, campaign: int, erased: CustomerId) -> list[Standing]:
        """Their messages of a campaign."""
        return await self._sql.rows(Standing, "standing_of", campaign=campaign, erased=erased)

    async def reachable_by(self, customer_id: CustomerId) -> list[str]:
        """Addresses of our directory."""
        return await self._sql.values("reachable_by", customer_id=customer_id)

    async def forget_messages(self, campaign: int, erased: CustomerId) -> int:
        """Addresses, personalization and providers' words of their messages go; of how many messages."""
        return int(await self._sql.value("forget_messages", campaign=campaign, erased=erased))

    async def erase_suppressions(self, addresses: Sequence[str]) -> list[tuple[str, str]]:
        """Of suppressions of these addresses only keyed hashes stay, which still work; each address with its note."""
        rows = await self._sql.tuples("erase_suppressions", addresses=list(addresses))
        return [(address, note) for address, note in rows]

    async def erase_reasons(self, noted: Sequence[tuple[str, str]]) -> None:
        """What the audit table says of suppressions, by subject and note."""
        subjects, notes = [subject for subject, _ in noted], [note for _, note in noted]
        await self._sql.do("erase_reasons", subjects=subjects, notes=notes)

    async def erase_contact(self, customer_id: CustomerId) -> int:
        """The entry in our directory goes; how many there were."""
        return await self._sql.count("erase_contact", customer_id=customer_id)

    async def erase_opt_ins(self, customer_id: CustomerId) -> int:
        """What they said of channels goes, told to Optimove or not; of how many channels."""
        await self._sql.do("erase_place", customer_id=customer_id)
        opt_ins = await self._sql.count("erase_opt_ins", customer_id=customer_id)
        return max(opt_ins, await self._sql.count("erase_statements", customer_id=customer_id))

    async def raw(self, words: Sequence[str]) -> AsyncIterator[RawRow]:
        """Requests in which one of these words stands, as parts of other words, too; streamed."""
        async for row in self._sql.stream(RawRow, "raw", words=list(words)):
            yield row

    async def empty_notifications(self, ids: Sequence[int]) -> None:
        """What they say goes; that they came is known still."""
        for start in range(0, len(ids), _TOGETHER):
            await self._sql.do("empty_notifications", ids=list(ids[start : start + _TOGETHER]))

    async def empty_callbacks(self, ids: Sequence[int]) -> None:
        """The same of callbacks."""
        for start in range(0, len(ids), _TOGETHER):
            await self._sql.do("empty_callbacks", ids=list(ids[start : start + _TOGETHER]))

    async def empty_new_callbacks(self, ids: Sequence[int]) -> None:
        """The same of callbacks that are just being read."""
        await self._sql.do("empty_new_callbacks", ids=list(ids))

    async def write_attribute_result(self, number: int, body: bytes) -> None:
        """What is left of an asynchronous result."""
        await self._sql.do("write_attribute_result", id=number, body=body)

    async def reports_with(self, campaigns: Sequence[int], words: Sequence[str]) -> list[int]:
        """Frozen calls of these campaigns in which one of these words stands."""
        return await self._sql.values("reports_with", campaigns=list(campaigns), words=list(words))

    async def lock_report(self, number: int) -> FrozenReport | None:
        """A frozen call, which nobody claims or answers until the transaction ends."""
        return await self._sql.row(FrozenReport, "lock_report", id=number)

    async def write_report(self, number: int, body: bytes, customers: int) -> None:
        """What is left of a locked call; how many customers, where it was not answered."""
        await self._sql.do("write_report", id=number, body=body, customers=customers)

    async def drop_report(self, number: int) -> None:
        """A locked call that tells of nobody any more."""
        await self._sql.do("drop_report", id=number)

    async def clean_texts(self, campaigns: Sequence[int], pattern: str) -> int:
        """What the pattern, a regular expression of PostgreSQL's, finds in problems, answers and decisions becomes
        `erased`; in how many."""
        return (
            await self._sql.count("clean_problems", pattern=pattern)
            + await self._sql.count("clean_answers", campaigns=list(campaigns), pattern=pattern)
            + await self._sql.count("clean_decisions", pattern=pattern)
        )


class Aging:
    """What goes by its age, of all tenants, those that the settings no longer have among them.

    Each step changes some CHUNK of rows at the most and says how many, batches or requests; 0: nothing is old enough.
    """

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._sql = Statements(connection, "everyone", {})

    async def alone(self) -> bool:
        """Whether nobody else is at it; nobody comes before the transaction ends."""
        return bool(await self._sql.value("alone_at_forgetting"))

    async def forget_batches(self, before: datetime) -> int:
        """What is personal of messages of batches that were done before that."""
        return int(await self._sql.value("forget_batches", before=before, most=CHUNK))

    async def empty_requests(self, before: datetime) -> int:
        """What requests said that came before that and were read; that they came stays known."""
        return await self._sql.count("empty_old_notifications", before=before, most=CHUNK) + await self._sql.count(
            "empty_old_callbacks", before=before, most=CHUNK
        )

    async def drop_requests(self, before: datetime) -> int:
        """Requests that came before that and were read."""
        return await self._sql.count("drop_old_notifications", before=before, most=CHUNK) + await self._sql.count(
            "drop_old_callbacks", before=before, most=CHUNK
        )

    async def drop_attribute_results(self, before: datetime) -> int:
        """The same of asynchronous results, of which nothing needs to be known again."""
        return await self._sql.count("drop_old_attribute_results", before=before, most=CHUNK)

    async def let_campaigns_go(self, before: datetime) -> int:
        """Whole campaigns that were over before that: nobody is shown them any more. How many days of them."""
        return await self._sql.count("let_campaigns_go", before=before, day=day_of(before))

    async def drop_batches(self) -> int:
        """Batches of campaigns that go, with their messages."""
        return int(await self._sql.value("drop_batches", most=CHUNK))

    async def drop_campaigns(self) -> int:
        """A campaign that goes and of which nothing else is left."""
        return await self._sql.count("drop_campaign")


@dataclass(frozen=True, slots=True)
class _Known:
    known_as: CustomerId
    customer_id: CustomerId
