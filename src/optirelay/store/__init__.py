"""Every SQL statement: `Store` sees all tenants, `TenantStore` one."""

from optirelay.store._ledger import Ledger
from optirelay.store._store import (
    ATTRIBUTES_CHANNEL,
    BATCH_CHANNEL,
    CALLBACK_CHANNEL,
    NOTIFICATION_CHANNEL,
    Store,
    StoreUnavailable,
    TenantStore,
)
from optirelay.store.arrivals import Callback, Notification

__all__ = [
    "ATTRIBUTES_CHANNEL",
    "BATCH_CHANNEL",
    "CALLBACK_CHANNEL",
    "NOTIFICATION_CHANNEL",
    "Callback",
    "Ledger",
    "Notification",
    "Store",
    "StoreUnavailable",
    "TenantStore",
]
