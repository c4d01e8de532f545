"""What customers said of channels is told to Optimove in files."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

import structlog

from optirelay.clock import utc_now
from optirelay.engine import opt_in_files
from optirelay.engine.context import Context
from optirelay.engine.opt_in_files import OptInRow
from optirelay.errors import GiveUp
from optirelay.model import ChannelName, TenantId
from optirelay.store.sharing import AT_ONCE, OpenCall

CALL = "file"
ROWS_AT_ONCE = 1000
log = structlog.get_logger()


async def share_by_file(
    ctx: Context, tenant: TenantId, channel: ChannelName, directory: Path, *, now: bool = False
) -> None:
    """Write the file that is due, or one `now`, and upload it. What was not uploaded before goes first.

    Its customers are confirmed once it stands under its name, and is uploaded where that is asked for.
    """
    for call in await _open_calls(ctx, tenant, channel):
        await _upload(ctx, tenant, channel, directory, call)
    if now or await _is_due(ctx, tenant, channel):
        await _write(ctx, tenant, channel, directory)
        for call in await _open_calls(ctx, tenant, channel):
            await _upload(ctx, tenant, channel, directory, call)


async def _open_calls(ctx: Context, tenant: TenantId, channel: ChannelName) -> list[OpenCall]:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        return [call for call in await ledger.sharing.calls(channel) if call.call == CALL]


async def _is_due(ctx: Context, tenant: TenantId, channel: ChannelName) -> bool:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        route = await ledger.sharing.route(channel)
    every = ctx.channel_settings(tenant, channel).batch_file.every
    return route is not None and (route.file_at is None or route.file_at + every <= utc_now())


async def _write(ctx: Context, tenant: TenantId, channel: ChannelName, directory: Path) -> None:
    store, settings, now = ctx.store.tenant(tenant), ctx.channel_settings(tenant, channel), utc_now()
    name = opt_in_files.next_name(directory, channel, now, tenant=tenant)
    async with store.transaction() as ledger:
        call = await ledger.sharing.open_call(channel, CALL, now, file=name)
    await _take_all(ctx, tenant, channel, call, now)
    whose = None if settings.batch_file.content == "full" else call
    written = await opt_in_files.write(
        settings, directory, _rows(ctx, tenant, channel, whose), tenant=tenant, name=name
    )
    async with store.transaction() as ledger:
        if written is None:
            await ledger.sharing.close_call(call)
            await ledger.sharing.file_written(channel, now)
        else:
            await ledger.sharing.written(channel, call, now)


async def _take_all(ctx: Context, tenant: TenantId, channel: ChannelName, call: int, now: datetime) -> None:
    """Everybody of whom there is news, some at a time: whoever says something meanwhile does not wait."""
    for bulk in (False, True):
        after: str | None = ""
        while after is not None:
            async with ctx.store.tenant(tenant).transaction() as ledger:
                taken = await ledger.sharing.take(channel, call, bulk=bulk, after=after, limit=AT_ONCE, now=now)
            after = taken[-1].customer_id if taken else None


async def _rows(
    ctx: Context, tenant: TenantId, channel: ChannelName, call: int | None
) -> AsyncIterator[Sequence[OptInRow]]:
    """What they said by now: who says something else meanwhile comes with the next file once more."""
    async with ctx.store.tenant(tenant).snapshot() as ledger:
        group: list[OptInRow] = []
        async for row in ledger.sharing.file_rows(channel, call):
            group.append(OptInRow(*row))
            if len(group) == ROWS_AT_ONCE:
                yield group
                group = []
        if group:
            yield group


async def _upload(ctx: Context, tenant: TenantId, channel: ChannelName, directory: Path, call: OpenCall) -> None:
    """What somebody took away before it was uploaded comes with the next file."""
    assert call.file is not None
    store, gone = ctx.store.tenant(tenant), False
    try:
        await opt_in_files.upload(ctx.channel_settings(tenant, channel), directory, call.file, tenant=tenant)
    except GiveUp as error:
        log.warning("file_is_gone", tenant=tenant, channel=channel, why=str(error))
        gone = True
    async with store.transaction() as ledger:
        if gone:
            await ledger.sharing.take_back(channel, call.id)
        else:
            await ledger.sharing.close_call(call.id)
