"""Every SQL statement: `Store` sees all tenants, `TenantStore` one."""

from optirelay.store._store import (
    BATCH_CHANNEL,
    NOTIFICATION_CHANNEL,
    Ledger,
    Notification,
    Store,
    StoreUnavailable,
    TenantStore,
)

__all__ = [
    "BATCH_CHANNEL",
    "NOTIFICATION_CHANNEL",
    "Ledger",
    "Notification",
    "Store",
    "StoreUnavailable",
    "TenantStore",
]
