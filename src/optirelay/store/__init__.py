"""Every SQL statement: `Store` sees all tenants, `TenantStore` one."""

from optirelay.store._store import Ledger, Notification, Store, StoreUnavailable, TenantStore

__all__ = ["Ledger", "Notification", "Store", "StoreUnavailable", "TenantStore"]
