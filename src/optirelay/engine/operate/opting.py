"""Whom nobody writes to: what operators say of addresses, and what customers said of channels."""

from collections.abc import Sequence
from pathlib import Path

from optirelay.addresses import read_email, read_phone
from optirelay.clock import utc_now
from optirelay.engine.context import Context
from optirelay.engine.operate.deciding import account
from optirelay.engine.operate.importing import Imported, Progress, import_file, keep_nothing, nobody_looks
from optirelay.engine.operate.looking import Shape, iso, masked, tenants_of
from optirelay.errors import NeedsOperator
from optirelay.model import ERASED, ChannelName, CustomerId, TenantId
from optirelay.settings import ChannelSettings
from optirelay.stages.files import OPT_IN_COLUMNS, OptIn, read_opt_in
from optirelay.store.opt_outs import EVERY_CHANNEL, Statement, Suppression
from optirelay.store.sharing import SharedRow


async def suppress(ctx: Context, tenant: str, address: str, channel: str | None, reason: str) -> bool:
    """From now on nobody of the tenant, or of one channel, writes there. False where that was so.

    NeedsOperator where it is no address, or there is no such channel.
    """
    (name,) = tenants_of(ctx, tenant)
    _known(ctx, name, channel)
    wanted = Suppression(_read(ctx, name, address), channel or EVERY_CHANNEL, "manual", reason)
    async with ctx.store.tenant(name).transaction() as ledger:
        changed = await ledger.opt_outs.suppress([wanted]) > 0
        if changed:
            await ledger.audit.keep("suppress", [masked(address)], account=account(), reason=reason)
    return changed


async def unsuppress(ctx: Context, tenant: str, address: str, channel: str | None) -> list[str]:
    """The address is written to again, on that channel or wherever it was suppressed.

    From which channels it was taken, the whole tenant as EVERY_CHANNEL; none: it was suppressed nowhere.
    """
    (name,) = tenants_of(ctx, tenant)
    _known(ctx, name, channel)
    async with ctx.store.tenant(name).transaction() as ledger:
        taken = await ledger.opt_outs.unsuppress(_read(ctx, name, address), channel)
        if taken:
            await ledger.audit.keep("unsuppress", [masked(address)], account=account())
    return taken


async def suppressions(ctx: Context, tenant: str | None, channel: str | None, *, addresses: bool) -> list[Shape]:
    """Every suppressed address, oldest first within a tenant; masked unless asked for."""
    shapes = []
    for name in tenants_of(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            rows = await ledger.opt_outs.suppressions(channel)
        shapes += [
            {
                "tenant": name,
                "channel": row.channel,
                "address": row.address if addresses or row.address.startswith(ERASED) else masked(row.address),
                "reason": row.reason,
                "note": row.note,
                "at": iso(row.at),
            }
            for row in rows
        ]
    return shapes


async def opt_ins(ctx: Context, tenant: str, customer_id: str) -> list[Shape]:
    """What counts of what a customer said of each channel, with all that they ever said; null: nothing."""
    (name,) = tenants_of(ctx, tenant)
    async with ctx.store.tenant(name).transaction() as ledger:
        rows = {row.channel: row for row in await ledger.opt_outs.subscriptions(CustomerId(customer_id))}
        said = await ledger.opt_outs.statements(CustomerId(customer_id))
        shared = {row.channel: row for row in await ledger.sharing.shared(CustomerId(customer_id))}
    known = dict.fromkeys([*ctx.settings.tenants[name].channels, *rows])
    return [
        {
            "tenant": name,
            "channel": channel,
            "opted_in": row.opted_in if (row := rows.get(channel)) is not None else None,  # type: ignore[call-overload]
            "at": None if row is None else iso(row.at),
            "source": None if row is None else row.source,
            "shared": _shared(ctx.settings.tenants[name].channels.get(channel), shared.get(ChannelName(channel))),
            "history": [
                {"opted_in": each.opted_in, "at": iso(each.at), "source": each.source}
                for each in said
                if each.channel == channel
            ],
        }
        for channel in known
    ]


async def import_opt_ins(
    ctx: Context, tenant: str, path: Path, *, dry_run: bool = False, progress: Progress = nobody_looks
) -> Imported:
    """Keep what a file says of customers and channels; a dry run writes its rejects alone.

    Rows without a time count as of now, when the import begins. Each 2,000 rows are one transaction. NeedsOperator
    where the file cannot be read to its end; the same file again then gives what one run would have given.
    """
    (name,) = tenants_of(ctx, tenant)
    channels = ctx.settings.tenants[name].channels.keys()
    now = utc_now()

    async def keep(said: Sequence[OptIn]) -> int:
        async with ctx.store.tenant(name).transaction() as ledger:
            return await ledger.opt_outs.keep(list(map(Statement._make, said)), bulk=True)

    return await import_file(
        path,
        OPT_IN_COLUMNS,
        read=lambda row: read_opt_in(row, channels, now),
        keep=keep_nothing if dry_run else keep,
        progress=progress,
    )


def _shared(channel: ChannelSettings | None, row: SharedRow | None) -> Shape | None:
    """How Optimove is told of it; null: it is not."""
    if channel is None or channel.opt_in is None or row is None:
        return None
    return {"route": str(channel.opt_in), "state": row.state, "failed": row.why}


def _known(ctx: Context, tenant: TenantId, channel: str | None) -> None:
    channels = ctx.settings.tenants[tenant].channels
    if channel is not None and channel not in channels:
        raise NeedsOperator(f"tenant {tenant} has no channel {channel}; name one of {', '.join(channels)}")


def _read(ctx: Context, tenant: TenantId, address: str) -> str:
    """As messages have it: an e-mail address, a phone number in E.164, or a token as it is."""
    text = address.strip()
    if not text or not text.isprintable():
        raise NeedsOperator("this is no address; write an e-mail address, a phone number or a device token")
    if "@" in text:
        email = read_email(text)
        if email is None:
            raise NeedsOperator(f"{text} is no e-mail address; write one such as ann@example.com")
        return email
    return read_phone(text, ctx.settings.tenants[tenant].default_country) or text
