"""Our words as frozen types: no I/O and no spelling of anybody's wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NewType

import msgspec

MESSAGES_PER_BATCH = 1000
"""At most; a message's number is its batch of birth times this, and its place in it."""
LARGEST_NUMBER = 2**31 - 1
"""Optimove's ids are such numbers, and ours of templates."""
LONGEST_CUSTOMER_ID = 500
"""Characters; more has no room in an index."""
LONGEST_VALUE = 64 * 1024
"""Characters of one tag's value; a group holds 1,000 recipients in memory."""
CONTROL_GROUP = 1
"""The action of customers who were chosen to be left alone.

https://developer.optimove.com/reference/get_customers-getcustomeronetimeactionsbycampaign
"""
NOBODY = "raw:"
"""How the customer id of a message begins that is to nobody whom Optimove named."""
ERASED = "erased:"
"""How the customer id of a message begins whose person was erased, and the address of a suppression of theirs; a keyed
hash follows."""
TenantId = NewType("TenantId", str)
"""The name that a tenant has in the settings."""
ChannelName = NewType("ChannelName", str)
"""The name that a channel has in its tenant's settings."""
CampaignId = NewType("CampaignId", str)
"""Optimove's id of a campaign."""
CustomerId = NewType("CustomerId", str)
"""Optimove's id of a customer; zeros in front count."""
TemplateId = NewType("TemplateId", int)
AppId = NewType("AppId", str)
"""The id by which Optimove knows one of our templates."""
Sid = NewType("Sid", str)
"""Our id of one message, told to providers; the same on every try."""


class ChannelKind(StrEnum):
    """What a channel carries."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    INAPP = "inapp"


class CampaignKind(StrEnum):
    """How a campaign reaches us."""

    SCHEDULED = "scheduled"
    TRIGGERED = "triggered"


class CampaignState(StrEnum):
    """Where a campaign stands, as `campaigns show` tells it."""

    FETCHING = "fetching"
    WAITING = "waiting"
    SENDING = "sending"
    PAUSED = "paused"
    HELD = "held"
    COMPLETE = "complete"
    CANCELLED = "cancelled"


class MessageState(StrEnum):
    """Where a message stands."""

    PLANNED = "planned"
    SENDING = "sending"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"


class Skip(StrEnum):
    """Why somebody whom Optimove chose is not written to."""

    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    NOT_ALLOWED = "not_allowed"
    OPTED_OUT = "opted_out"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MISSING_PERSONALIZATION = "missing_personalization"
    UNKNOWN_TEMPLATE = "unknown_template"
    NO_CUSTOMER = "no_customer"
    CONTROL_GROUP = "control_group"
    UNREADABLE = "unreadable"
    ERASED = "erased"


class Refusal(StrEnum):
    """Why a message that was to leave never will."""

    REJECTED = "rejected"
    TOO_MANY_TRIES = "too_many_tries"
    RENDER_FAILED = "render_failed"
    GIVEN_UP = "given_up"


class EventKind(StrEnum):
    """What a provider can tell of a message after it was handed over."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FAILED = "failed"
    REPLIED = "replied"


class Contract(StrEnum):
    """What a repeat does at a provider; decides what becomes of a message in doubt."""

    KEYED = "keyed"  # the provider knows our sid: a repeat is the same message
    REPLACEABLE = "replaceable"  # a repeat takes the place of the first on the device
    HOLD = "hold"  # a repeat may reach the person twice: never repeat by itself


class InDoubtRule(StrEnum):
    """What happens by itself to a message that was begun and not answered for."""

    HOLD = "hold"  # it waits for a later answer or an operator
    REPEAT = "repeat"  # it is sent again with the same sid
    GIVE_UP = "give_up"  # it is refused


class ProblemKind(StrEnum):
    """What the operator can be told; each with its meaning and mend in docs/reference/problems.md."""

    UNREADABLE_NOTIFICATION = "unreadable_notification"
    TOLD_AFTER_CANCEL = "told_after_cancel"
    UNKNOWN_CHANNEL_ID = "unknown_channel_id"
    UNKNOWN_TEMPLATE = "unknown_template"
    BATCH_SET_ASIDE = "batch_set_aside"
    MESSAGE_IN_DOUBT = "message_in_doubt"
    REPORT_IN_DOUBT = "report_in_doubt"
    CHANNEL_WAITING = "channel_waiting"
    CHANNEL_STOPPED = "channel_stopped"
    KEY_REFUSED = "key_refused"
    OPTIMOVE_SILENT = "optimove_silent"
    SYNC_FAILED = "sync_failed"
    LISTENER_MOVED = "listener_moved"
    TEMPLATE_DRIFT = "template_drift"
    OPTIN_FAILED = "optin_failed"
    RELOAD_FAILED = "reload_failed"
    CLOCK_OFF = "clock_off"


class Share(StrEnum):
    """Who calls Optimove with a key: where its budget is short, each has a fair part of it."""

    PAGES = "pages"  # of recipients
    REPORTS = "reports"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class KeyCall:
    """A call with a tenant's key that waits for its turn, or was made and still counts."""

    id: int
    share: str
    made_at: datetime | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Notification:
    """What Optimove told us: an event, mostly of one campaign, at times of one channel."""

    event_type: int
    campaign_id: CampaignId | None
    channel_id: int | None
    occasion: str | None  # its time stamp; None where it has none that can be read
    fields: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)  # all of it, as it came


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """What marketers' customers get to read, before personalization: Liquid in every text."""

    subject: str
    html: str
    text: str | None = None  # None: made from the HTML
    sender: str | None = None  # None: the channel's `from`
    required: tuple[str, ...] = ()  # without these a recipient is skipped
    app: AppId | None = None  # push: whose messages these are


class Recipient(msgspec.Struct, frozen=True, gc=False):  # a Struct, because a page makes 10,000 of them
    """One row of Optimove's, read: who gets which template, when and where.

    A `skip` says that nothing will be sent. A row that cannot be read, or names nobody, has `raw:` and its hash as
    customer, and neither template nor send time.
    """

    customer_id: CustomerId
    template_id: TemplateId | None
    send_at: datetime | None
    address: str | None = None
    personalization: Mapping[str, str] = msgspec.field(default_factory=dict)
    skip: Skip | None = None
    group: int | None = None  # the recipient group where Optimove names another than 1

    @property
    def occurrence(self) -> bytes:
        """What tells two messages of one template to one customer apart: the send time."""
        return b"" if self.send_at is None else _occurrence(self.send_at)

    def __repr__(self) -> str:
        """Without what is personal."""
        said = ("customer_id", "template_id", "send_at", "skip", "group")
        return f"Recipient({', '.join(f'{name}={getattr(self, name)!r}' for name in said)})"


class Contact(msgspec.Struct, frozen=True, gc=False):
    """Somebody in our directory, as one kind of channel needs them."""

    address: str | None  # of that kind
    attributes: str  # of the tenant's own, as JSON: names and texts

    def __repr__(self) -> str:
        """All of it is personal."""
        return "Contact(…)"


@lru_cache(maxsize=1024)
def _occurrence(moment: datetime) -> bytes:
    """Most rows of a page share theirs."""
    return round(moment.timestamp() * 1_000_000).to_bytes(8, "big", signed=True)


class Fired(msgspec.Struct, frozen=True, gc=False):
    """What fired one triggered message."""

    trigger: str | None = None  # its name
    action_id: str | None = None
    promo_codes: tuple[str, ...] = ()


class Triggered(msgspec.Struct, frozen=True, gc=False):
    """One notification of a customer who met a trigger, read: one message, to leave at once."""

    campaign_id: CampaignId
    day: date  # of its time stamp; without one, of its arrival
    occurrence: bytes  # what tells two messages of one template to one customer apart
    recipient: Recipient  # its send time is the arrival
    fired: Fired


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """At most 1,000 recipients of one campaign and one template, by send time; closed once it is in the ledger."""

    template_id: TemplateId | None
    recipients: tuple[Recipient, ...]


class Message(msgspec.Struct, frozen=True, gc=False):  # a Struct, because a group makes 1,000 of them
    """One text to one address, as the ledger hands it to a group that starts now."""

    number: int  # grows with the send time inside a batch
    sid: Sid
    customer_id: CustomerId
    address: str
    send_at: datetime
    personalization: Mapping[str, str]
    opted_in: bool | None = None  # what the customer said of the channel; None: nothing
    suppressed: bool = False  # whether nobody writes to the address
    fired: Fired | None = None  # None: a scheduled one

    def __repr__(self) -> str:
        """Without what is personal."""
        return f"Message(number={self.number!r}, sid={self.sid!r}, customer_id={self.customer_id!r})"


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """What a channel hands to its provider: one message, rendered.

    Where the channel takes whole mails, `content` is a message of RFC 5322, lines ended by CRLF, none longer than 998
    octets, and `sender` and `to` are the bare addresses of the envelope. Else there are `text` and, in e-mail, `html`,
    and `sender` is as the settings or the template spell it.
    """

    sid: Sid
    campaign_id: CampaignId
    customer_id: CustomerId
    template_id: TemplateId
    sender: str  # empty: none is named
    to: str
    subject: str  # e-mail; push and in-app: the title, empty where there is none
    send_at: datetime
    personalization: Mapping[str, str]
    unsubscribe_url: str
    content: bytes = b""
    text: str = ""
    html: str | None = None
    fired: Fired | None = None
    app: AppId | None = None  # push: the app whose message it is

    def __repr__(self) -> str:
        """Without what is personal."""
        return f"Outgoing(sid={self.sid!r}, campaign_id={self.campaign_id!r}, customer_id={self.customer_id!r})"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken responsibility for the message."""

    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The message never reached anybody and never will; `detail` is the provider's own words."""

    reason: Refusal
    detail: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing was sent, because the provider said no for now, or because it was never asked: then it was no try.

    `after` is how long the provider asked us to wait, if it did.
    """

    detail: str = field(default="", repr=False)
    after: timedelta | None = None
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The message was written and no answer came: it may have arrived."""

    detail: str = field(default="", repr=False)


Answer = Accepted | Refused | Later | Doubtful
"""What a channel learnt about one message."""


@dataclass(frozen=True, slots=True)
class FrozenCall:
    """One call to Optimove, to be kept as it is and sent once."""

    call: str
    event: str  # our word for what it tells; metrics tell several
    customers: int
    body: bytes = field(repr=False)
    additive: bool  # the same again would count twice
    oldest_at: datetime | None = None  # when the first of what it tells happened, where that must not be long ago


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One fact that a provider told of a message; the same `identity` again is the same event."""

    identity: bytes
    sid: str  # as the provider spells it: it may be nobody's
    name: str  # likewise
    kind: EventKind | None  # None: unrecognised
    at: datetime
    permanent: bool = False  # of a bounce: the address does not exist
    text: str | None = field(default=None, repr=False)  # of a reply


def is_nobody(customer_id: CustomerId) -> bool:
    """Whether Optimove named no customer: the row could not be read, or an anonymous visitor met a trigger."""
    return customer_id.startswith(NOBODY)


def is_erased(customer_id: CustomerId) -> bool:
    """Whether the person was erased: the id is a keyed hash."""
    return customer_id.startswith(ERASED)


def day_of(moment: datetime) -> date:
    """The day of an aware moment, in UTC: the days of reports and of the ledger."""
    return moment.astimezone(UTC).date()
