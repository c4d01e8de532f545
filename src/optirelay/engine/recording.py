"""What providers told of messages is kept, counted, and obeyed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from optirelay.clock import utc_now
from optirelay.engine import troubles
from optirelay.engine.context import Context
from optirelay.engine.grouping import grouped
from optirelay.model import ChannelName, DeliveryEvent, EventKind, TenantId, is_erased
from optirelay.stages import callbacks, outcomes
from optirelay.store import Callback, Ledger, Store
from optirelay.store.batches import Attempt, LockedBatch
from optirelay.store.events import Addressee, EventRow, Fact, NamedMessage
from optirelay.store.link_tokens import Linked
from optirelay.store.opt_outs import Statement, Suppression
from optirelay.store.sids import BadSid, read_sid, sid_of

BY_LINK = b"link "
"""How the key of a callback begins that is none of a provider's: somebody followed a link of ours."""
Told = tuple[DeliveryEvent, int]
"""An event, and the callback that it came by."""


async def keep_callbacks(ledger: Ledger, channel: ChannelName, group: Sequence[Callback]) -> None:
    """Keep the events of a channel's callbacks and obey opt-outs among them; what nobody can read is a problem."""
    told: list[Told] = []
    unreadable = 0
    for callback in group:
        for event in callbacks.events_in(callback.body):
            if callbacks.is_readable(event):
                told.append((callbacks.read_event(event, callback.received_at), callback.id))
            else:
                unreadable += 1
    new = await _keep(ledger, channel, told)
    if unreadable:
        await troubles.tell_unreadable_callback(ledger, channel)
    if of_erased := {callback for _, callback, message in new if is_erased(message.customer_id)}:
        await ledger.forgetting.empty_new_callbacks(sorted(of_erased))
    by_link = {callback.id for callback in group if callback.key.startswith(BY_LINK)}  # obeyed when they came
    await _obey(ledger, channel, [(event, message) for event, callback, message in new if callback not in by_link])


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Somebody followed the link of a message and wants no more of its channel."""

    tenant: TenantId
    linked: Linked
    addressee: Addressee
    at: datetime
    source: str


async def keep_unsubscriptions(store: Store, group: Sequence[Unsubscription]) -> None:
    """From the commit on no group starts with them. That it is also an event of the message is recorded later, like
    what a provider tells. Raises StoreUnavailable: nothing was kept."""
    async with store.transaction() as everyone:
        await everyone.add_callbacks([_as_callback(one) for one in group])
        for tenant, of_tenant in sorted(grouped(group, lambda one: one.tenant)):
            await everyone.ledger(store.number_of(tenant)).opt_outs.keep(
                [
                    Statement(
                        one.addressee.customer_id, one.addressee.channel, one.at, opted_in=False, source=one.source
                    )
                    for one in of_tenant
                ]
            )


def _as_callback(one: Unsubscription) -> tuple[TenantId, ChannelName, bytes, bytes]:
    sid = sid_of(one.linked.tenant, one.linked.planned_on, one.linked.message)
    event = {"event_id": f"link {sid}", "id": sid, "event": EventKind.UNSUBSCRIBED, "at": one.at}
    return one.tenant, one.addressee.channel, BY_LINK + sid.encode(), msgspec.json.encode(event)


async def _keep(
    ledger: Ledger, channel: ChannelName, told: Sequence[Told]
) -> list[tuple[DeliveryEvent, int, NamedMessage]]:
    """Keep events, each once, and count what they say; those that are new and name a message of the channel."""
    first: dict[bytes, Told] = {}
    for event, callback in told:
        first.setdefault(event.identity, (event, callback))
    if not first:
        return []
    keys = {identity: key for identity, (event, _) in first.items() if (key := _key(ledger, event)) is not None}
    named = await _named(ledger, channel, keys)
    rows = sorted(_row(*first[identity], keys.get(identity), named.get(identity)) for identity in first)
    kept = await ledger.events.keep(channel, rows)
    new = [
        (row, *first[row.identity], message)
        for row in rows
        if row.identity in kept and (message := named.get(row.identity)) is not None
    ]
    await ledger.events.keep_facts([fact for row, event, _, message in new for fact in _facts(row, event, message)])
    return [(event, callback, message) for _, event, callback, message in new]


async def _obey(ledger: Ledger, channel: ChannelName, new: Sequence[tuple[DeliveryEvent, NamedMessage]]) -> None:
    """Who said no is not written to: last in the transaction, because no group starts from here to its end."""
    statements: list[Statement] = []
    suppressions: list[Suppression] = []
    for event, message in new:
        follows = outcomes.consequence(event)
        if follows.opts_out is not None:
            said = Statement(message.customer_id, channel, event.at, opted_in=False, source=follows.opts_out)
            statements.append(said)
        if follows.suppresses is not None and message.address is not None:
            erased = is_erased(message.customer_id)
            suppressions.append(Suppression(message.address, channel, follows.suppresses, erased=erased))
    await ledger.opt_outs.keep(statements)
    await ledger.opt_outs.suppress(suppressions)


def _key(ledger: Ledger, event: DeliveryEvent) -> tuple[date, int] | None:
    """Day and number of the message that an event names, where it is one of this tenant's."""
    try:
        tenant, day, message = read_sid(event.sid)
    except BadSid:
        return None
    return (day, message) if tenant == ledger.number else None


async def _named(
    ledger: Ledger, channel: ChannelName, keys: Mapping[bytes, tuple[date, int]]
) -> dict[bytes, NamedMessage]:
    """The messages of this channel that events name, by the event."""
    identities = list(keys)
    asked = [(place, *keys[identity]) for place, identity in enumerate(identities)]
    return {identities[message.place]: message for message in await ledger.events.named(channel, asked)}


def _row(event: DeliveryEvent, callback: int, key: tuple[date, int] | None, message: NamedMessage | None) -> EventRow:
    planned_on, number = (None, None) if message is None or key is None else key
    undecided = (
        message is not None
        and event.kind is not None
        and outcomes.is_undecided(message.state, message.reason, by_event=bool(message.by_event))
    )
    return EventRow(
        event.identity, planned_on, number, event.name, event.kind, outcomes.rank(event), event.at, undecided, callback
    )


def _facts(row: EventRow, event: DeliveryEvent, message: NamedMessage) -> list[Fact]:
    """A message that its provider refused was dropped already."""
    assert row.planned_on is not None
    assert row.message is not None
    return [
        Fact(row.planned_on, row.message, message.campaign, kind, event.at)
        for kind in outcomes.facts(event)
        if kind != "dropped" or message.state != "refused"
    ]


async def compare_outcomes(ctx: Context) -> int:
    """What is in doubt, or came after its events, becomes what these tell; of how many batches."""
    async with ctx.store.transaction() as everyone:
        batches = await everyone.with_undecided()
    for tenant, number in batches:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            batch = await ledger.batches.lock(number)
            if batch is not None and await compare(ledger, batch, utc_now()):
                await ledger.batches.write(batch)
                await troubles.mend_doubts(ledger, batch.campaign)
    return len(batches)


async def compare(ledger: Ledger, batch: LockedBatch, now: datetime) -> bool:
    """Outcomes of a locked batch that events decide become what these tell; whether any did. It is to be written."""
    undecided = await ledger.batches.undecided(batch)
    decided = {
        row: ended
        for row in undecided
        if (ended := outcomes.decide(row.state, row.reason, by_event=row.by_event, arrived=row.arrived)) is not None
    }
    if decided:
        await ledger.batches.decide(batch, decided, now)
        words = "a delivery event names it"
        await ledger.batches.keep_attempts(batch, [Attempt(row.message, now, "resolved", words) for row in decided])
    await ledger.batches.compared(batch, [row.message for row in undecided])
    return bool(decided)
