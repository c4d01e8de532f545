"""Optimove's list of listeners, compared with ours and mended; and what of a sync could not be mended."""

from collections.abc import Sequence

import structlog

from optirelay.engine.context import Context, ask
from optirelay.engine.troubles import done_after_all
from optirelay.errors import GiveUp
from optirelay.model import ProblemKind, TenantId
from optirelay.optimove import get_registered_event_listeners, register_event_listener
from optirelay.stages import listeners

log = structlog.get_logger()


async def sync_listeners(ctx: Context, tenant: TenantId) -> list[listeners.ListenerRow]:
    """Register what is missing or leads elsewhere; how all stand afterwards."""
    async with ctx.store.tenant(tenant).alone("sync listeners"):
        rows = await look_at_listeners(ctx, tenant)
        wanting = [r for r in rows if r.state in (listeners.ListenerState.MISSING, listeners.ListenerState.MOVED)]
        for row in wanting:
            log.info("listener_registered", tenant=tenant, event_type=int(row.event_type), channel_id=row.channel_id)
            await ask(ctx, tenant, register_event_listener(row.event_type, row.url, row.channel_id))
        async with ctx.store.tenant(tenant).transaction() as ledger:
            for row in rows:
                await ledger.problems.mended(ProblemKind.UNKNOWN_CHANNEL_ID, subject=str(row.channel_id))
            await done_after_all(ledger, "RegisterEventListener")
        return await look_at_listeners(ctx, tenant) if wanting else rows


async def look_at_listeners(ctx: Context, tenant: TenantId) -> list[listeners.ListenerRow]:
    """How each listener stands at Optimove; as missing where Optimove does not tell (it once refused third parties)."""
    try:
        theirs = await ask(ctx, tenant, get_registered_event_listeners(), tells_refusal=False)
    except GiveUp as error:
        log.warning("listeners_not_told", tenant=tenant, why=str(error))
        theirs = []
    ours = listeners.wanted(ctx.settings.tenants[tenant], ctx.settings.service.public_url)
    return listeners.compare(ours, theirs, tenant)


async def tell_behind(ctx: Context, tenant: TenantId, sentences: Sequence[str]) -> None:
    """The operator is told what a sync could not mend, until one leaves nothing."""
    async with ctx.store.tenant(tenant).transaction() as ledger:
        if not sentences:
            await ledger.problems.mended(ProblemKind.SYNC_FAILED)
            return
        await ledger.problems.tell(
            ProblemKind.SYNC_FAILED,
            f"Optimove's lists do not hold all that is ours: {'; '.join(sentences[:10])}",
            "It is tried again by itself; see `optirelay templates list` and what Optimove says of these templates",
        )
