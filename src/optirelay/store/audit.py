"""What one tenant's operators decided: who, when, about what, and why."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from optirelay.store._sql import Statements


class Audit:
    """One tenant's audit table; rows are only added."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "audit", {"tenant": tenant})

    async def keep(self, action: str, subjects: Sequence[str], *, account: str, reason: str = "") -> None:
        """Keep one decision about each of the subjects: campaigns, messages by their sid, report batches."""
        await self._sql.do("keep", action=action, subjects=list(subjects), account=account, reason=reason)
