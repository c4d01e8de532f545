"""A template and a recipient become a mail."""

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b

from optirelay.model import CampaignId, Message, Outgoing, TemplateContent, TemplateId
from optirelay.stages.content.bounds import HTML, TEXT
from optirelay.stages.content.frame import Frame
from optirelay.stages.content.mime import Body, encoded, mailbox, one_line, unstructured
from optirelay.stages.content.plain import text_part, whole_text_of
from optirelay.stages.content.scope import Scope, scope_of
from optirelay.stages.content.senders import Sender, ascii_domain
from optirelay.stages.content.templating import CannotRender, PlainValues, parse


class MailTemplate:
    """A template whose constant parts are parsed and encoded already."""

    def __init__(self, content: TemplateContent, default_sender: str) -> None:
        self.required = content.required
        sender = default_sender if content.sender is None else content.sender
        self._sender = Sender(sender)
        self._subject = parse("subject", content.subject, TEXT)
        self._html = parse("html", content.html, HTML)
        self._html_body = Body(self._html.constants, self._html.places)
        self._text = text_part(content)
        self._text_body = Body(self._text.constants, self._text.places) if self._text else None
        self._names = {*self._sender.names, *self._subject.names, *self._html.names}
        self._names |= set(self._text.names if self._text else ())
        digest = blake2b(repr((content, sender)).encode("utf-8", "replace"), digest_size=16).hexdigest()
        boundary = f"=_{digest}"  # quoted-printable never holds "=_"
        opening = (
            "MIME-Version: 1.0\r\n"
            f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'
            f"--{boundary}{_part_headers('plain')}"
        )
        between = f"\r\n--{boundary}{_part_headers('html')}"
        closing = f"\r\n--{boundary}--\r\n"
        first_text, *rest_of_text = self._text_body.constants if self._text_body else ("", "")
        *texts, last_text = (opening + first_text, *rest_of_text)
        first_html, *rest_of_html = self._html_body.constants
        *htmls, last_html = (last_text + between + first_html, *rest_of_html)
        self._frame = Frame(["", *texts, *htmls, last_html + closing])  # in front: From, To, Subject, Date, Message-ID
        self._plain = None if self._text is None else PlainValues.of(self._text, self._html)

    def render(
        self,
        message: Message,
        *,
        campaign_id: CampaignId,
        template_id: TemplateId,
        at: datetime,
        unsubscribe_url: str,
    ) -> Outgoing:
        """The mail for one recipient; `at` is its date. Raises CannotRender."""
        scope = scope_of(message, campaign_id, unsubscribe_url, self._names)
        try:
            name, sender = self._sender.render(scope, at)
            to = ascii_domain(message.address, "the recipient's address")
            subject = one_line(self._subject.whole(self._subject.render(scope, at)))
            headers = (
                f"{_from_line(name, sender)}To: {to}\r\n{unstructured('Subject', subject)}{_date_line(at)}"
                f"Message-ID: <{message.sid}@{sender.rpartition('@')[2]}>\r\n"
                f"List-Unsubscribe: <{unsubscribe_url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
            content = self._frame.filled([headers, *self._between(scope, at)])
        except CannotRender as error:
            raise CannotRender(f"Template {template_id} cannot be made into this message: {error}.") from None
        return Outgoing(
            sid=message.sid,
            campaign_id=campaign_id,
            customer_id=message.customer_id,
            template_id=template_id,
            sender=sender,
            to=to,
            subject=subject,
            content=content.encode(),
            send_at=message.send_at,
            personalization=message.personalization,
            unsubscribe_url=unsubscribe_url,
            fired=message.fired,
        )

    def _between(self, scope: Scope, at: datetime) -> list[str]:
        """What stands between the constants of text and HTML: mostly values that can stand there as they are."""
        fit = None if self._plain is None else self._plain.fit(scope)
        if fit is not None:
            return fit
        html = self._html.render(scope, at)
        return [*self._encoded_text(scope, at, html), *self._html_body.between(html)]

    def _encoded_text(self, scope: Scope, at: datetime, html: list[str]) -> list[str]:
        """What of the text part is the recipient's: pieces of its own template, or all of it."""
        if self._text is None or self._text_body is None:
            return [encoded(whole_text_of(self._html.whole(html))).decode()]
        return self._text_body.between(self._text.render(scope, at))


@lru_cache(maxsize=64)
def _from_line(name: str, address: str) -> str:
    return mailbox("From", name, address)


@lru_cache(maxsize=64)
def _date_line(at: datetime) -> str:
    return f"Date: {format_datetime(at.astimezone(UTC))}\r\n"


def _part_headers(subtype: str) -> str:
    return f'\r\nContent-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
