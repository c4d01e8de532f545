"""What is posted: one message, or several, in JSON. Fields may be added to it, none may vanish."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from optirelay.model import ChannelKind, Fired, Outgoing, is_nobody


class _Message(msgspec.Struct, frozen=True, gc=False, rename={"sender": "from"}):
    id: str
    tenant: str
    channel: str
    kind: str
    campaign_id: str
    customer_id: str | None
    template_id: int
    to: str
    sender: str | None
    subject: str | None
    text: str
    html: str | None
    personalization: Mapping[str, str]
    unsubscribe_url: str
    send_at: datetime
    trigger: str | None
    action_id: str | None
    promo_codes: Sequence[str]
    app_id: str | None


class _Several(msgspec.Struct, frozen=True, gc=False):
    messages: Sequence[_Message]


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    type: str
    timestamp: datetime
    data: _Message | _Several


class Bodies:
    """Makes the bodies of one channel."""

    def __init__(self, tenant: str, channel: str, kind: ChannelKind) -> None:
        self._tenant = tenant
        self._channel = channel
        self._kind = kind
        self._encode = msgspec.json.Encoder(order="deterministic").encode

    def single(self, message: Outgoing) -> bytes:
        """The body of one message: the same on every try."""
        read = self._read(message)
        return self._encode(_Envelope("message.send", read.send_at, read))

    def several(self, messages: Sequence[Outgoing], now: datetime) -> bytes:
        """The body of several messages, posted now."""
        several = _Several([self._read(message) for message in messages])
        return self._encode(_Envelope("messages.send", now.replace(microsecond=0), several))

    def _read(self, message: Outgoing) -> _Message:
        fired = message.fired or Fired()
        return _Message(
            id=message.sid,
            tenant=self._tenant,
            channel=self._channel,
            kind=self._kind.value,
            campaign_id=message.campaign_id,
            customer_id=None if is_nobody(message.customer_id) else message.customer_id,
            template_id=message.template_id,
            to=message.to,
            sender=message.sender or None,
            subject=message.subject or None,
            text=message.text,
            html=message.html if self._kind is ChannelKind.EMAIL else None,
            personalization=message.personalization,
            unsubscribe_url=message.unsubscribe_url,
            send_at=message.send_at.astimezone(UTC),
            trigger=fired.trigger,
            action_id=fired.action_id,
            promo_codes=fired.promo_codes,
            app_id=message.app,
        )
