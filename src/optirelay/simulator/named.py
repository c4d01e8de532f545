"""Tenants and customers that an entry names."""

from optirelay.simulator.entry import Entry, is_number
from optirelay.simulator.world import Tenant, World


def tenant_of(world: World, entry: Entry) -> Tenant:
    """The tenant; it need not be named where there is only one."""
    tenant_id = entry.number("tenant", next(iter(world.tenants)) if len(world.tenants) == 1 else None)
    if tenant_id not in world.tenants:
        raise entry.wrong("tenant", tenant_id, f"one of {sorted(world.tenants)}")
    return world.tenants[tenant_id]


def read_chosen(entry: Entry, tenant: Tenant, default: int | None = None) -> int | list[int] | None:
    """The first so many customers, or the positions of those who are named; the default where none are."""
    chosen = entry.take("customers", default)
    if chosen is None:
        return None
    if is_number(chosen) and 0 <= chosen <= len(tenant.customers):
        return int(chosen)
    if not isinstance(chosen, list):
        mend = f"a number up to the {len(tenant.customers)} that tenant {tenant.tenant_id} has, or a list of ids"
        raise entry.wrong("customers", chosen, mend)
    positions = []
    for customer_id in chosen:
        position = tenant.customers.position_of(customer_id) if isinstance(customer_id, str) else None
        if position is None:
            raise entry.wrong("customers", customer_id, f"ids, as text, that tenant {tenant.tenant_id} has")
        positions.append(position)
    return positions
