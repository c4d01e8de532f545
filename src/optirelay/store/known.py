"""The tenants of the settings as the store knows them, and their channels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import TenantId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class KnownTenant:
    """A tenant of the settings: the number that stands for it in every key, and what its links are signed with."""

    name: TenantId
    id: int
    link_key: bytes = field(repr=False)


async def keep_names(
    connection: AsyncConnection[Any], channels: Mapping[TenantId, Iterable[str]]
) -> dict[TenantId, KnownTenant]:
    """Make tenants and their channels known, beside those that are; what is known of these."""
    sql = Statements(connection, "everyone", {})
    await sql.do("keep_tenants", names=list(channels))
    await sql.do("keep_link_keys")
    pairs = [(tenant, channel) for tenant, names in channels.items() for channel in names]
    await sql.do("keep_channels", tenants=[t for t, _ in pairs], channels=[c for _, c in pairs])
    rows = await sql.rows(KnownTenant, "tenant_numbers")
    return {row.name: row for row in rows if row.name in channels}
