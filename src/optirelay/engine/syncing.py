"""Optimove's list of listeners, compared with ours and mended; and what of a sync could not be mended."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from optirelay.engine.context import Context, ask
from optirelay.engine.sweeping import executed
from optirelay.engine.troubles import SHOWN_FOR, done_after_all
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError
from optirelay.model import CampaignId, ProblemKind, TenantId
from optirelay.optimove import (
    EventType,
    get_registered_event_listeners,
    register_event_listener,
    unregister_event_listener,
)
from optirelay.stages import listeners
from optirelay.stages.listeners import ListenerRow, ListenerState
from optirelay.store import StoreUnavailable
from optirelay.store.listeners import KnownListener

log = structlog.get_logger()


@dataclass(frozen=True)
class Standing:
    """How listeners stand at Optimove, and which were registered before."""

    rows: list[ListenerRow]  # those that we want, then the others
    told: bool  # False: Optimove does not tell, and all of ours count as missing
    known: Mapping[listeners.Key, KnownListener]

    @property
    def wanted(self) -> list[ListenerRow]:
        """Those that we want."""
        return [row for row in self.rows if row.state is not ListenerState.FOREIGN]


async def sync_listeners(ctx: Context, tenant: TenantId) -> list[ListenerRow]:
    """Register what is missing or leads elsewhere, remove old ones of ours; how all stand afterwards. A listener that
    had been registered and was lost is told to the operator."""
    async with ctx.store.tenant(tenant).alone("sync listeners"):
        standing = await _look(ctx, tenant)
        if standing.told:
            await _tell_lost(ctx, tenant, standing)
            if await _remove_old(ctx, tenant, standing):
                standing = await _look(ctx, tenant)  # should more be gone than was meant, it is registered again
        for row in standing.wanted:
            await _register(ctx, tenant, row, standing)
        async with ctx.store.tenant(tenant).transaction() as ledger:
            for row in standing.wanted:
                await ledger.problems.mended(ProblemKind.UNKNOWN_CHANNEL_ID, subject=listeners.subject_of(row.key))
            await done_after_all(ledger, "RegisterEventListener")
        changed = any(row.state is not ListenerState.OK for row in standing.wanted)
        return await look_at_listeners(ctx, tenant) if changed else standing.rows


async def look_at_listeners(ctx: Context, tenant: TenantId) -> list[ListenerRow]:
    """How each listener stands at Optimove; as missing where Optimove does not tell (it once refused third parties)."""
    return (await _look(ctx, tenant)).rows


async def _look(ctx: Context, tenant: TenantId) -> Standing:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        known = await ledger.listeners.known(ctx.worker)
    told = True
    try:
        theirs = await ask(ctx, tenant, get_registered_event_listeners(), tells_refusal=False)
    except GiveUp as error:
        log.warning("listeners_not_told", tenant=tenant, why=str(error))
        theirs, told = [], False
    ours = listeners.wanted(ctx.settings.tenants[tenant], ctx.settings.service.public_url)
    rows = listeners.compare(ours, theirs, tenant)
    return Standing(rows, told, {(listener.event_type, listener.channel_id): listener for listener in known})


async def _tell_lost(ctx: Context, tenant: TenantId, standing: Standing) -> None:
    """What was registered and is gone, or leads where we did not send it, is a problem for an hour at least."""
    lost = []
    async with ctx.store.tenant(tenant).transaction() as ledger:
        for row in standing.wanted:
            known = standing.known.get(row.key)
            if known is None or row.state is ListenerState.OK or (row.leads_to and known.leads_to(row.leads_to)):
                continue
            log.warning("listener_lost", tenant=tenant, event_type=int(row.event_type), channel_id=row.channel_id)
            lost.append(listeners.subject_of(row.key))
            place = {"channel": row.channel or "", "subject": lost[-1]}
            await ledger.problems.tell(ProblemKind.LISTENER_MOVED, *listeners.lost(row), **place)
        await ledger.problems.shown_enough(ProblemKind.LISTENER_MOVED, SHOWN_FOR, but=lost)


async def _remove_old(ctx: Context, tenant: TenantId, standing: Standing) -> bool:
    """Have Optimove forget listeners of ours that nobody wants any more; whether there were any. One that it does not
    forget is tried again by the next sync."""
    known, wanted = standing.known, {row.key for row in standing.wanted}
    base = listeners.base_url(ctx.settings.service.public_url, tenant)

    def is_ours(row: ListenerRow) -> bool:
        registered = known.get(row.key)
        return row.url.startswith(base) or (registered is not None and registered.leads_to(row.url))

    kept = {key for key, listener in known.items() if listener.kept}
    old = [key for key in listeners.old_ones(standing.rows, is_ours) if key not in kept]
    left = set()
    for key in old:
        try:
            await ask(ctx, tenant, unregister_event_listener(*key))
            log.info("listener_unregistered", tenant=tenant, event_type=key[0], channel_id=key[1])
        except (GiveUp, NeedsOperator) as error:  # what is wanted is registered all the same
            log.warning("listener_not_unregistered", tenant=tenant, event_type=key[0], why=str(error))
            left.add(key)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        for key in known.keys() - wanted - kept - left:
            await ledger.listeners.forget(*key)
            await ledger.problems.mended(ProblemKind.LISTENER_MOVED, subject=listeners.subject_of(key))
        if not left:
            await done_after_all(ledger, "UnregisterEventListener")
    return bool(old)


async def _register(ctx: Context, tenant: TenantId, row: ListenerRow, standing: Standing) -> None:
    """Have Optimove send its notifications here. What it has executed before is asked for right after we come, and is
    somebody else's, where somebody else may have been told. Where nobody was, it is ours, and the sweep finds it."""
    before: Collection[CampaignId] | None = None
    known = standing.known.get(row.key)
    if known is not None and known.channel == (row.channel or ""):
        before = known.executed_before
    if row.state is not ListenerState.OK:
        log.info("listener_registered", tenant=tenant, event_type=int(row.event_type), channel_id=row.channel_id)
        await ask(ctx, tenant, register_event_listener(row.event_type, row.url, row.channel_id))
    if before is None and row.event_type == EventType.CHANNEL_EXECUTED:
        nobody = standing.told and listeners.told_nobody(row, standing.rows)
        before = () if nobody else await _executed_before(ctx, tenant, row)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        await ledger.listeners.keep(*row.key, row.url, channel=row.channel, worker=ctx.worker, executed_before=before)


async def _executed_before(ctx: Context, tenant: TenantId, row: ListenerRow) -> Collection[CampaignId] | None:
    """None where Optimove does not say: a listener waits for nothing, and the next sync asks again."""
    assert row.channel_id is not None
    try:
        return await executed(ctx, tenant, row.channel_id)
    except StoreUnavailable:
        raise
    except OptirelayError as error:
        log.warning("executed_not_told", tenant=tenant, channel_id=row.channel_id, why=str(error))
        return None


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
