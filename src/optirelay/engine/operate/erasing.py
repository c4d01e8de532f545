"""A person is forgotten: everything of theirs goes, what counts stays under a keyed hash.

Each step commits by itself and changes nothing the second time, and what a later one has to know goes last: after a
kill, the same again does the rest.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from optirelay import pipeline
from optirelay.engine.context import Context
from optirelay.engine.operate.deciding import account
from optirelay.engine.operate.looking import masked, tenants_of
from optirelay.engine.opt_in_files import remove_person
from optirelay.engine.settle import skip
from optirelay.errors import NeedsOperator, TryLater
from optirelay.model import ChannelName, CustomerId, ProblemKind, Skip, TenantId
from optirelay.settings import ByFile
from optirelay.stages import metrics
from optirelay.store import Ledger, TenantStore
from optirelay.store.forgetting import FrozenReport, RawRow
from optirelay.store.scrubbing import STILL_SEEN, scrub
from optirelay.store.sids import sid_of

EMBEDDED = "embedded"
OTHERS_TAKE_SECONDS = 60.0  # what began before we did, and may still write what it read then
SENDING_TAKES_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05
SHORTEST_WORD = 3  # characters of a customer id that is looked for inside of texts; a shorter one stands everywhere


@dataclass(slots=True)
class Erased:
    """What an erasure did, this time."""

    tenant: TenantId
    customer_id: CustomerId  # what stands for the person from now on
    before: bool  # they were erased already
    campaigns: int = 0
    messages: int = 0
    skipped: int = 0  # of these: planned, and not sent now
    sending: int = 0  # of these: on the wire just now
    contacts: int = 0
    opt_ins: int = 0
    suppressions: int = 0
    notifications: int = 0
    callbacks: int = 0
    attribute_results: int = 0
    reports: int = 0
    texts: int = 0
    files: int = 0
    left: list[str] = field(default_factory=list)  # a sentence for each place where something may be left

    @property
    def things(self) -> int:
        """How many rows of any kind were erased."""
        return sum(getattr(self, name) for name in COUNTED)


COUNTED = (
    *("messages", "contacts", "opt_ins", "suppressions", "notifications", "callbacks", "attribute_results", "reports"),
    *("texts", "files"),
)


async def erase(ctx: Context, tenant: str, customer_id: str) -> Erased:
    """Forget a customer, whoever that is; from now on nothing that comes of them is kept or sent.

    NeedsOperator where something that began before does not end.
    """
    (name,) = tenants_of(ctx, tenant)
    return await _Erasing(ctx, name, CustomerId(customer_id)).run()


class _Erasing:
    """One erasure on its way."""

    def __init__(self, ctx: Context, tenant: TenantId, customer_id: CustomerId) -> None:
        self._ctx = ctx
        self._tenant = tenant
        self._store: TenantStore = ctx.store.tenant(tenant)
        self._who = customer_id
        self._campaigns: list[int] = []

    async def run(self) -> Erased:
        async with self._store.transaction() as ledger:
            remembered = await ledger.forgetting.remember(self._who)
            if remembered.new:
                await ledger.audit.keep("erase", [remembered.customer_id], account=account())
        self._erased = remembered.customer_id
        self._did = Erased(self._tenant, self._erased, before=not remembered.new)
        await self._wait_for_others()
        await self._rename()
        await self._wait_for_others()
        self._did.sending = await self._still_sending()
        words = await self._words()
        await self._empty_raw(words)
        await self._empty_reports(words)
        await self._clean_texts(words)
        await self._forget(words)
        self._did.campaigns = len(self._campaigns)
        if self._did.things or (self._did.before and not remembered.done):
            await self._scrub()
        elif remembered.new:
            await self._note(finished=not self._did.left)
        return self._did

    async def _wait_for_others(self) -> None:
        """Who began before the last commit may still write what it read before; it takes a moment."""
        async with self._store.transaction() as ledger:
            moment = await ledger.forgetting.moment()
        until = time.monotonic() + OTHERS_TAKE_SECONDS
        while True:
            async with self._store.transaction() as ledger:
                if not await ledger.forgetting.older_at_work(moment):
                    return
            if time.monotonic() > until:
                raise NeedsOperator(
                    f"something in the database has been at work for {OTHERS_TAKE_SECONDS:.0f} s and may still write "
                    "of the customer; the erasure has begun: run the same again to finish it"
                )
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _rename(self) -> None:
        """Messages are to a keyed hash; those that have not begun are skipped."""
        async with self._store.transaction() as ledger:
            self._campaigns = await ledger.forgetting.campaigns_of(self._who, self._erased)
        for campaign in self._campaigns:
            async with self._store.transaction() as ledger:
                self._did.messages += await ledger.forgetting.rename([campaign], {self._who: self._erased})
                batches = await ledger.forgetting.open_batches_of(campaign, self._erased)
            for number in batches:
                async with self._store.transaction() as ledger:
                    await self._skip(ledger, number)

    async def _skip(self, ledger: Ledger, number: int) -> None:
        batch = await ledger.batches.lock(number)
        if batch is None or batch.done:
            return
        messages = await ledger.forgetting.unstarted_of(number, batch.planned_on, batch.started, self._erased)
        await skip(self._ctx, ledger, batch, dict.fromkeys(messages, Skip.ERASED))
        await pipeline.write_batch(self._ctx, ledger, batch)
        self._did.skipped += len(messages)

    async def _still_sending(self) -> int:
        """How many of their messages are on the wire after a while: what is known of them comes later."""
        until = time.monotonic() + SENDING_TAKES_SECONDS
        while True:
            sending = 0
            for campaign in self._campaigns:
                async with self._store.transaction() as ledger:
                    standing = await ledger.forgetting.standing_of(campaign, self._erased)
                sending += sum(message.sending for message in standing)
            if not sending or time.monotonic() > until:
                return sending
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _words(self) -> "_Words":
        """By which the person is found in what others wrote."""
        addresses: set[str] = set()
        sids: set[str] = set()
        number = self._ctx.store.number_of(self._tenant)
        async with self._store.transaction() as ledger:
            addresses.update(await ledger.forgetting.reachable_by(self._who))
            for campaign in self._campaigns:
                for message in await ledger.forgetting.standing_of(campaign, self._erased):
                    sids.add(sid_of(number, message.planned_on, message.id))
                    addresses.update([message.address] if message.address else [])
        return _Words(self._who, sorted(addresses), sorted(sids))

    async def _empty_raw(self, words: "_Words") -> None:
        """Requests that speak of the person are emptied; who has not been read yet is read first."""
        found = await self._raw(words)
        if any(row.state == "new" and row.kind != "attribute_result" for row in found):
            while await pipeline.accept(self._ctx) or await pipeline.record(self._ctx):
                pass
            found = await self._raw(words)
        waiting = [row for row in found if row.state == "new" and row.kind != "attribute_result"]
        if waiting:
            self._did.left.append(f"{len(waiting)} requests are not read yet: run the same again in a moment")
        read = [row for row in found if row not in waiting]
        notifications = [row.id for row in read if row.kind == "notification"]
        callbacks = [row.id for row in read if row.kind == "callback"]
        results = [row for row in read if row.kind == "attribute_result"]
        async with self._store.transaction() as ledger:
            await ledger.forgetting.empty_notifications(notifications)
            await ledger.forgetting.empty_callbacks(callbacks)
            for row in results:
                await ledger.forgetting.write_attribute_result(row.id, words.taken_out_of(row.body))
        self._did.notifications += len(notifications)
        self._did.callbacks += len(callbacks)
        self._did.attribute_results += len(results)

    async def _raw(self, words: "_Words") -> list[RawRow]:
        async with self._store.transaction() as ledger:
            return [row async for row in ledger.forgetting.raw(words.spellings) if words.are_in(row.body)]

    async def _empty_reports(self, words: "_Words") -> None:
        """What Optimove was or is to be told does not name the person any more."""
        async with self._store.transaction() as ledger:
            numbers = await ledger.forgetting.reports_with(self._campaigns, words.spellings_of_id)
        for number in numbers:
            async with self._store.transaction() as ledger:
                report = await ledger.forgetting.lock_report(number)
                if report is not None:
                    self._did.reports += await self._empty_report(ledger, report)

    async def _empty_report(self, ledger: Ledger, report: FrozenReport) -> bool:
        body, left = metrics.without_customer(report.call, report.body, self._who)
        if body == report.body:
            return False
        if not left and report.state in ("ready", "in_doubt"):
            await ledger.forgetting.drop_report(report.id)
            await ledger.problems.mended(ProblemKind.REPORT_IN_DOUBT, subject=str(report.id))
        else:
            await ledger.forgetting.write_report(report.id, body, left)
        return True

    async def _clean_texts(self, words: "_Words") -> None:
        """Problems, Optimove's answers and what operators wrote."""
        if words.pattern is not None:
            async with self._store.transaction() as ledger:
                self._did.texts += await ledger.forgetting.clean_texts(self._campaigns, words.pattern)

    async def _forget(self, words: "_Words") -> None:
        """Last, because it takes away what the person is found by: contact, opt-ins, suppressions, messages."""
        async with self._store.transaction() as ledger:
            noted = await ledger.forgetting.erase_suppressions(words.addresses)
            await ledger.forgetting.erase_reasons([(masked(address), note) for address, note in noted])
            self._did.suppressions += len(noted)
        async with self._store.transaction() as ledger:
            self._did.opt_ins += await ledger.forgetting.erase_opt_ins(self._who)
        await self._empty_files()
        forgotten = 0
        for campaign in self._campaigns:
            async with self._store.transaction() as ledger:
                forgotten += await ledger.forgetting.forget_messages(campaign, self._erased)
        self._did.messages = max(self._did.messages, forgotten)
        async with self._store.transaction() as ledger:
            self._did.contacts += await ledger.forgetting.erase_contact(self._who)

    async def _empty_files(self) -> None:
        """Opt-in batch files that have not been taken away."""
        for name, channel in self._ctx.settings.tenants[self._tenant].channels.items():
            if isinstance(channel.opt_in, ByFile):
                try:
                    async with self._store.alone(f"opt-ins {name}"):
                        self._did.files += await remove_person(channel.opt_in.directory, ChannelName(name), self._who)
                except (NeedsOperator, TryLater) as error:
                    self._did.left.append(f"opt-in batch files of channel {name}: {error}")

    async def _scrub(self) -> None:
        own_server = self._ctx.settings.service.database == EMBEDDED
        if self._did.sending:
            self._did.left.append(
                f"{self._did.sending} of their messages are being sent just now, and what the provider answers may "
                "name them: run the same again when that is over"
            )
        finished = not self._did.left
        scrubbed = await scrub(self._ctx.store.pool, own_server=own_server)
        self._did.left += scrubbed
        await self._note(finished=finished and STILL_SEEN not in scrubbed)

    async def _note(self, *, finished: bool) -> None:
        async with self._store.transaction() as ledger:
            await ledger.forgetting.all_gone(self._erased, gone=finished)


class _Words:
    """What a person is found by in texts: their id, addresses, and sids of messages to them."""

    def __init__(self, who: CustomerId, addresses: Sequence[str], sids: Sequence[str]) -> None:
        self._who = who
        self.addresses = addresses
        numbers = [address.removeprefix("+") for address in addresses if re.fullmatch(r"\+\d{8,}", address)]
        self._inside = [*addresses, *numbers, *sids]
        named = [*self._inside, *([who] if len(who) >= SHORTEST_WORD else [])]
        self._found = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in named) or r"(?!)", re.IGNORECASE
        )
        texts = [word for word in named if word not in sids]
        self.pattern = rf"(?<![\w-])(?:{'|'.join(map(re.escape, texts))})(?![\w-])" if texts else None

    @property
    def spellings_of_id(self) -> list[str]:
        """The id in every way that JSON may have it."""
        return sorted(_spellings(self._who))

    @property
    def spellings(self) -> list[str]:
        """All of it in every way that JSON may have it."""
        return sorted({spelling for word in (self._who, *self._inside) for spelling in _spellings(word)})

    def are_in(self, body: bytes) -> bool:
        """Whether JSON, or what should be JSON, speaks of the person."""
        try:
            return any(map(self._names, _scalars(msgspec.json.decode(body))))
        except (msgspec.DecodeError, RecursionError):
            return self._names(body.decode("utf-8", "replace"))

    def taken_out_of(self, body: bytes) -> bytes:
        """The same JSON without what speaks of the person, or with `erased` in its place; nothing, where it is none."""
        try:
            return msgspec.json.encode(self._without(msgspec.json.decode(body)))
        except (msgspec.DecodeError, RecursionError):
            return b""

    def _without(self, value: Any) -> Any:
        match value:
            case dict():
                return {name: self._without(inner) for name, inner in value.items() if not self._names(name)}
            case list():
                return [self._without(inner) for inner in value if not self._is_about(inner)]
            case _:
                return "erased" if self._names(value) else value

    def _is_about(self, value: Any) -> bool:
        """An object of a list that names the person is about them, as a whole."""
        if isinstance(value, dict):
            return any(self._names(inner) for inner in value.values() if not isinstance(inner, dict | list))
        return not isinstance(value, list) and self._names(value)

    def _names(self, value: Any) -> bool:
        text = value if isinstance(value, str) else str(value)
        return text.strip() == self._who or self._found.search(text) is not None


def _scalars(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for name, inner in value.items():
                yield name
                yield from _scalars(inner)
        case list():
            for inner in value:
                yield from _scalars(inner)
        case _:
            yield value


def _spellings(word: str) -> set[str]:
    escaped = json.dumps(word)[1:-1]
    plain = json.dumps(word, ensure_ascii=False)[1:-1]
    both = {word, plain, escaped}
    return both | {spelling.replace("/", "\\/") for spelling in both}
