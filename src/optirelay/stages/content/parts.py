"""A template and a recipient become the parts of a message, for a provider that puts it together itself."""

from datetime import datetime

from optirelay.model import CampaignId, ChannelKind, Message, Outgoing, TemplateContent, TemplateId
from optirelay.stages.content.bounds import HTML, TEXT
from optirelay.stages.content.mime import one_line, quoted_name
from optirelay.stages.content.plain import whole_text_of
from optirelay.stages.content.scope import Scope, scope_of
from optirelay.stages.content.senders import Sender, ascii_domain
from optirelay.stages.content.templating import CannotRender, Part, parse


class PartsTemplate:
    """E-mail: from, subject, HTML and text. All else: from, a text, and but for SMS a title."""

    def __init__(self, content: TemplateContent, default_sender: str, kind: ChannelKind) -> None:
        self.required = content.required
        sender = default_sender if content.sender is None else content.sender
        email = kind is ChannelKind.EMAIL
        self._mailbox = Sender(sender) if email else None
        self._sender_id = parse("from", "" if email else sender, TEXT)
        self._title = parse("subject", "" if kind is ChannelKind.SMS else content.subject, TEXT)
        self._html = parse("html", content.html, HTML) if email else None
        text = content.text if email else content.html
        self._text = None if text is None else parse("text" if email else "body", text, TEXT)

    def render(
        self, message: Message, *, campaign_id: CampaignId, template_id: TemplateId, at: datetime, unsubscribe_url: str
    ) -> Outgoing:
        """The parts for one recipient. Raises CannotRender."""
        scope = scope_of(message, campaign_id, unsubscribe_url)
        try:
            html = None if self._html is None else _whole(self._html, scope, at)
            return Outgoing(
                sid=message.sid,
                campaign_id=campaign_id,
                customer_id=message.customer_id,
                template_id=template_id,
                sender=self._from(scope, at),
                to=message.address if html is None else ascii_domain(message.address, "the recipient's address"),
                subject=one_line(_whole(self._title, scope, at)),
                send_at=message.send_at,
                personalization=message.personalization,
                unsubscribe_url=unsubscribe_url,
                text=whole_text_of(html or "") if self._text is None else _whole(self._text, scope, at).strip(),
                html=html,
            )
        except CannotRender as error:
            raise CannotRender(f"Template {template_id} cannot be made into this message: {error}.") from None

    def _from(self, scope: Scope, at: datetime) -> str:
        if self._mailbox is None:
            return one_line(_whole(self._sender_id, scope, at))
        name, address = self._mailbox.render(scope, at)
        return f"{quoted_name(name)} <{address}>" if name else address


def _whole(part: Part, scope: Scope, at: datetime) -> str:
    return part.whole(part.render(scope, at))
