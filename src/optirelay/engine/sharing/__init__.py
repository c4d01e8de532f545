"""What customers said of channels is told to Optimove, by the way that each channel's settings name."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from optirelay.clock import utc_now
from optirelay.engine.context import Context, ask
from optirelay.engine.sharing.by_file import share_by_file
from optirelay.engine.sharing.results import (
    RESULT_WITHIN,
    has_attribute,
    read_back_overdue,
    settle_results,
)
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError
from optirelay.model import ChannelName, ProblemKind, TenantId
from optirelay.settings import ByAttribute, ByFile, ByPreference, ChannelSettings, Settings
from optirelay.stages import subscriptions
from optirelay.store import StoreUnavailable
from optirelay.store.sharing import Failure, SharedChannel, ToTell

REFUSED_IN_A_ROW = 3  # customers told one by one; then it is not they who are refused
LONGEST_WORDS = 200  # of Optimove, kept with a customer
REFUSED = "refused"
log = structlog.get_logger()
Tell = Callable[[int, Sequence[ToTell]], Awaitable[None]]
"""Makes a call for these customers, and writes that it was answered."""


def shared_channels(settings: Settings) -> list[SharedChannel]:
    """The channels whose opt-ins Optimove is told of."""
    return [
        SharedChannel(
            TenantId(tenant),
            ChannelName(name),
            channel.batch_file.every if isinstance(channel.opt_in, ByFile) else None,
            isinstance(channel.opt_in, ByFile) and channel.batch_file.content == "full",
        )
        for tenant, of_tenant in settings.tenants.items()
        for name, channel in of_tenant.channels.items()
        if channel.opt_in is not None
    ]


async def to_share(ctx: Context) -> list[tuple[TenantId, ChannelName]]:
    """Read what Optimove said of earlier calls; then, the channels of which it does not know all that was said."""
    async with ctx.store.transaction() as everyone:
        answered = await everyone.with_results()
    for tenant in answered:
        while await settle_results(ctx, tenant):
            pass
    async with ctx.store.transaction() as everyone:
        return await everyone.to_share(shared_channels(ctx.settings), utc_now(), RESULT_WITHIN)


async def tell_opt_ins(ctx: Context, tenant: TenantId, channel: ChannelName, *, file_now: bool = False) -> bool:
    """Tell Optimove what it does not know yet of a channel's opt-ins; False where somebody else is at it.

    The newest state alone is told, and what may have been lost is told again: a value replaces the one before. What
    goes wrong pauses the channel, longer each time, and is raised.
    """
    async with ctx.store.tenant(tenant).if_alone(f"opt-ins {channel}") as alone:
        if not alone:
            return False
        settings = ctx.channel_settings(tenant, channel)
        try:
            await _begin(ctx, tenant, channel, settings)
            match settings.opt_in:
                case ByAttribute(name):
                    if await has_attribute(ctx, tenant, channel, name):
                        await _tell_all(ctx, tenant, channel, *_by_attribute(ctx, tenant, settings, name))
                        await read_back_overdue(ctx, tenant, channel, name)
                case ByPreference():
                    await _tell_all(ctx, tenant, channel, *_by_preference(ctx, tenant, settings))
                case ByFile(directory):
                    await share_by_file(ctx, tenant, channel, directory, now=file_now)
        except StoreUnavailable:
            raise
        except OptirelayError as error:
            await _wait(ctx, tenant, channel, error)
            raise
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await ledger.sharing.works(channel)
            await ledger.problems.mended(ProblemKind.OPTIN_FAILED, channel=channel, subject=REFUSED)
        return True


async def tell_anew(ctx: Context, tenant: TenantId, channel: ChannelName) -> None:
    """Nothing is known to have arrived: all that customers said of the channel is told again."""
    last: str | None = ""
    while last is not None:
        async with ctx.store.tenant(tenant).transaction() as ledger:
            last = await ledger.sharing.untell(channel, last)


async def _begin(ctx: Context, tenant: TenantId, channel: ChannelName, settings: ChannelSettings) -> None:
    """By another way than before everybody is told anew; what a worker left that died is taken back."""
    store, route = ctx.store.tenant(tenant), subscriptions.route_of(settings)
    async with store.transaction() as ledger:
        known = await ledger.sharing.route(channel)
        open_calls = await ledger.sharing.calls(channel)
    if known is None or known.route != route:
        for call in open_calls:
            async with store.transaction() as ledger:
                await ledger.sharing.close_call(call.id)
        if known is not None:
            log.info("opt_ins_by_another_way", tenant=tenant, channel=channel)
            await tell_anew(ctx, tenant, channel)
        async with store.transaction() as ledger:
            await ledger.sharing.keep_route(channel, route)
        return
    for call in open_calls:
        if call.state == "made":
            async with store.transaction() as ledger:
                await ledger.sharing.take_back(channel, call.id)


async def _wait(ctx: Context, tenant: TenantId, channel: ChannelName, error: OptirelayError) -> None:
    """The channel is tried again later. What Optimove refuses as a whole is a problem, and files that do not go."""
    by_file = isinstance(ctx.channel_settings(tenant, channel).opt_in, ByFile)
    async with ctx.store.tenant(tenant).transaction() as ledger:
        known = await ledger.sharing.route(channel)
        if known is not None:
            await ledger.sharing.waits(channel, utc_now() + subscriptions.pause_after(known.waits))
        if by_file or isinstance(error, GiveUp | NeedsOperator):  # other calls tell of themselves
            await ledger.problems.tell(
                ProblemKind.OPTIN_FAILED,
                f"Opt-ins of channel {channel} cannot be shared: {str(error)[:LONGEST_WORDS]}",
                "Check the channel's opt_in and batch_file, its ids and what the key may do; it is tried again by "
                "itself",
                channel=channel,
                subject=REFUSED,
            )


def _by_attribute(ctx: Context, tenant: TenantId, settings: ChannelSettings, name: str) -> tuple[str, int, Tell]:
    of_tenant = ctx.settings.tenants[tenant]
    most = of_tenant.optimove.attributes_per_call

    async def tell(call: int, people: Sequence[ToTell]) -> None:
        url = subscriptions.results_url(ctx.settings.service.public_url, of_tenant, call)
        values = subscriptions.values_call(name, people, settings, url, limit=most)
        request_id = await ask(ctx, tenant, values, tells_refusal=False, admin=True)
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await ledger.sharing.answered(call, request_id, utc_now())

    return "UpdateCustomerAttributes", most, tell


def _by_preference(ctx: Context, tenant: TenantId, settings: ChannelSettings) -> tuple[str, int, Tell]:
    most = ctx.settings.tenants[tenant].optimove.preferences_per_call

    async def tell(call: int, people: Sequence[ToTell]) -> None:
        for preference in subscriptions.preference_calls(people, settings, limit=most):
            await ask(ctx, tenant, preference, tells_refusal=False)
        async with ctx.store.tenant(tenant).transaction() as ledger:
            await ledger.sharing.close_call(call)

    return "SetCustomerChannelPreference", most, tell


async def _tell_all(ctx: Context, tenant: TenantId, channel: ChannelName, name: str, most: int, tell: Tell) -> None:
    """Call by call. Where Optimove refuses one, it is told in halves, until whom it does not take stands alone."""
    groups, size, alone = _Groups(ctx, tenant, channel), most, 0
    while (group := await groups.next(name, size)) is not None:
        call, people = group
        try:
            await tell(call, people)
        except GiveUp as error:
            if len(people) == 1:
                alone += 1
                if alone == REFUSED_IN_A_ROW:
                    await groups.take_back(call, people)
                    raise
                await groups.fail(call, people, str(error)[:LONGEST_WORDS])
            else:
                size = (len(people) + 1) // 2
                await groups.take_back(call, people)
        except OptirelayError:
            await groups.take_back(call, people)
            raise
        else:
            size, alone = min(2 * size, most), 0


class _Groups:
    """Customers of a channel who are to be told of, group by group: single changes always before the many."""

    def __init__(self, ctx: Context, tenant: TenantId, channel: ChannelName) -> None:
        self._store = ctx.store.tenant(tenant)
        self._channel = channel
        self._after = ""  # of the many: where they begin is searched but once

    async def next(self, name: str, size: int) -> tuple[int, list[ToTell]] | None:
        """A call and its customers; None: nobody is left."""
        while True:
            began = self._after == ""
            async with self._store.transaction() as ledger:
                now = utc_now()
                call = await ledger.sharing.open_call(self._channel, name, now)
                people = await ledger.sharing.take(self._channel, call, bulk=False, after="", limit=size, now=now)
                if not people:
                    people = await ledger.sharing.take(
                        self._channel, call, bulk=True, after=self._after, limit=size, now=now
                    )
                    self._after = people[-1].customer_id if people else ""
                if people:
                    return call, people
                await ledger.sharing.close_call(call)
            if began:
                return None

    async def take_back(self, call: int, people: Sequence[ToTell]) -> None:
        """They are told again, and first of all."""
        async with self._store.transaction() as ledger:
            await ledger.sharing.take_back(self._channel, call, [one.customer_id for one in people])
        self._after = ""

    async def fail(self, call: int, people: Sequence[ToTell], why: str) -> None:
        """Optimove does not take them; they are told again after a while."""
        customers, now = [one.customer_id for one in people], utc_now()
        async with self._store.transaction() as ledger:
            tries = await ledger.sharing.tries(self._channel, customers)
            again_at = subscriptions.again_at(why, tries, now)
            await ledger.sharing.fail(self._channel, call, [Failure(one, why, again_at) for one in customers])
            await ledger.sharing.close_call(call)
