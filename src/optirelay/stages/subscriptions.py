"""How Optimove is told who opted in: by which way, with which values, and what to make of its answers."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from optirelay.optimove import AttributeNotChanged, Call, NewAttributeValues
from optirelay.optimove import add_customer_attribute as add_attribute
from optirelay.optimove import set_customer_channel_preference as set_preference
from optirelay.optimove import update_customer_attributes as update_attributes
from optirelay.settings import ByAttribute, ByFile, ByPreference, ChannelSettings, TenantSettings

USUAL_LENGTH = 50  # of an attribute's value
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)  # of a channel
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(days=1)  # of a customer whom Optimove did not take
NO_RESULT = "NO_RESULT"
"""Why somebody is shown as failed of whom Optimove has said nothing, and cannot be asked."""
NOT_SAID = "NOT_SAID"
"""Optimove says that a change failed, and not why."""
_MENDS = {
    AttributeNotChanged.INVALID_CUSTOMER: "Optimove does not know these customers: they are told again when they say "
    "something new, or by `optirelay optins push`",
    AttributeNotChanged.INVALID_FIELD: "the attribute is asked for again by itself",
    AttributeNotChanged.INVALID_VALUE: "write values in opt_in_values that fit the attribute's type at Optimove",
    AttributeNotChanged.TEMPORARILY_UNAVAILABLE: "ask Optimove's support to open the attribute for changes; it is "
    "tried again by itself",
    NO_RESULT: "let Optimove reach public_url, then `optirelay optins push`",
}
_NO_USE = (AttributeNotChanged.INVALID_CUSTOMER, AttributeNotChanged.INVALID_VALUE)


def route_of(channel: ChannelSettings) -> str:
    """Way and values by which a channel's opt-ins are told: where these change, everybody is told anew."""
    match channel.opt_in:
        case ByAttribute():
            said: Sequence[object] = channel.opt_in_values
        case ByPreference():
            said = (*channel.communication_modes, *channel.channel_ids, *sorted(channel.apps))
        case ByFile():
            files = channel.batch_file
            said = (files.format, *(files.columns or ()), *files.values)
        case None:
            return ""
    return " ".join(map(str, (channel.opt_in, *said)))


def results_url(public_url: str, tenant: TenantSettings, call: int) -> str:
    """Where Optimove posts what came of a call."""
    secret = tenant.listener_secrets[0].reveal()
    return f"{public_url.rstrip('/')}/optimove/{tenant.name}/{secret}/attributes?call={call}"


def attribute_call(name: str, channel: ChannelSettings, url: str) -> Call[None]:
    """Have customers get the attribute. Who never said anything has the value by which the channel takes them."""
    longest = max(USUAL_LENGTH, *map(len, channel.opt_in_values))
    plain = all(map(str.isascii, channel.opt_in_values))
    unsaid = value_of(channel, opted_in=not channel.require_opt_in)
    return add_attribute(name, f"{'' if plain else 'N'}VARCHAR({longest})", default_value=unsaid, callback_url=url)


def values_call(
    name: str, people: Sequence[tuple[str, bool]], channel: ChannelSettings, url: str, *, limit: int
) -> Call[str | None]:
    """Tell the attribute's values of these customers."""
    changes = [
        NewAttributeValues(customer_id, {name: value_of(channel, opted_in=opted_in)})
        for customer_id, opted_in in people
    ]
    return update_attributes(changes, callback_url=url, limit=limit)


def value_of(channel: ChannelSettings, *, opted_in: bool) -> str:
    """The attribute's value of who opted in, or out."""
    return channel.opt_in_values[0 if opted_in else 1]


def preference_calls(
    people: Sequence[tuple[str, bool]], channel: ChannelSettings, *, limit: int
) -> Iterator[Call[None]]:
    """Tell the mode of these customers on each id of the channel, and in each of its apps; first who opted out."""
    for opted_in in (False, True):
        mode = channel.communication_modes[0 if opted_in else 1]
        customers = [customer_id for customer_id, said in people if said is opted_in]
        for channel_id in channel.channel_ids if customers else ():
            for app in channel.apps or (None,):
                yield set_preference(channel_id, customers, mode, app_id=app, limit=limit)


def pause_after(waits: int) -> timedelta:
    """How long a channel waits that was tried so often in vain."""
    return min(FIRST_PAUSE * (1 << min(waits, 16)), LONGEST_PAUSE)


def again_at(why: str, tries: int, now: datetime) -> datetime | None:
    """When a customer is told again whom Optimove did not take; None: when they say something new."""
    return None if why in _NO_USE else now + min(FIRST_WAIT * (1 << min(tries, 16)), LONGEST_WAIT)


def mend_of(why: str) -> str:
    """What helps, in half a sentence."""
    return _MENDS.get(why, "see what Optimove says; it is tried again by itself")
