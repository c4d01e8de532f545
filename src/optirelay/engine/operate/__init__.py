"""What an operator looks at and does; what it answers are the JSON shapes that people script against."""

from optirelay.engine.operate.doing import BadTemplates, Pushed, probe, push_templates, report_now, sync_all_listeners
from optirelay.engine.operate.looking import (
    audit,
    campaigns,
    channels,
    doubts,
    listed_listeners,
    listed_templates,
    masked,
    messages,
    problems,
    report_doubts,
    tenants_of,
)

__all__ = [
    "BadTemplates",
    "Pushed",
    "audit",
    "campaigns",
    "channels",
    "doubts",
    "listed_listeners",
    "listed_templates",
    "masked",
    "messages",
    "probe",
    "problems",
    "push_templates",
    "report_doubts",
    "report_now",
    "sync_all_listeners",
    "tenants_of",
]
