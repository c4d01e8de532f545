"""A notification of a customer who met a trigger becomes one message: to whom, by which template, with what."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b, sha256
from typing import Any

from msgspec.structs import replace

from optirelay.addresses import matcher_of, reader_of
from optirelay.model import (
    CONTROL_GROUP,
    LARGEST_NUMBER,
    LONGEST_CUSTOMER_ID,
    LONGEST_VALUE,
    NOBODY,
    CampaignId,
    CustomerId,
    Fired,
    Notification,
    Recipient,
    Skip,
    TemplateId,
    Triggered,
    day_of,
)
from optirelay.scalars import read_number, read_text
from optirelay.settings import ChannelSettings

FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2199, 1, 1)  # that a sid has room for
LONGEST_ID = 100  # characters, of an action
LONGEST_TRIGGER = 500  # characters, of a trigger's name
_OURS = frozenset(
    {
        *("eventtypeid", "timestamp", "tenantid", "triggername", "customerid", "campaignid", "actionid", "actionname"),
        *("channelid", "templateid", "templatename", "promocode", "promocodes", "notes", "personalization"),
    }
)
"""What a body says of itself, in small letters; whatever else stands beside it is a parameter of the event.

https://developer.optimove.com/docs/integrate-your-service-with-optimove names what there is, public connectors how it
is spelled.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a channel reads triggers: which tag has the address, in small letters, and what makes one of it.

    With a `directory` the tag has what finds somebody in ours, which has the address; None: the customer's id does.
    """

    address: str | None
    read_address: Callable[[str], str | None]
    directory: bool = False


def reading_of(channel: ChannelSettings, *, default_country: str | None) -> Reading:
    """How this channel reads; the country is the tenant's, of phone numbers."""
    if channel.address_attribute is not None:
        return Reading(channel.address_attribute.lower(), reader_of(channel.kind, default_country))
    match = channel.match_attribute
    return Reading(None if match is None else match.lower(), matcher_of(default_country), directory=True)


def read(
    notification: Notification, campaign_id: CampaignId, digest: bytes, received_at: datetime, reading: Reading
) -> Triggered:
    """The one message that a notification of type 11 asks for; what is wrong with it is the recipient's `skip`.

    Keys without regard to case, ids as numbers or text. Addresses and tags stand in `personalization`, or beside it.
    Two bodies are one message when customer, campaign, template, action and time stamp are equal as read; without a
    time stamp, when the bytes are, of which `digest` is the hash.

    Where our directory has the addresses, what stands for one is what finds somebody there: an e-mail address or a
    phone number, or None where the customer's id does.
    """
    fields = {key.lower(): value for key, value in notification.fields.items()}
    action_id = _action_id(fields.get("actionid"))
    fired = Fired(read_text(fields.get("triggername")), action_id, _promo_codes(fields))
    return Triggered(
        campaign_id,
        _day(notification.occasion, received_at),
        _occurrence(notification.occasion, action_id, digest),
        _recipient(notification.fields, fields, fired, digest, received_at, reading),
        _shown(fired),
    )


def as_erased(one: Triggered, customer_id: CustomerId | None, *, suppressed: bool) -> Triggered:
    """The same without all that is personal, and skipped, where something stands for the customer, who was erased."""
    if customer_id is None:
        return one
    skip = Skip.SUPPRESSED if suppressed else Skip.ERASED
    whose = Recipient(customer_id, one.recipient.template_id, one.recipient.send_at, skip=skip)
    return replace(one, recipient=whose, fired=Fired(one.fired.trigger, one.fired.action_id))


def _recipient(
    said: Mapping[str, Any],
    fields: Mapping[str, Any],
    fired: Fired,
    digest: bytes,
    received_at: datetime,
    reading: Reading,
) -> Recipient:
    template_id = read_number(fields.get("templateid"), LARGEST_NUMBER)
    tags = _tags(said, fields.get("personalization"))
    customer_id = read_text(fields.get("customerid"))
    if template_id is None or not _can_be_kept(customer_id, fired, tags):
        return Recipient(_stranger(digest), None, received_at, skip=Skip.UNREADABLE)
    written = None
    if reading.address is not None:
        written = {name.lower(): value for name, value in tags.items()}.get(reading.address)
    address = None if written is None else reading.read_address(written)
    skip = None
    if fired.action_id == str(CONTROL_GROUP):
        skip = Skip.CONTROL_GROUP
    elif address is None:
        skip = _lacking(reading, customer_id, written)
    if customer_id is None:  # an anonymous visitor: who that is, only the address says
        customer_id = _stranger(sha256(address.lower().encode()).digest() if address else digest)
    return Recipient(CustomerId(customer_id), TemplateId(template_id), received_at, address, tags, skip)


def _lacking(reading: Reading, customer_id: str | None, written: str | None) -> Skip | None:
    """Why somebody without an address is not written to; None: our directory may have it under the customer's id."""
    if written is not None:
        return Skip.NO_ADDRESS if reading.directory else Skip.BAD_ADDRESS
    if customer_id is None:
        return Skip.NO_CUSTOMER
    return None if reading.address is None else Skip.NO_ADDRESS


def _stranger(digest: bytes) -> CustomerId:
    return CustomerId(NOBODY + digest.hex())


def _day(occasion: str | None, received_at: datetime) -> date:
    """The day of the time stamp: the same notification has the same one whenever it comes again."""
    day = day_of(received_at)
    with suppress(ValueError, OverflowError):  # no time at all; one that other zones have no year for
        stamped = None if occasion is None else datetime.fromisoformat(occasion)
        if stamped is not None and stamped.tzinfo is not None:
            day = stamped.astimezone(UTC).date()
    return min(max(day, FIRST_DAY), LAST_DAY)


def _occurrence(occasion: str | None, action_id: str | None, digest: bytes) -> bytes:
    if occasion is None:
        return digest
    return blake2b(f"{action_id or ''}\0{occasion}".encode(), digest_size=16).digest()


def _tags(said: Mapping[str, Any], personalization: Any) -> dict[str, str]:
    """Names as Optimove spells them; those in `personalization` before those beside it."""
    inside = dict(_values(personalization.items())) if isinstance(personalization, Mapping) else {}
    known = _OURS.union(map(str.lower, inside))
    beside = dict(_values((name, value) for name, value in said.items() if name.lower() not in known))
    return beside | inside


def _values(values: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """What says something, as text; lists and objects have no text."""
    for name, value in values:
        match value:
            case str():
                if (text := value.strip()) and text != "NULL":
                    yield name, value
            case bool():
                yield name, "true" if value else "false"
            case int():
                yield name, str(value)
            case float():
                yield name, repr(value)


def _promo_codes(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Public connectors read an array of texts; one text alone is one code."""
    codes = fields.get("promocode") or fields.get("promocodes")
    listed = codes if isinstance(codes, list) else [codes]
    return tuple(text for code in listed if (text := read_text(code)) is not None)


def _action_id(value: Any) -> str | None:
    """A number without zeros in front, or another word."""
    number = read_number(value, LARGEST_NUMBER)
    return read_text(value) if number is None else str(number)


def _can_be_kept(customer_id: str | None, fired: Fired, tags: Mapping[str, str]) -> bool:
    """Whether the ledger has room for it; it holds no NUL."""
    texts = [customer_id or "", fired.action_id or "", fired.trigger or "", *fired.promo_codes, *tags, *tags.values()]
    return (
        len(customer_id or "") <= LONGEST_CUSTOMER_ID
        and len(fired.action_id or "") <= LONGEST_ID
        and len(fired.trigger or "") <= LONGEST_TRIGGER
        and max(map(len, texts)) <= LONGEST_VALUE
        and "\0" not in "".join(texts)
    )


def _shown(fired: Fired) -> Fired:
    """What the ledger keeps of it even where it cannot keep all."""
    if _can_be_kept(None, fired, {}):
        return fired
    return Fired()
