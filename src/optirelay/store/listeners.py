"""One tenant's listeners at Optimove, as we registered them: what is missing or moved, old, or somebody else's."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import CampaignId, ChannelName
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class KnownListener:
    """A listener that we registered, or found registered, at Optimove."""

    event_type: int
    channel_id: int | None
    channel: str  # empty where there is none
    url: bytes  # a hash: the address holds a secret
    executed_before: list[CampaignId] | None  # campaigns that were somebody else's; None: not known yet
    kept: bool  # another worker that is alive wants it

    def leads_to(self, url: str) -> bool:
        """Whether this is the address that Optimove has of us."""
        return self.url == _hash(url)


class Listeners:
    """One tenant's listeners."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "listeners", {"tenant": tenant})

    async def known(self, worker: str) -> list[KnownListener]:
        """All that we registered, as this worker sees it."""
        return await self._sql.rows(KnownListener, "known", worker=worker)

    async def keep(
        self,
        event_type: int,
        channel_id: int | None,
        url: str,
        *,
        channel: ChannelName | None,
        worker: str,
        executed_before: Collection[CampaignId] | None,
    ) -> None:
        """Optimove has it, and this worker wants it."""
        await self._sql.do(
            "keep",
            event_type=event_type,
            channel_id=channel_id,
            channel=channel or "",
            url=_hash(url),
            worker=worker,
            executed_before=None if executed_before is None else sorted(executed_before),
        )

    async def forget(self, event_type: int, channel_id: int | None) -> None:
        """It is ours no longer."""
        await self._sql.do("forget", event_type=event_type, channel_id=channel_id)

    async def executed_before(
        self, event_type: int, channel_id: int, channel: ChannelName
    ) -> frozenset[CampaignId] | None:
        """Campaigns that were executed before this channel was listened to. None: not known yet."""
        found: list[CampaignId] | None = await self._sql.value(
            "executed_before", event_type=event_type, channel_id=channel_id, channel=channel
        )
        return None if found is None else frozenset(found)


def _hash(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()
