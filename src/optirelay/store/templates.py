"""One tenant's templates; a change is a new version, and batches keep the version they were planned with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection

from optirelay.model import AppId, CampaignId, ChannelName, TemplateContent, TemplateId
from optirelay.store._sql import Statements


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as our store has it."""

    channel: ChannelName
    template_id: TemplateId
    key: str
    name: str
    version: int
    app: AppId | None
    dropped: bool  # not ours any more, and still in one of Optimove's lists


@dataclass(frozen=True, slots=True)
class UsedTemplate:
    """A template that a running campaign needs."""

    template_id: TemplateId | None  # None: it may need any, its rows are still being read
    campaign_id: CampaignId


@dataclass(frozen=True, slots=True)
class ToldTemplate:
    """What a list of Optimove's holds because of us, as it was told or seen."""

    channel_id: int
    template_id: TemplateId
    name: str
    app: AppId | None


@dataclass(frozen=True, slots=True)
class ToldApp:
    """An app that Optimove was told of."""

    channel_id: int
    app_id: AppId
    name: str


class Templates:
    """One tenant's templates."""

    def __init__(self, connection: AsyncConnection[Any], tenant: int) -> None:
        self._sql = Statements(connection, "templates", {"tenant": tenant})

    async def all(self) -> list[StoredTemplate]:
        """Every template, by channel and id, those that were dropped and are not gone among them."""
        return await self._sql.rows(StoredTemplate, "templates")

    async def push(
        self, channel: ChannelName, template_id: TemplateId, key: str, name: str, content: TemplateContent
    ) -> bool:
        """Store a template; True where its content is new. Batches that waited for it are due at once.

        A key that comes with another id is another template; the old one stays, its id behind its key. One that was
        dropped is ours again.
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

    async def drop(self, channel: ChannelName, template_ids: Sequence[TemplateId]) -> None:
        """They are not ours any more; until Optimove's lists are without them they stay, for who is to get them."""
        await self._sql.do("drop_templates", channel=channel, template_ids=template_ids)

    async def forget(self, channel: ChannelName, template_ids: Sequence[TemplateId]) -> None:
        """Those that were dropped and are in none of Optimove's lists; their versions stay with their messages."""
        await self._sql.do("forget_dropped", channel=channel, template_ids=template_ids)

    async def in_use(self, channel: ChannelName) -> list[UsedTemplate]:
        """Which templates the channel's running campaigns need."""
        return await self._sql.rows(UsedTemplate, "in_use", channel=channel)

    async def told(self) -> list[ToldTemplate]:
        """What Optimove's lists hold because of us, as far as we know."""
        return await self._sql.rows(ToldTemplate, "told_templates")

    async def tell(self, rows: Sequence[ToldTemplate]) -> None:
        """A list of Optimove's holds these now: at least one, all of one channel id."""
        await self._sql.do(
            "tell_templates",
            channel_id=rows[0].channel_id,
            template_ids=[row.template_id for row in rows],
            names=[row.name for row in rows],
            apps=[row.app for row in rows],
        )

    async def untell(self, channel_id: int, template_ids: Sequence[TemplateId]) -> None:
        """A list of Optimove's does not hold these any more."""
        await self._sql.do("untell_templates", channel_id=channel_id, template_ids=template_ids)

    async def told_apps(self) -> list[ToldApp]:
        """The apps that Optimove was told of."""
        return await self._sql.rows(ToldApp, "told_apps")

    async def tell_apps(self, channel_id: int, apps: Mapping[AppId, str]) -> None:
        """Optimove was told of these, by id their names."""
        await self._sql.do("tell_apps", channel_id=channel_id, app_ids=list(apps), names=list(apps.values()))

    async def untell_apps(self, channel_id: int, app_ids: Sequence[AppId]) -> None:
        """Optimove was told that these are gone."""
        await self._sql.do("untell_apps", channel_id=channel_id, app_ids=app_ids)

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
