"""Template and recipient become what is sent: Liquid within bounds, a text beside the HTML, MIME without surprises.

In HTML whatever a value brings is escaped; only the template's author can switch that off, value by value, with the
filter `safe`. Subject, text and from are not HTML and escape nothing. A name without a value renders as nothing, or as
its `default`.
"""

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
    email = kind is ChannelKind.EMAIL
    for name, source, environment in (
        ("subject", content.subject, TEXT),
        ("html" if email else "body", content.html, HTML if email else TEXT),
        ("text", content.text or "", TEXT),
        ("from", "" if email else content.sender or "", TEXT),
    ):
        try:
            names.update(parse(name, source, environment).names)
        except BadTemplate as bad:
            faults += bad.faults
    try:
        names.update(Sender(content.sender).names if email and content.sender is not None else ())
    except BadTemplate as bad:
        faults += bad.faults
    if faults:
        raise BadTemplate(*faults)
    return sorted(names)
