"""What an operator looks at and does; what it answers are the JSON shapes that people script against."""

from optirelay.engine.operate.doing import (
    BadTemplates,
    Pushed,
    probe_online,
    push_templates,
    report_now,
    sync_listeners,
)
from optirelay.engine.operate.looking import (
    audit,
    campaigns,
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

__all__ = [
    "BadTemplates",
    "Pushed",
    "audit",
    "campaigns",
    "channels",
    "doubts",
    "listeners",
    "masked",
    "messages",
    "probe_online",
    "problems",
    "push_templates",
    "report_doubts",
    "report_now",
    "sync_listeners",
    "templates",
    "tenants_of",
]
