"""Template and recipient become what is sent: Liquid within bounds, a text beside the HTML, MIME without surprises.

In HTML whatever a value brings is escaped; only the template's author can switch that off, value by value, with the
filter `safe`. Subject, text and from are not HTML and escape nothing. A name without a value renders as nothing, or as
its `default`.
"""

from optirelay.stages.content.mail import MailTemplate, check, prepare
from optirelay.stages.content.templating import BadTemplate, CannotRender

__all__ = ["BadTemplate", "CannotRender", "MailTemplate", "check", "prepare"]
