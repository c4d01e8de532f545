"""Who gets which template, and when: the send details of Optimove's "customers" area."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from ._call import PAGE_SIZE, PagedCall, page_query
from ._read import (
    BOM,
    Unreadable,
    fold,
    read_id,
    read_json,
    read_list,
    read_note,
    read_optional_id,
    read_text,
    read_time,
)
from ._rows import attributes_query, read_attributes, read_customer

FEW = 16  # rows that are read one by one when one of them has a flaw
SPACE = re.compile(r"[ \t\r\n]*")


class SendDetail(msgspec.Struct, frozen=True, gc=False):  # a Struct, because a page makes 10,000 of them
    """One message to one customer, as Optimove planned it."""

    customer_id: str
    template_id: int
    scheduled_time: datetime  # aware, UTC; not before this the message may leave
    attributes: tuple[str | None, ...] = ()  # in the order asked for; None: null, or the row had fewer
    action_id: int | None = None  # 1: control group, never to be written to; in no row seen so far
    recipient_group_id: int | None = None  # None: not in the row, or no whole number; in no row seen so far

    def __repr__(self) -> str:
        """Without the attributes: they are personal data."""
        when = self.scheduled_time.isoformat()
        return f"SendDetail(customer_id={self.customer_id!r}, template_id={self.template_id}, scheduled_time={when})"


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that we received and cannot use; the rows around it stand."""

    raw: bytes = field(repr=False)  # the row's JSON, without the space between its parts
    why: str  # a sentence that names the field
    lacks_customer: bool = False  # it is an object, and its CustomerID is missing, null or blank


@dataclass(frozen=True, slots=True)
class SendDetailsPage:
    """The rows of one page in Optimove's order. $skip advances by its length; an empty page ends the reading."""

    rows: list[SendDetail | UnreadableRow] = field(repr=False)
    digest: bytes = b""  # of the answer: the same bytes, the same digest

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SendDetail | UnreadableRow]:
        return iter(self.rows)


def get_customer_send_details_by_channel(
    *, campaign_id: int, channel_id: int, attributes: Sequence[str], skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[SendDetailsPage]:
    """One page of the customers chosen for a channel of a campaign.

    `attributes` are real field names that the key may read; their values come in the same order. Optimove may send
    fewer rows than `top`, so only an empty page is the last one, and `skip` advances by the page's length. A row that
    cannot be read stays in its place as an UnreadableRow. ValueError for a name that is empty or holds ";", a negative
    `skip` and a `top` below 1.

    https://developer.optimove.com/reference/get_customers-getcustomersenddetailsbychannel
    """
    query = {
        "ChannelID": channel_id,
        "CampaignID": campaign_id,
        **page_query(skip, top),
        **attributes_query(attributes),
    }
    asked = len(attributes)
    return PagedCall(
        "GET",
        "/customers/GetCustomerSendDetailsByChannel",
        lambda body: read_send_details(body, asked),
        query=query,
    )


@dataclass(frozen=True, slots=True)
class CampaignSend:
    """One message to one customer over one channel, as GetCustomerSendDetailsByCampaign tells it."""

    customer_id: str
    channel_id: int
    scheduled_time: datetime  # aware, UTC
    send_id: str = ""  # the channel's own name for the sending; empty where it has none
    template_id: int | None = None  # None: not asked for


def get_customer_send_details_by_campaign(
    campaign_id: int, *, template_ids: bool = False, skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[list[CampaignSend]]:
    """One page of the customers chosen for a campaign, on all of its channels.

    `template_ids` asks for the template of each, too. ValueError for a negative `skip` and a `top` below 1. A row
    without customer, channel or time is unreadable. A key of the third-party role may be refused this call.

    https://docs.optimove.com/api-usage-guide; fields: github nicolasramy/optimove, github larvit/optimove_mocker
    """
    query: dict[str, str | int] = {"CampaignID": campaign_id}
    if template_ids:
        query["IncludeTemplateIDs"] = "true"
    query |= page_query(skip, top)
    return PagedCall("GET", "/customers/GetCustomerSendDetailsByCampaign", read_list(_read_campaign_send), query=query)


def _read_campaign_send(row: Mapping[str, Any]) -> CampaignSend:
    return CampaignSend(
        read_customer(row),
        read_id(row.get("channelid"), "ChannelID"),
        read_time(row.get("scheduledtime"), "ScheduledTime"),
        read_note(row.get("sendid"), "SendID"),
        read_optional_id(row.get("templateid"), "TemplateID"),
    )


def read_send_details(body: bytes, asked: int) -> SendDetailsPage:
    """A page whose rows hold `asked` attributes each. Unreadable only if it is no JSON array; a row never spoils it."""
    body = body.removeprefix(BOM)
    digest = blake2b(body, digest_size=16).digest()
    try:
        return SendDetailsPage([*_read_plain(body, asked)], digest)
    except FLAWS:
        return SendDetailsPage([*_read_rows([*_split(body)], asked)], digest)


OPTIONAL_KEYS = (b'"ActionID"', b'"RecipientGroupID"')
FLAWS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unreadable)


class _PlainRow(msgspec.Struct, gc=False):
    """A row as documented."""

    CustomerID: str | int
    TemplateID: int | str
    ScheduledTime: str
    CustomerAttributes: tuple[str | None, ...] | None = None
    ActionID: int | str | None = None
    RecipientGroupID: int | str | None = None


_PLAIN_ROWS = msgspec.json.Decoder(list[_PlainRow])
_RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


def _read_plain(body: bytes, asked: int) -> Iterator[SendDetail]:
    """The fast way, for rows without a flaw; any flaw is one of FLAWS. (msgspec lets no lone surrogate through.)"""
    folded = body.lower()
    if rb"\u0000" in body or any(folded.count(key.lower()) != body.count(key) for key in OPTIONAL_KEYS):
        raise Unreadable("There may be a NUL, or an optional key in another spelling")
    times: dict[str, datetime] = {}  # most rows of a page share theirs
    for row in _PLAIN_ROWS.decode(body):
        time = times.get(row.ScheduledTime)
        if time is None:
            time = times[row.ScheduledTime] = read_time(row.ScheduledTime)
        values = (row.CustomerAttributes or ()) if asked else ()
        if len(values) != asked:
            raise Unreadable("CustomerAttributes has another length")
        customer_id = row.CustomerID
        yield SendDetail(
            str(customer_id) if isinstance(customer_id, int) else read_text(customer_id, "CustomerID"),
            read_id(row.TemplateID, "TemplateID"),
            time,
            values,
            None if row.ActionID is None else read_optional_id(row.ActionID, "ActionID"),
            None if row.RecipientGroupID is None else _read_group_id(row.RecipientGroupID),
        )


def _read_rows(raws: list[bytes], asked: int) -> Iterator[SendDetail | UnreadableRow]:
    """Halves the page until a flaw is among few, so that one broken row does not make 10,000 slow."""
    if len(raws) <= FEW:
        yield from (_read_row(raw, asked) for raw in raws)
        return
    for half in (raws[: len(raws) // 2], raws[len(raws) // 2 :]):
        try:
            yield from [*_read_plain(b"[%b]" % b",".join(half), asked)]
        except FLAWS:
            yield from _read_rows(half, asked)


def _read_row(raw: bytes, asked: int) -> SendDetail | UnreadableRow:
    """The slow way, which knows every spelling and form seen."""
    try:
        row = fold(_LENIENT.decode(raw.decode(errors="surrogateescape")))
        return SendDetail(
            _read_customer_id(row.get("customerid")),
            read_id(row.get("templateid"), "TemplateID"),
            read_time(row.get("scheduledtime"), "ScheduledTime"),
            read_attributes(row.get("customerattributes", row.get("customerattribute")), asked),
            read_optional_id(row.get("actionid"), "ActionID"),
            _read_group_id(row.get("recipientgroupid")),
        )
    except Unreadable as error:
        return UnreadableRow(_compact(raw), str(error), isinstance(error, _NoCustomer))
    except (ValueError, RecursionError):
        return UnreadableRow(_compact(raw), "The row is not JSON")


def _read_group_id(value: object) -> int | None:
    """The group only says how a message is reported: what is no whole number spoils no row."""
    try:
        return read_optional_id(value, "RecipientGroupID")
    except Unreadable:
        return None


class _Number(str):
    """A JSON number as it was written: an id keeps all its digits, an attribute its zeros."""

    __slots__ = ()


_LENIENT = json.JSONDecoder(strict=False, parse_int=_Number, parse_float=_Number)


def _split(body: bytes) -> Iterator[bytes]:
    """The JSON of each row. Unreadable if the body is no array."""
    try:
        yield from map(bytes, _RAW_ROWS.decode(body))
    except msgspec.ValidationError:
        read_json(body)
        raise Unreadable("is not a list") from None
    except (msgspec.DecodeError, RecursionError):
        yield from _split_leniently(body.decode(errors="surrogateescape"))


def _split_leniently(text: str) -> Iterator[bytes]:
    """As `_split`, also where a row has what msgspec takes for no JSON at all, such as half a surrogate pair."""
    at = _skip_space(text, 0)
    if text[at : at + 1] != "[":
        raise Unreadable("is not JSON")
    at = _skip_space(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        try:
            end = _LENIENT.raw_decode(text, at)[1]
        except (ValueError, RecursionError) as error:
            raise Unreadable("is not JSON") from error
        yield text[at:end].encode(errors="surrogateescape")
        at = _skip_space(text, end)
        if more := text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
    if text[at : at + 1] != "]" or _skip_space(text, at + 1) != len(text):
        raise Unreadable("is not JSON")


def _skip_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


class _NoCustomer(Unreadable):
    """A row that names nobody."""


def _read_customer_id(value: object) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _NoCustomer(f"CustomerID is {'missing' if value is None else 'empty'}")
    if not isinstance(value, _Number):
        return read_text(value, "CustomerID")
    try:
        return str(int(value))
    except ValueError:
        raise Unreadable("CustomerID is neither a text nor a whole number") from None


def _compact(raw: bytes) -> bytes:
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.MsgspecError, RecursionError):
        return raw
