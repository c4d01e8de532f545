"""Every setting with its unit and default: one frozen object, built once; the only place that reads the environment."""

from optirelay.settings._example import example
from optirelay.settings._faults import BadSettings, Fault
from optirelay.settings._read import find_settings, load, load_again, read
from optirelay.settings._shapes import (
    BatchFileSettings,
    ChannelSettings,
    OptimoveSettings,
    ServiceSettings,
    Settings,
    SmtpSettings,
    TenantSettings,
    WebhookSettings,
)
from optirelay.settings._sharing import ByAttribute, ByFile, ByPreference, Route
from optirelay.settings._values import HostPort, QuietHours, Rate, Secret

__all__ = [
    "BadSettings",
    "BatchFileSettings",
    "ByAttribute",
    "ByFile",
    "ByPreference",
    "ChannelSettings",
    "Fault",
    "HostPort",
    "OptimoveSettings",
    "QuietHours",
    "Rate",
    "Route",
    "Secret",
    "ServiceSettings",
    "Settings",
    "SmtpSettings",
    "TenantSettings",
    "WebhookSettings",
    "example",
    "find_settings",
    "load",
    "load_again",
    "read",
]
