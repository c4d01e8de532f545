"""What an operator looks at and does; what it answers are the JSON shapes that people script against."""

from optirelay.engine.operate.counting import audit, campaigns
from optirelay.engine.operate.deciding import (
    EXPIRES,
    Decision,
    Resolved,
    cancel_campaign,
    pause_campaign,
    pause_channel,
    resolve_doubts,
    resolve_reports,
    resume_campaign,
    resume_channel,
    retry_refused,
)
from optirelay.engine.operate.directory import ContactsImported, contact, import_contacts
from optirelay.engine.operate.doing import report_now, sync_listeners
from optirelay.engine.operate.erasing import COUNTED as ERASED_COUNTS
from optirelay.engine.operate.erasing import Erased, erase
from optirelay.engine.operate.exporting import EXPORT_COLUMNS, export
from optirelay.engine.operate.importing import Imported
from optirelay.engine.operate.looking import (
    channels,
    doubts,
    listeners,
    masked,
    messages,
    problems,
    report_doubts,
    templates,
    tenants_of,
)
from optirelay.engine.operate.measuring import WORKER_SILENCE, prometheus_text
from optirelay.engine.operate.opting import import_opt_ins, opt_ins, suppress, suppressions, unsuppress
from optirelay.engine.operate.probing import probe_online
from optirelay.engine.operate.pushing import (
    BadTemplates,
    Person,
    Preview,
    Pushed,
    preview,
    push_templates,
    sync_templates,
    templates_diff,
)
from optirelay.engine.operate.sharing import optins_failed, optins_status, push_opt_ins

__all__ = [
    "ERASED_COUNTS",
    "EXPIRES",
    "EXPORT_COLUMNS",
    "WORKER_SILENCE",
    "BadTemplates",
    "ContactsImported",
    "Decision",
    "Erased",
    "Imported",
    "Person",
    "Preview",
    "Pushed",
    "Resolved",
    "audit",
    "campaigns",
    "cancel_campaign",
    "channels",
    "contact",
    "doubts",
    "erase",
    "export",
    "import_contacts",
    "import_opt_ins",
    "listeners",
    "masked",
    "messages",
    "opt_ins",
    "optins_failed",
    "optins_status",
    "pause_campaign",
    "pause_channel",
    "preview",
    "probe_online",
    "problems",
    "prometheus_text",
    "push_opt_ins",
    "push_templates",
    "report_doubts",
    "report_now",
    "resolve_doubts",
    "resolve_reports",
    "resume_campaign",
    "resume_channel",
    "retry_refused",
    "suppress",
    "suppressions",
    "sync_listeners",
    "sync_templates",
    "templates",
    "templates_diff",
    "tenants_of",
    "unsuppress",
]
