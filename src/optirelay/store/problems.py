"""What one tenant's operator is told."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import ProblemKind
from optirelay.store._sql import Statements


class Problems:
    """One tenant's problems; without a tenant, those of the service itself."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int | None) -> None:
        self._sql = Statements(connection, "problems", {"tenant": tenant})

    async def tell(
        self, kind: ProblemKind, problem: str, mend: str, *, channel: str = "", campaign_id: str = "", subject: str = ""
    ) -> None:
        """Show a problem until it is mended; told again, it keeps its `since`."""
        await self._sql.do(
            "tell",
            kind=kind,
            problem=problem,
            mend=mend,
            channel=channel,
            campaign_id=campaign_id,
            subject=subject,
        )

    async def shown_enough(
        self, kind: ProblemKind, lasts: timedelta, *, but: Collection[str] = (), subject: str | None = None
    ) -> None:
        """Take away problems of a kind that mends itself, told so long ago; of one subject, or of all but these."""
        await self._sql.do("shown_enough", kind=kind, lasts=lasts, but=list(but), subject=subject)

    async def mended(
        self,
        *kinds: ProblemKind,
        channel: str | None = None,
        campaign_id: str | None = None,
        subject: str | None = None,
    ) -> None:
        """Take away problems of these kinds; of every channel, campaign and subject unless one is named."""
        await self._sql.do("mended", kinds=list(kinds), channel=channel, campaign_id=campaign_id, subject=subject)
