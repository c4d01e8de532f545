"""How the sharing of opt-ins with Optimove stands, and sharing them now."""

import asyncio

from optirelay.engine.context import Context
from optirelay.engine.operate.looking import PATIENCE_SECONDS, PAUSE_SECONDS, Shape, iso, tenants_of
from optirelay.engine.sharing import shared_channels, tell_anew, tell_opt_ins
from optirelay.engine.sharing.results import settle_results
from optirelay.errors import OptirelayError, TryLater
from optirelay.model import ChannelName, TenantId
from optirelay.store import StoreUnavailable

MOST_FAILED = 10_000  # customers listed of a channel


async def optins_status(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Each channel whose opt-ins are shared: by which way, how many customers stand where, and why some failed."""
    rows = []
    for name, channel in _shared(ctx, tenant):
        async with ctx.store.tenant(name).snapshot() as ledger:
            counts = await ledger.sharing.counts(channel)
            failures = await ledger.sharing.failures(channel)
        rows.append(
            {
                "tenant": name,
                "channel": channel,
                "route": str(ctx.channel_settings(name, channel).opt_in),
                "pending": counts.pending,
                "sent": counts.sent,
                "confirmed": counts.confirmed,
                "failed": counts.failed,
                "failures": {row.why: row.customers for row in failures},
            }
        )
    return rows


async def optins_failed(ctx: Context, tenant: str | None = None) -> list[Shape]:
    """Customers whom Optimove did not take, at most MOST_FAILED of a channel: why, and when they are told again; null:
    when they say something new."""
    rows = []
    for name, channel in _shared(ctx, tenant):
        async with ctx.store.tenant(name).transaction() as ledger:
            failed = await ledger.sharing.failed_customers(channel, MOST_FAILED)
        rows += [
            {
                "tenant": name,
                "channel": channel,
                "customer_id": one.customer_id,
                "failed": one.why,
                "again_at": None if one.again_at is None else iso(one.again_at),
            }
            for one in failed
        ]
    return rows


async def push_opt_ins(ctx: Context, tenant: str | None = None, *, everything: bool = False) -> list[str]:
    """Tell Optimove what it has not confirmed, or everything, within 60 s; a sentence for what failed or was left."""
    pushing = [_Push(ctx, *place, everything=everything) for place in _shared(ctx, tenant)]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(push.run() for push in pushing))
    except TimeoutError:
        pass
    return [f"{push.tenant}, channel {push.channel}: {sentence}" for push in pushing for sentence in await push.left()]


def _shared(ctx: Context, tenant: str | None) -> list[tuple[TenantId, ChannelName]]:
    names = tenants_of(ctx, tenant)
    return [(one.tenant, one.channel) for one in shared_channels(ctx.settings) if one.tenant in names]


class _Push:
    """One channel's push."""

    def __init__(self, ctx: Context, tenant: TenantId, channel: ChannelName, *, everything: bool) -> None:
        self.tenant = tenant
        self.channel = channel
        self._ctx = ctx
        self._everything = everything
        self._said: str | None = None  # what went wrong last

    async def run(self) -> None:
        """Until Optimove has confirmed everything, or refuses."""
        async with self._ctx.store.tenant(self.tenant).transaction() as ledger:
            await ledger.sharing.untell_failed(self.channel)
            await ledger.sharing.works(self.channel)
        if self._everything:
            await tell_anew(self._ctx, self.tenant, self.channel)
        told = False
        while True:
            now = await self._tell(file_now=not told)
            told = told or now
            if now and await self._confirmed():
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _tell(self, *, file_now: bool) -> bool:
        """Whether all was told, or is refused; False: somebody else is at it, or it may work a little later."""
        try:
            told = await tell_opt_ins(self._ctx, self.tenant, self.channel, file_now=file_now)
        except StoreUnavailable:
            raise
        except TryLater as error:
            self._said = str(error)
            return False
        except OptirelayError as error:
            self._said = str(error)
            return True
        self._said = None
        return told

    async def _confirmed(self) -> bool:
        await settle_results(self._ctx, self.tenant)
        async with self._ctx.store.tenant(self.tenant).transaction() as ledger:
            counts = await ledger.sharing.counts(self.channel)
        return self._said is not None or not (counts.pending or counts.sent)

    async def left(self) -> list[str]:
        """What was not confirmed, and why."""
        async with self._ctx.store.tenant(self.tenant).transaction() as ledger:
            counts = await ledger.sharing.counts(self.channel)
            failures = await ledger.sharing.failures(self.channel)
        left = [self._said] if self._said is not None else []
        if counts.pending:
            left.append(f"{counts.pending} customers are left; a worker goes on")
        if counts.sent:
            left.append(
                f"{counts.sent} customers are told, and Optimove has not confirmed them; its results come to public_url"
            )
        left += [f"Optimove did not take {row.customers} customers: {row.why}" for row in failures]
        return left
