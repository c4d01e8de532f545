"""Optimove's rows become recipients: who, which template, when, where, with what personalization."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from optirelay.addresses import matcher_of, reader_of
from optirelay.model import (
    CONTROL_GROUP,
    LARGEST_NUMBER,
    LONGEST_CUSTOMER_ID,
    LONGEST_VALUE,
    NOBODY,
    CampaignId,
    ChannelKind,
    CustomerId,
    Recipient,
    Skip,
    TemplateId,
)
from optirelay.optimove import (
    Call,
    SendDetail,
    SendDetailsPage,
    UnreadableRow,
    get_customer_send_details_by_channel,
)
from optirelay.settings import ChannelSettings

MOST_SAME_PAGES = 2  # rows that move may make two pages of a few rows alike, not three
MOST_TIMES = 4  # that a reading may bring as many rows as there are messages
FIRST_YEAR, LAST_YEAR = 1970, 9000  # of a send time, so that any setting can be added to it


@dataclass(frozen=True, slots=True)
class Tags:
    """The attributes asked of Optimove, in that order; the first is the address, read as the channel's kind has it, or
    finds somebody in our directory, which has the address."""

    address: str | None  # None: our directory has it
    personalization: tuple[str, ...]
    kind: ChannelKind = ChannelKind.EMAIL
    default_country: str | None = None  # of phone numbers that do not name theirs
    match: str | None = None  # what finds somebody in our directory; None: the customer's id

    @property
    def asked(self) -> tuple[str, ...]:
        """Each name once."""
        first = self.address or self.match
        return tuple(dict.fromkeys((*([] if first is None else [first]), *self.personalization)))


def never_ends(rows: int, *, same: int, received: int, handed_over: int) -> bool:
    """Whether a page of so many rows shows that its reading would go on for ever.

    `same` pages of the reading were the very same answer; it has `received` rows before this one, and the campaign
    `handed_over` different messages.
    """
    return rows > 0 and (same >= MOST_SAME_PAGES or received > MOST_TIMES * (handed_over + rows))


def tags_of(channel: ChannelSettings, *, default_country: str | None) -> Tags:
    """What a channel needs to know of each customer; the country is the tenant's."""
    return Tags(
        channel.address_attribute,
        channel.personalization,
        channel.kind,
        default_country,
        channel.match_attribute if channel.address_attribute is None else None,
    )


def page_call(
    campaign_id: CampaignId, channel: ChannelSettings, tags: Tags, *, skip: int, top: int
) -> Call[SendDetailsPage]:
    """The call for one page of a campaign's recipients on a channel with a scheduled_id."""
    assert channel.scheduled_id is not None
    return get_customer_send_details_by_channel(
        campaign_id=int(campaign_id), channel_id=channel.scheduled_id, attributes=tags.asked, skip=skip, top=top
    )


def read_rows(rows: Sequence[SendDetail | UnreadableRow], tags: Tags) -> list[Recipient]:
    """A recipient for each row, in their order; what is wrong with one is its `skip`.

    Where our directory has the addresses, what stands for one is what finds somebody there: an e-mail address or a
    phone number, or None where the customer's id does.
    """
    names = tags.asked
    wanted = frozenset(tags.personalization)
    country = tags.default_country
    read_address = matcher_of(country) if tags.address is None else reader_of(tags.kind, country)
    return [
        _nobody(row.raw, Skip.NO_CUSTOMER if row.lacks_customer else Skip.UNREADABLE)
        if isinstance(row, UnreadableRow)
        else _read_row(row, tags, names, wanted, read_address)
        for row in rows
    ]


def _nobody(row: bytes, skip: Skip) -> Recipient:
    """The same row twice is the same recipient."""
    return Recipient(CustomerId(NOBODY + sha256(row).hexdigest()), None, None, skip=skip)


def _read_row(
    row: SendDetail,
    tags: Tags,
    names: Sequence[str],
    wanted: frozenset[str],
    read_address: Callable[[str], str | None],
) -> Recipient:
    if (skip := _unusable(row)) is not None:
        return _nobody(repr((row, row.attributes)).encode(), skip)
    customer_id, template_id = CustomerId(row.customer_id), TemplateId(row.template_id)
    group = _read_group(row.recipient_group_id)
    if row.action_id == CONTROL_GROUP:
        return Recipient(customer_id, template_id, row.scheduled_time, skip=Skip.CONTROL_GROUP, group=group)
    values = {
        name: value
        for name, value in zip(names, row.attributes, strict=True)
        if value and (text := value.strip()) and text != "NULL"  # a blank one and a NULL say nothing
    }
    address = None
    if (first := tags.address or tags.match) is not None:
        written = values.get(first)
        address = None if written is None else read_address(written)
        if address is None:
            skip = Skip.NO_ADDRESS if written is None or tags.address is None else Skip.BAD_ADDRESS
        if first not in wanted:
            values.pop(first, None)
    return Recipient(
        customer_id,
        template_id,
        row.scheduled_time,
        address,
        values,
        skip,
        group,
    )


def _unusable(row: SendDetail) -> Skip | None:
    """What Optimove may write and we cannot keep or send: such a row is like one that cannot be read."""
    if row.customer_id.strip() == "NULL":
        return Skip.NO_CUSTOMER
    if (
        len(row.customer_id) > LONGEST_CUSTOMER_ID
        or row.template_id > LARGEST_NUMBER
        or not FIRST_YEAR <= row.scheduled_time.year <= LAST_YEAR
    ):
        return Skip.UNREADABLE
    for value in row.attributes:
        if value and len(value) > LONGEST_VALUE:
            return Skip.UNREADABLE
    return None


def _read_group(group: int | None) -> int | None:
    """1 is the group of all whom Optimove puts into none."""
    return None if group is None or group == 1 or group > LARGEST_NUMBER else group
