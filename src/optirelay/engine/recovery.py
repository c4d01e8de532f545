"""What a worker that died on this machine had in hand is settled by what it had seen."""

from optirelay import pipeline
from optirelay.engine.context import Context
from optirelay.engine.journal import DeadJournal
from optirelay.engine.reporting import settle_lost_of
from optirelay.engine.settle import seen_of, settle_late, take_over
from optirelay.model import TenantId


async def recover(ctx: Context, tenant: TenantId, journal: DeadJournal) -> None:
    """What a worker that died on this machine had in hand is settled by what it had seen, and free at once."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        left = await ledger.batches.open_of_worker(journal.worker)
    for number in left:
        async with store.transaction() as ledger:
            batch = await ledger.batches.lock(number)
            if batch is not None and batch.owner == journal.worker and not batch.done:
                await take_over(ctx, ledger, batch, journal.worker, journal)
                await pipeline.write_batch(ctx, ledger, batch)
                await ledger.batches.free(batch.id, batch.fence, None)
                await ledger.batches.wake_senders()
    async with store.transaction() as ledger:  # others took over some of it, and could not know
        doubts = await ledger.batches.doubts_of_worker(journal.worker)
    for number, messages_ in doubts.items():
        async with store.transaction() as ledger:
            batch = await ledger.batches.lock(number)
            assert batch is not None
            for touched in await settle_late(ctx, ledger, batch, seen_of(journal, number, messages_), journal.worker):
                await pipeline.write_batch(ctx, ledger, touched)
    await settle_lost_of(ctx, tenant, journal.worker)
