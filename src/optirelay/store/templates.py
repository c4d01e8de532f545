"""One tenant's templates; a change is a new version, and batches keep the version they were planned with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection

from optirelay.model import ChannelName, TemplateContent, TemplateId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as our store has it."""

    channel: ChannelName
    template_id: TemplateId
    key: str
    name: str
    version: int


class Templates:
    """One tenant's templates."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "templates", {"tenant": tenant})

    async def all(self) -> list[StoredTemplate]:
        """Every template, by channel and id."""
        return await self._sql.rows(StoredTemplate, "templates")

    async def push(
        self, channel: ChannelName, template_id: TemplateId, key: str, name: str, content: TemplateContent
    ) -> bool:
        """Store a template; True where its content is new. Batches that waited for it are due at once.

        A key that comes with another id is another template; the old one stays, its id behind its key.
        """
        await self._sql.do("own_templates", channel=channel)
        await self._sql.do("free_key", channel=channel, key=key, template_id=template_id)
        current = await self._sql.row(_Current, "current", channel=channel, template_id=template_id)
        changed = current is None or msgspec.convert(current.content, TemplateContent) != content
        version = await self._sql.value("last_version", channel=channel, template_id=template_id)
        if changed:
            version += 1
            encoded = msgspec.json.encode(content).decode()
            await self._sql.do(
                "keep_version", channel=channel, template_id=template_id, version=version, content=encoded
            )
        await self._sql.do(
            "keep_template", channel=channel, template_id=template_id, key=key, name=name, version=version
        )
        await self._sql.do("unhold", channel=channel, template_id=template_id, version=version)
        return changed

    async def share(self, channel: ChannelName) -> None:
        """Nobody pushes a template of the channel before the transaction ends."""
        await self._sql.do("share_templates", channel=channel)

    async def versions(self, channel: ChannelName, template_ids: Iterable[TemplateId]) -> Mapping[TemplateId, int]:
        """The newest version of each of these that there is; of templates that are shared."""
        rows = await self._sql.rows(_Version, "versions", channel=channel, template_ids=list(template_ids))
        return {row.template_id: row.version for row in rows}

    async def content(self, channel: ChannelName, template_id: TemplateId, version: int) -> TemplateContent:
        """A version's content."""
        found = await self._sql.value("version", channel=channel, template_id=template_id, version=version)
        return msgspec.convert(found, TemplateContent)


@dataclass(frozen=True, slots=True)
class _Version:
    template_id: TemplateId
    version: int


@dataclass(frozen=True, slots=True)
class _Current:
    version: int
    content: dict[str, Any]
