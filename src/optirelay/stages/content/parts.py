"""A template and a recipient become the parts of a message, for a provider that puts it together itself."""

import re
from datetime import datetime

from optirelay.model import CampaignId, ChannelKind, Message, Outgoing, TemplateContent, TemplateId
from optirelay.stages.content.bounds import HTML, TEXT
from optirelay.stages.content.mime import one_line, quoted_name
from optirelay.stages.content.plain import text_part, whole_text_of
from optirelay.stages.content.scope import Scope, scope_of
from optirelay.stages.content.senders import Sender, ascii_domain
from optirelay.stages.content.templating import CannotRender, Part, parse

_NO_TEXT = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\ud800-\udfff]")


class PartsTemplate:
    """E-mail: from, subject, HTML and text. All else: from, a text, and but for SMS a title."""

    def __init__(self, content: TemplateContent, default_sender: str, kind: ChannelKind) -> None:
        """Raises BadTemplate."""
        self.required = content.required
        self._app = content.app
        sender = default_sender if content.sender is None else content.sender
        email = kind is ChannelKind.EMAIL
        self._sender = Sender(sender) if email else parse("from", sender, TEXT)
        self._title = parse("subject", "" if kind is ChannelKind.SMS else content.subject, TEXT)
        self._html = parse("html", content.html, HTML) if email else None
        self._text = text_part(content) if email else parse("body", content.html, TEXT)
        parts = (self._title, self._html, self._text)
        self._names = {*self._sender.names, *(name for part in parts if part is not None for name in part.names)}

    def render(
        self, message: Message, *, campaign_id: CampaignId, template_id: TemplateId, at: datetime, unsubscribe_url: str
    ) -> Outgoing:
        """The parts for one recipient. Raises CannotRender."""
        scope = scope_of(message, campaign_id, unsubscribe_url, self._names)
        try:
            html = None if self._html is None else _rendered(self._html, scope, at)
            text = whole_text_of(html or "") if self._text is None else _rendered(self._text, scope, at)
            return Outgoing(
                sid=message.sid,
                campaign_id=campaign_id,
                customer_id=message.customer_id,
                template_id=template_id,
                sender=self._from(scope, at),
                to=message.address if html is None else ascii_domain(message.address, "the recipient's address"),
                subject=one_line(_rendered(self._title, scope, at)),
                send_at=message.send_at,
                personalization=message.personalization,
                unsubscribe_url=unsubscribe_url,
                text=text.strip(),
                html=html,
                fired=message.fired,
                app=self._app,
            )
        except CannotRender as error:
            raise CannotRender(f"Template {template_id} cannot be made into this message: {error}.") from None

    def _from(self, scope: Scope, at: datetime) -> str:
        if isinstance(self._sender, Part):
            return one_line(_rendered(self._sender, scope, at))
        name, address = self._sender.render(scope, at)
        return _readable(f"{quoted_name(name)} <{address}>" if name else address)


def _rendered(part: Part, scope: Scope, at: datetime) -> str:
    return _readable(part.whole(part.render(scope, at)))


def _readable(text: str) -> str:
    """Without what JSON or a receiver cannot hold: control characters but tab and line ends, halves of characters."""
    return text if text.isprintable() else _NO_TEXT.sub("?", text)
