"""Recipients whose address our directory has: a page, or a group of triggers, is looked up with one statement."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from optirelay.engine.context import Context
from optirelay.model import ChannelKind, Contact, Recipient, TenantId, Triggered
from optirelay.optimove import SendDetail, UnreadableRow
from optirelay.settings import ChannelSettings
from optirelay.stages import contacts, recipients
from optirelay.store import Ledger

_AT_ONCE = 200  # rows; about a millisecond


async def read_page(
    ctx: Context, tenant: TenantId, pass_: int, rows: Sequence[SendDetail | UnreadableRow], tags: recipients.Tags
) -> list[Recipient]:
    """A recipient for each row, in their order, with the address that Optimove, or our directory, has."""
    read = await ctx.way.in_slices(pass_, rows, lambda some: recipients.read_rows(some, tags), size=_AT_ONCE)
    if tags.address is not None:
        return read
    async with ctx.store.tenant(tenant).transaction() as ledger:
        contact_of = await _look_up(ledger, tags.kind, tags.match, read)
    return await ctx.way.in_slices(
        pass_,
        read,
        lambda some: [contacts.addressed(one, contact_of(one), any_case=False) for one in some],
        size=_AT_ONCE,
    )


async def of_triggers(ledger: Ledger, channel: ChannelSettings, received: Sequence[Triggered]) -> Sequence[Triggered]:
    """The same of notifications that are read."""
    if channel.address_attribute is not None:
        return received
    people = [one.recipient for one in received]
    contact_of = await _look_up(ledger, channel.kind, channel.match_attribute, people)
    return [
        replace(one, recipient=contacts.addressed(one.recipient, contact_of(one.recipient), any_case=True))
        for one in received
    ]


async def _look_up(
    ledger: Ledger, kind: ChannelKind, match: str | None, people: Sequence[Recipient]
) -> Callable[[Recipient], Contact | None]:
    """What tells of a recipient who it is in our directory."""
    wanted = [one for one in people if one.skip is None]
    if match is None:
        by_id = await ledger.contacts.of_customers(kind, [one.customer_id for one in wanted]) if wanted else {}
        return lambda one: by_id.get(one.customer_id)
    sought = [(one.address or "", one.customer_id) for one in wanted]
    by_address = await ledger.contacts.of_addresses(kind, sought) if wanted else {}
    return lambda one: by_address.get((one.address or "", one.customer_id))
