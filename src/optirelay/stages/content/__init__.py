"""Template and recipient become what is sent: Liquid within bounds, a text beside the HTML, MIME without surprises.

In HTML whatever a value brings is escaped; only the template's author can switch that off, value by value, with the
filter `safe`. Subject, text and from are not HTML and escape nothing. A name without a value renders as nothing, or as
its `default`.
"""

from collections.abc import Callable, Iterable

from optirelay.model import ChannelKind, TemplateContent
from optirelay.stages.content.bounds import HTML, TEXT
from optirelay.stages.content.mail import MailTemplate
from optirelay.stages.content.parts import PartsTemplate
from optirelay.stages.content.senders import Sender
from optirelay.stages.content.templating import BadTemplate, CannotRender, parse

__all__ = ["BadTemplate", "CannotRender", "Prepared", "check", "prepare"]

Prepared = MailTemplate | PartsTemplate
"""What renders messages of one template."""


def prepare(
    content: TemplateContent, *, default_sender: str, kind: ChannelKind = ChannelKind.EMAIL, whole_mail: bool = True
) -> Prepared:
    """What renders messages of this template; made once a template version. Raises BadTemplate.

    `whole_mail`: e-mail as one message of RFC 5322; else, as all other kinds, in parts.
    """
    if kind is ChannelKind.EMAIL and whole_mail:
        return MailTemplate(content, default_sender)
    return PartsTemplate(content, default_sender, kind)


def check(content: TemplateContent, kind: ChannelKind = ChannelKind.EMAIL) -> list[str]:
    """The names that the template looks up, without those it assigns itself. Raises BadTemplate with every fault."""
    names: set[str] = set()
    faults: list[str] = []

    def look_at(read_names: Callable[[], Iterable[str]]) -> None:
        try:
            names.update(read_names())
        except BadTemplate as bad:
            faults.extend(bad.faults)

    text, sender = content.text or "", content.sender or ""
    look_at(lambda: parse("subject", content.subject, TEXT).names)
    if kind is ChannelKind.EMAIL:
        look_at(lambda: parse("html", content.html, HTML).names)
        look_at(lambda: parse("text", text, TEXT).names)
        look_at(lambda: Sender(sender).names if sender else ())
    else:
        look_at(lambda: parse("body", content.html, TEXT).names)
        look_at(lambda: parse("from", sender, TEXT).names)
    if faults:
        raise BadTemplate(*faults)
    return sorted(names)
