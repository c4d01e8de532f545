"""Our directory of people: files go in, one person is looked at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optirelay.engine.context import Context
from optirelay.engine.operate.importing import Imported, Progress, import_file, keep_nothing, nobody_looks
from optirelay.engine.operate.looking import Shape, iso, masked, tenants_of
from optirelay.model import CustomerId
from optirelay.stages.files import CONTACT_COLUMNS, BadContact, Rejection, Row, read_contact
from optirelay.store.contacts import ContactChange

_HIDDEN = "…"


@dataclass(frozen=True, slots=True)
class ContactsImported:
    """What became of a file of contacts."""

    file: Imported
    faults: Mapping[tuple[Rejection, str], int]  # rejected rows by reason and column; without those that are no rows


async def import_contacts(
    ctx: Context, tenant: str, path: Path, *, dry_run: bool = False, progress: Progress = nobody_looks
) -> ContactsImported:
    """A file of people into the tenant's directory: what it has no column for stays as it is, an empty cell takes away.

    NeedsOperator as `import_file` raises it, and where there is no such tenant.
    """
    (name,) = tenants_of(ctx, tenant)
    country = ctx.settings.tenants[name].default_country
    faults: Counter[tuple[Rejection, str]] = Counter()

    def read(row: Row) -> ContactChange | Rejection:
        said = read_contact(row, country)
        if isinstance(said, BadContact):
            faults[said] += 1
            return said.reason
        return ContactChange(said.customer_id, said.addresses, said.attributes)

    async def keep(changes: Sequence[ContactChange]) -> int:
        async with ctx.store.tenant(name).transaction() as ledger:
            erased = await ledger.opt_outs.erased_among([change.customer_id for change in changes])
            return await ledger.contacts.keep([change for change in changes if change.customer_id not in erased])

    done = await import_file(
        path, CONTACT_COLUMNS, read=read, keep=keep_nothing if dry_run else keep, progress=progress
    )
    return ContactsImported(done, faults)


async def contact(ctx: Context, tenant: str, customer_id: str, *, addresses: bool) -> Shape | None:
    """What the directory has of one person; None: it does not have them. Masked unless asked for."""
    (name,) = tenants_of(ctx, tenant)
    async with ctx.store.tenant(name).transaction() as ledger:
        row = await ledger.contacts.contact(CustomerId(customer_id))
    if row is None:
        return None
    shown = {"email": row.email, "phone": row.phone, "push_token": row.push_token}
    if not addresses:
        shown = {kind: address and masked(address) for kind, address in shown.items()}
    return {
        "tenant": name,
        "customer_id": row.customer_id,
        **shown,
        "attributes": {key: value if addresses else _HIDDEN for key, value in row.attributes.items()},
        "updated_at": iso(row.updated_at),
    }
