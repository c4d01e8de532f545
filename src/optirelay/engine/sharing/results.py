"""What Optimove says, or does not say, of opt-ins that it was told through an attribute; and what it really has."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from optirelay.clock import utc_now
from optirelay.engine.context import Context, ask
from optirelay.engine.troubles import SHOWN_FOR, done_after_all
from optirelay.errors import OptirelayError
from optirelay.model import ChannelName, CustomerId, ProblemKind, TenantId
from optirelay.optimove import AttributeNotChanged, get_customer_attribute_list, get_customer_attributes
from optirelay.settings import ByAttribute
from optirelay.stages import attribute_results, subscriptions
from optirelay.stages.attribute_results import Added, Updated
from optirelay.store import Ledger, StoreUnavailable
from optirelay.store.sharing import CallOf, Failure, OpenCall, Result, Told

RESULT_WITHIN = timedelta(minutes=2)  # Optimove's pages say: within about a minute
CALL_KNOWN_WITHIN = timedelta(minutes=1)
MOST_RESULTS = 100  # read in one transaction
MOST_READ_BACK = 20  # customers of one call, or of one look at a channel
MOST_OVERDUE = 2  # calls looked after, one after the other: eight seconds by Optimove's budget
MOST_SILENT = 3  # customers at first of whom Optimove does not say what it has: then it is not asked on
DRIFT, NO_RESULT = "drift", "no result"
log = structlog.get_logger()


# --- the attribute ----------------------------------------------------------------------------------------------------


async def has_attribute(ctx: Context, tenant: TenantId, channel: ChannelName, name: str) -> bool:
    """Whether Optimove has the attribute by now; it is asked for once, and what came of it is told later."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        known = await ledger.sharing.attribute(name)
    if known is not None and known.added:
        return True
    if known is not None and known.asked_at > utc_now() - RESULT_WITHIN:
        return False
    if known is None:
        await _ask_for(ctx, tenant, channel, name)
    listed = await _is_listed(ctx, tenant, name)
    async with store.transaction() as ledger:
        if listed:
            await _added(ledger, channel, name)
        elif known is not None:
            await _not_told(ledger, channel, name, listed=listed)
    return bool(listed) or (known is not None and listed is None)


async def _ask_for(ctx: Context, tenant: TenantId, channel: ChannelName, name: str) -> None:
    store, settings = ctx.store.tenant(tenant), ctx.channel_settings(tenant, channel)
    async with store.transaction() as ledger:
        await ledger.sharing.ask_attribute(name, utc_now())
        call = await ledger.sharing.open_call(channel, "AddCustomerAttribute", utc_now())
    url = subscriptions.results_url(ctx.settings.service.public_url, ctx.settings.tenants[tenant], call)
    try:
        await ask(ctx, tenant, subscriptions.attribute_call(name, settings, url), tells_refusal=False, admin=True)
    except OptirelayError:
        async with store.transaction() as ledger:
            await ledger.sharing.forget_attribute(name)
            await ledger.sharing.close_call(call)
        raise
    async with store.transaction() as ledger:
        await ledger.sharing.answered(call, None, utc_now())
    log.info("attribute_asked_for", tenant=tenant, channel=channel, attribute=name)


async def _is_listed(ctx: Context, tenant: TenantId, name: str) -> bool | None:
    """Whether Optimove lists the attribute; None where it does not say."""
    try:
        attributes = await ask(ctx, tenant, get_customer_attribute_list(), tells=False, admin=True)
    except StoreUnavailable:
        raise
    except OptirelayError as error:
        log.info("attributes_not_listed", tenant=tenant, why=str(error))
        return None
    return any(attribute.real_field_name.lower() == name.lower() for attribute in attributes)


async def _added(ledger: Ledger, channel: ChannelName, name: str) -> None:
    await ledger.sharing.attribute_added(name)
    await _close_asking(ledger, channel)
    await done_after_all(ledger, "AddCustomerAttribute")
    await ledger.problems.mended(ProblemKind.OPTIN_FAILED, subject=_subject(name))


async def _close_asking(ledger: Ledger, channel: ChannelName) -> None:
    for call in await ledger.sharing.calls(channel):
        if call.call == "AddCustomerAttribute":
            await ledger.sharing.close_call(call.id)


async def _not_told(ledger: Ledger, channel: ChannelName, name: str, *, listed: bool | None) -> None:
    """Optimove has not said what came of the attribute. Where it does not list it, it is asked for again; where it
    cannot be asked, values are told all the same, and their results say whether there is one."""
    await _close_asking(ledger, channel)
    if listed is None:
        await ledger.sharing.attribute_added(name)
    else:
        await ledger.sharing.forget_attribute(name)
    await ledger.problems.tell(
        ProblemKind.OPTIN_FAILED,
        f"Optimove has not said within {RESULT_WITHIN.seconds // 60} minutes whether it added the attribute {name}",
        "Let Optimove reach public_url; it is tried again by itself",
        channel=channel,
        subject=_subject(name),
    )


def _subject(name: str) -> str:
    return f"attribute {name}"


# --- results ----------------------------------------------------------------------------------------------------------


async def settle_results(ctx: Context, tenant: TenantId) -> int:
    """Read what Optimove posted of attribute calls; how many results. Twice changes nothing.

    One whose address does not say which call it is about may have come before Optimove answered that with the same
    request id: for a minute it waits. One whose address does, and whose call is not open any more, has nothing to say.
    """
    async with ctx.store.tenant(tenant).transaction() as ledger:
        results = await ledger.sharing.results(MOST_RESULTS)
        settled = [await _settle(ledger, result) for result in results]
        return sum(settled)


async def _settle(ledger: Ledger, result: Result) -> bool:
    told = attribute_results.read(result.body)
    call = await ledger.sharing.call_of(result.call, told.request_id if isinstance(told, Updated) else "")
    early = result.call is None and utc_now() - result.received_at < CALL_KNOWN_WITHIN
    if isinstance(told, Updated) and call is None and early:
        return False
    await ledger.sharing.settle_results([result.id], readable=told is not None)
    match told:
        case Updated() as updated:
            if call is not None:
                await _end_call(ledger, call, updated)
        case Added() as added:
            if added.ok or added.exists_already:
                await _added(ledger, ChannelName("") if call is None else call.channel, added.name)
            else:
                await _not_added(ledger, call, added)
        case None:
            await ledger.problems.tell(
                ProblemKind.UNREADABLE_NOTIFICATION,
                "Optimove posted a result of an attribute call that cannot be read",
                "Ask Optimove what it sends; it is kept, and its call counts as not answered for",
                subject="attributes",
            )
    return True


async def _not_added(ledger: Ledger, call: CallOf | None, added: Added) -> None:
    """It is asked for again after a while; until then nothing is told by it."""
    await ledger.sharing.forget_attribute(added.name)
    if call is not None:
        known = await ledger.sharing.route(call.channel)
        waits = 0 if known is None else known.waits
        await ledger.sharing.waits(call.channel, utc_now() + subscriptions.pause_after(waits))
        await ledger.sharing.close_call(call.id)
    await ledger.problems.tell(
        ProblemKind.OPTIN_FAILED,
        f"Optimove has not added the attribute {added.name}: {added.reason}",
        "Have an attribute of that name made at Optimove, or name another in opt_in; it is tried again by itself",
        channel="" if call is None else call.channel,
        subject=_subject(added.name),
    )


async def _end_call(ledger: Ledger, call: CallOf, updated: Updated) -> None:
    """What was told is confirmed, but for those who were not taken: each with why, and told again where that helps."""
    errors = [(CustomerId(one.customer_id), one.reason) for one in updated.errors if one.customer_id]
    of_nobody = [one.reason for one in updated.errors if not one.customer_id]
    if not updated.ok and (of_nobody or not errors):  # whom it is about is not said: it may be anybody
        told = await ledger.sharing.told_by(call.channel, call.id, call.customers)
        errors = [*((one.customer_id, [*of_nobody, subscriptions.NOT_SAID][0]) for one in told), *errors]
    for name in {one.attribute for one in updated.errors if one.reason == AttributeNotChanged.INVALID_FIELD}:
        await ledger.sharing.forget_attribute(name)
    if errors:
        await _fail(ledger, call.channel, call.id, errors)
    await ledger.sharing.close_call(call.id)
    await tell_failures(ledger, call.channel)
    await ledger.problems.mended(ProblemKind.OPTIN_FAILED, channel=call.channel, subject=NO_RESULT)


async def _fail(ledger: Ledger, channel: ChannelName, call: int, errors: Sequence[tuple[CustomerId, str]]) -> None:
    tries, now = await ledger.sharing.tries(channel, [customer_id for customer_id, _ in errors]), utc_now()
    await ledger.sharing.fail(
        channel,
        call,
        [
            Failure(customer_id, why, subscriptions.again_at(why, tries, now))
            for customer_id, why in dict(errors).items()
        ],
    )


async def tell_failures(ledger: Ledger, channel: ChannelName) -> None:
    """The operator is told how many were not taken, and why, until there are none."""
    failures = await ledger.sharing.failures(channel)
    if not failures:
        await ledger.problems.mended(ProblemKind.OPTIN_FAILED, channel=channel, subject="")
        return
    listed = ", ".join(f"{row.why} {row.customers}" for row in failures)
    mends = "; ".join(dict.fromkeys(subscriptions.mend_of(row.why) for row in failures))
    await ledger.problems.tell(
        ProblemKind.OPTIN_FAILED,
        f"Optimove did not take what {sum(row.customers for row in failures)} customers said of channel {channel}: "
        f"{listed}",
        f"{mends[0].upper()}{mends[1:]}. `optirelay optins status --failed` names them",
        channel=channel,
    )


# --- reading back -----------------------------------------------------------------------------------------------------


async def read_back_overdue(ctx: Context, tenant: TenantId, channel: ChannelName, name: str) -> None:
    """Calls of which no result came in time are shown, and some of their customers read back: a few calls at a time,
    as whoever says something meanwhile waits."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        open_calls = await ledger.sharing.calls(channel)
    late = utc_now() - RESULT_WITHIN
    told = [call for call in open_calls if call.call == "UpdateCustomerAttributes"]
    for call in [call for call in told if call.answered_at is not None and call.answered_at < late][:MOST_OVERDUE]:
        await _read_back(ctx, tenant, channel, name, call)


async def _read_back(ctx: Context, tenant: TenantId, channel: ChannelName, name: str, call: OpenCall) -> None:
    """Where those who are read have what was told, the call counts as confirmed; else it is told again."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        people = await ledger.sharing.told_by(channel, call.id, MOST_READ_BACK)
    stands = [stands for _, stands in await _read_some(ctx, tenant, channel, name, people)]
    async with store.transaction() as ledger:
        if not stands:  # Optimove cannot be asked
            told = await ledger.sharing.told_by(channel, call.id, call.customers)
            await _fail(ledger, channel, call.id, [(one.customer_id, subscriptions.NO_RESULT) for one in told])
            await ledger.sharing.close_call(call.id)
            await tell_failures(ledger, channel)
            return
        if all(stands):
            await ledger.sharing.close_call(call.id)
        else:
            await ledger.sharing.take_back(channel, call.id)
        await ledger.problems.tell(
            ProblemKind.OPTIN_FAILED,
            f"Optimove has not said within {RESULT_WITHIN.seconds // 60} minutes what came of a call with "
            f"{call.customers} customers of channel {channel}; some were read back, and the call "
            f"{'has arrived' if all(stands) else 'is made again'}",
            "Let Optimove reach public_url; there is nothing else to do",
            channel=channel,
            subject=NO_RESULT,
        )


async def _read_some(
    ctx: Context, tenant: TenantId, channel: ChannelName, name: str, people: Sequence[Told]
) -> list[tuple[Told, bool]]:
    """Those of whom Optimove says what it has, and whether that is what it was told."""
    read: list[tuple[Told, bool]] = []
    silent = 0
    for one in people:
        stands = await _stands(ctx, tenant, channel, name, one)
        if stands is not None:
            read.append((one, stands))
        elif not read and (silent := silent + 1) == MOST_SILENT:
            break
    return read


async def _stands(ctx: Context, tenant: TenantId, channel: ChannelName, name: str, one: Told) -> bool | None:
    """Whether Optimove has of a customer what it was told; None where it cannot be asked, or does not know them."""
    expected = subscriptions.value_of(ctx.channel_settings(tenant, channel), opted_in=one.told)
    try:
        attributes = await ask(ctx, tenant, get_customer_attributes(one.customer_id), tells=False, admin=True)
    except StoreUnavailable:
        raise
    except (OptirelayError, ValueError) as error:  # or an id that no address can carry
        log.info("attributes_not_read", tenant=tenant, channel=channel, why=str(error))
        return None
    values = {row.real_field_name.lower(): row.value or "" for row in attributes}
    return values.get(name.lower(), "").lower() == expected.lower()  # capitals do not matter to Optimove


async def check_drift(ctx: Context, tenant: TenantId) -> None:
    """The next few customers of each channel are read back: what Optimove has lost, or somebody changed, is told again
    and shown for an hour at least."""
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        for subject in (DRIFT, NO_RESULT):
            await ledger.problems.shown_enough(ProblemKind.OPTIN_FAILED, SHOWN_FOR, subject=subject)
    for channel, settings in ctx.settings.tenants[tenant].channels.items():
        if isinstance(settings.opt_in, ByAttribute):
            await _check_some(ctx, tenant, ChannelName(channel), settings.opt_in.name)


async def _check_some(ctx: Context, tenant: TenantId, channel: ChannelName, name: str) -> None:
    store = ctx.store.tenant(tenant)
    async with store.transaction() as ledger:
        known = await ledger.sharing.route(channel)
        if known is None:
            return
        people = await ledger.sharing.confirmed_after(channel, known.checked_to, MOST_READ_BACK)
    read = await _read_some(ctx, tenant, channel, name, people)
    drifted = [one.customer_id for one, stands in read if not stands]
    async with store.transaction() as ledger:
        await ledger.sharing.checked_to(channel, people[-1].customer_id if len(people) == MOST_READ_BACK else "")
        if drifted:
            log.warning("opt_ins_drifted", tenant=tenant, channel=channel, customers=len(drifted))
            await ledger.sharing.drifted(channel, drifted)
            await ledger.problems.tell(
                ProblemKind.OPTIN_FAILED,
                f"Of {len(read)} customers of channel {channel} that were read back {len(drifted)} had another value "
                f"at Optimove than it was told",
                "They are told again by themselves; see who else changes the attribute there",
                channel=channel,
                subject=DRIFT,
            )
