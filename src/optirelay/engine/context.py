"""What a step of the journey works with, and the one way to ask something of Optimove."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from optirelay.channels import Channel
from optirelay.errors import GiveUp, InDoubt, NeedsOperator, OptirelayError, TryLater
from optirelay.model import ChannelName, ProblemKind, TenantId
from optirelay.optimove import (
    Broken,
    Call,
    CannotConnect,
    NoAnswer,
    OptimoveClient,
    OptimoveError,
    RateLimited,
    Unauthorized,
)
from optirelay.settings import ChannelSettings, Settings
from optirelay.stages.content import MailTemplate
from optirelay.stages.sending import Quiet
from optirelay.store import Store, StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The parts of the running system, as steps see them."""

    settings: Settings
    store: Store
    optimove: Mapping[TenantId, OptimoveClient]
    channels: Mapping[tuple[TenantId, ChannelName], Channel]
    worker: str
    prepared: dict[tuple[TenantId, ChannelName, int, int], MailTemplate] = field(default_factory=dict)

    def channel_settings(self, tenant: TenantId, channel: ChannelName) -> ChannelSettings:
        """A channel's settings. NeedsOperator where the file no longer has it."""
        try:
            return self.settings.tenants[tenant].channels[channel]
        except KeyError:
            raise NeedsOperator(f"channel {channel} of tenant {tenant} is no longer in the settings") from None

    def quiet(self, tenant: TenantId, channel: ChannelName) -> Quiet | None:
        """When nothing of a channel leaves; None where it has no quiet hours."""
        hours = self.channel_settings(tenant, channel).quiet_hours
        return None if hours is None else Quiet(hours, self.settings.tenants[tenant].timezone)


async def ask(ctx: Context, tenant: TenantId, call: Call[T]) -> T:
    """Send one call to a tenant's Optimove, within its budget. Errors are ours; one that lasts is a problem."""
    await _spend(ctx, tenant)
    store = ctx.store.tenant(tenant)
    try:
        with in_our_words():
            answer = await ctx.optimove[tenant].send(call)
    except OptirelayError as error:
        kind = ProblemKind.KEY_REFUSED if isinstance(error, NeedsOperator) else ProblemKind.OPTIMOVE_SILENT
        with suppress(StoreUnavailable):
            async with store.transaction() as ledger:
                await ledger.problems.tell(kind, str(error), _MENDS[kind], subject=call.name)
        raise
    # The call was made: whatever the store says now must not make anybody repeat it.
    with suppress(StoreUnavailable):
        async with store.transaction() as ledger:
            await ledger.problems.mended(ProblemKind.KEY_REFUSED, ProblemKind.OPTIMOVE_SILENT, subject=call.name)
    return answer


_MENDS = {
    ProblemKind.KEY_REFUSED: "Check api_key, or metrics_token, and what it may do; what waits for it goes on by itself",
    ProblemKind.OPTIMOVE_SILENT: "Check api_url, or metrics_url, and Optimove's state; it is tried again by itself",
}


async def _spend(ctx: Context, tenant: TenantId) -> None:
    """Wait until the key's budget, which all workers share, has room for one more call."""
    rate = ctx.settings.tenants[tenant].rate_limit
    while True:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            wait = await ledger.problems.spend_call(rate.count, rate.per)
        if not wait:
            return
        await asyncio.sleep(wait.total_seconds())


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn Optimove's errors into ours, at the one place where its answers come back."""
    try:
        yield
    except Unauthorized as error:
        raise NeedsOperator(str(error)) from error
    except RateLimited as error:
        raise TryLater(str(error), after=error.retry_after) from error
    except (NoAnswer, Broken) as error:  # it may have happened: only the call knows if twice does harm
        raise (TryLater if error.repeatable else InDoubt)(str(error)) from error
    except CannotConnect as error:
        raise TryLater(str(error)) from error
    except OptimoveError as error:
        raise GiveUp(str(error)) from error
