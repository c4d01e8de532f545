"""What a step of the journey works with, and the one way to ask something of Optimove."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from optirelay.channels import Channel
from optirelay.engine.turns import TooManyCalls, Turns
from optirelay.engine.way import Way
from optirelay.errors import GiveUp, InDoubt, NeedsOperator, OptirelayError, TryLater
from optirelay.model import ChannelName, ProblemKind, TenantId
from optirelay.optimove import (
    Broken,
    Call,
    CannotConnect,
    Moved,
    NoAnswer,
    OptimoveClient,
    OptimoveError,
    RateLimited,
    TooLong,
    Unauthorized,
)
from optirelay.settings import ChannelSettings, Settings
from optirelay.stages.sending import Quiet
from optirelay.store import Store, StoreUnavailable, TenantStore

if TYPE_CHECKING:
    from optirelay.stages.content import Prepared

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The parts of the running system, as steps see them."""

    settings: Settings
    store: Store
    optimove: Mapping[TenantId, OptimoveClient]
    channels: Mapping[tuple[TenantId, ChannelName], Channel]
    worker: str
    admin: Mapping[TenantId, OptimoveClient] = field(default_factory=dict)  # with admin_api_key, where there is one
    way: Way = field(default_factory=Way)
    telling: set[int] = field(default_factory=set)  # frozen calls of reports that this process has in hand
    prepared: dict[tuple[TenantId, ChannelName, int, int], "Prepared"] = field(default_factory=dict)

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


async def ask(
    ctx: Context,
    tenant: TenantId,
    call: Call[T],
    *,
    tells: bool = True,
    tells_refusal: bool = True,
    admin: bool = False,
    leaving: Callable[[], Awaitable[None]] | None = None,
) -> T:
    """Send one call to a tenant's Optimove, when its turn comes. Errors are ours; what lasts is a problem.

    Too many calls (429) are no error: it is sent again in its next turn, or TryLater says when. A signed call goes
    without the key: it takes no turn. Without `tells_refusal` the caller knows what a GiveUp means, and without `tells`
    what any error does; a doubt is always the caller's to tell. `admin`: it needs the client's own permissions.
    `leaving` is awaited when its turn has come, right before it leaves.
    """
    store = ctx.store.tenant(tenant)
    turns = Turns(store, ctx.settings.tenants[tenant].rate_limit, call.name)
    client = ctx.admin.get(tenant, ctx.optimove[tenant]) if admin else ctx.optimove[tenant]
    while True:
        number = None if call.signed else await turns.next()
        if leaving is not None:
            await leaving()
        try:
            with in_our_words():
                answer = await client.send(call)
        except TooManyCalls as error:
            if number is None:
                raise
            await turns.refused(number, error)
        except OptirelayError as error:
            answered = isinstance(error, GiveUp) and not tells_refusal
            told = tells and not answered and not isinstance(error, InDoubt)
            await _answered(store, call.name, number, error if told else None, works=answered)
            raise
        else:
            await _answered(store, call.name, number, None, works=True)
            return answer


async def _answered(
    store: TenantStore, call: str, number: int | None, error: OptirelayError | None, *, works: bool = False
) -> None:
    """What came of a call. It was made: whatever the store says now must not make anybody repeat it."""
    with suppress(StoreUnavailable):
        async with store.transaction() as ledger:
            if number is not None:
                await ledger.budget.answered(number)
            if works:
                await ledger.problems.mended(ProblemKind.KEY_REFUSED, ProblemKind.OPTIMOVE_SILENT, subject=call)
            elif error is not None:
                kind = ProblemKind.KEY_REFUSED if isinstance(error, NeedsOperator) else ProblemKind.OPTIMOVE_SILENT
                mend = _REFUSED_MEND if isinstance(error, GiveUp) else _MENDS[kind]
                await ledger.problems.tell(kind, str(error), mend, subject=call)


_MENDS = {
    ProblemKind.KEY_REFUSED: "Check api_key, admin_api_key or metrics_token, and what it may do; what waits for it "
    "goes on by itself",
    ProblemKind.OPTIMOVE_SILENT: "Check api_url, or metrics_url, and Optimove's state; it is tried again by itself",
}
_REFUSED_MEND = "See what Optimove says, check api_url and the channel's ids; it is tried again by itself"


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn Optimove's errors into ours, at the one place where its answers come back."""
    try:
        yield
    except Unauthorized as error:
        raise NeedsOperator(str(error)) from error
    except RateLimited as error:
        raise TooManyCalls(str(error), after=error.retry_after) from error
    except TooLong as error:
        mend = f"{error}; lower the tenant's page_size"
        raise (TryLater if error.repeatable else InDoubt)(mend) from error
    except (NoAnswer, Broken) as error:  # it may have happened: only the call knows if twice does harm
        raise (TryLater if error.repeatable else InDoubt)(str(error)) from error
    except (CannotConnect, Moved) as error:
        raise TryLater(str(error)) from error
    except OptimoveError as error:
        raise GiveUp(str(error)) from error
