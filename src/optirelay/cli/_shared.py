"""What every command shares: its settings, its context, its way to print and to fail."""

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated, Any, NoReturn, TextIO, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from optirelay.cli._basics import FAILED, WRONG_USE, complain, say
from optirelay.engine import operate, runtime
from optirelay.engine.context import Context
from optirelay.errors import NeedsOperator
from optirelay.model import CampaignKind
from optirelay.settings import Settings, find_settings, load

T = TypeVar("T")

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant.", show_default=False)]
Channel = Annotated[str | None, typer.Option("--channel", help="The campaign's channel.", show_default=False)]
Kind = Annotated[CampaignKind | None, typer.Option("--kind", help="The campaign's kind.", show_default=False)]

Campaign = Annotated[str, typer.Argument(help="Optimove's id of the campaign.")]

WIDTH = 200  # of a table that is not for a terminal


def settings_of(ctx: typer.Context, config: Path | None) -> Settings:
    """The settings file, named before or after the command. Raises BadSettings."""
    return load(find_settings(config or ctx.obj))


def run(settings: Settings, do: Callable[[Context], Awaitable[T]]) -> T:
    """Do something with all parts open, beside a running service or without one. Raises NeedsOperator."""

    async def with_context(conninfo: str) -> T:
        async with runtime.open_context(settings, conninfo) as ctx:
            return await do(ctx)

    with runtime.database(settings) as conninfo:
        return asyncio.run(with_context(conninfo))


def written_to(path: Path | None) -> AbstractContextManager[TextIO]:
    """A file for text in UTF-8; without a path, standard output. Raises NeedsOperator."""
    return _standard_output() if path is None else _whole_file(path)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Exit 1, without a word, where nobody reads to the end."""
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        yield out
        out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    finally:
        out.detach()


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """There under its name once it is whole, for this account alone."""
    if path.exists() and not path.is_file():
        raise NeedsOperator(f"{path} is no file; name one that is, or is not there yet")
    try:
        descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path, error) from error
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            yield out
        unfinished.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> NeedsOperator:
    return NeedsOperator(f"cannot write {path}: {error.strerror or error}; name a file in a folder of yours")


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, settings: Settings, empty: str) -> None:
    """Rows as a table; times in their tenant's zone."""
    if not rows:
        say(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        zone = zone_of(settings, row.get("tenant"))
        table.add_row(*(cell(row.get(column), zone) for column in columns))
    console().print(table)


def console() -> Console:
    """Standard output; wide enough for a table where it is no terminal."""
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDTH)


def zone_of(settings: Settings, tenant: Any) -> ZoneInfo:
    """The zone in which a tenant's people read times."""
    known = settings.tenants.get(tenant)
    return ZoneInfo("UTC") if known is None else known.timezone


def cell(value: Any, zone: ZoneInfo) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key} {cell(inner, zone)}" for key, inner in value.items()) or "-"
        case str() if _TIME.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
        case _:
            return "".join(character if character.isprintable() else "\ufffd" for character in str(value))


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def the_tenant(settings: Settings, tenant: str | None) -> str:
    """The tenant that is named, or the only one. Exit 2 where there are several and none is named."""
    if tenant is None and len(settings.tenants) > 1:
        refuse_to_choose("there are several tenants", [f"--tenant {name}" for name in settings.tenants])
    return tenant or next(iter(settings.tenants))


async def meant(
    c: Context, campaign_id: str, tenant: str | None, channel: str | None, kind: CampaignKind | None
) -> dict[str, Any]:
    """The one campaign that is meant. Exit 1 where there is none, 2 where several are and none is named."""
    shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign_id, channel=channel, kind=kind)
    one_tenant(shapes, campaign_id)
    channels = dict.fromkeys(f"--channel {shape['channel']}" for shape in shapes)
    if len(channels) > 1:
        refuse_to_choose(f"campaign {campaign_id} is on several channels", list(channels))
    one_kind(shapes, campaign_id)
    return shapes[0]


def one_kind(shapes: Sequence[dict[str, Any]], campaign_id: str) -> CampaignKind:
    """The kind of the campaign that is meant. Exit 2 where there are both and none is named."""
    kinds = sorted({CampaignKind(shape["kind"]) for shape in shapes})
    if len(kinds) > 1:
        why = f"there is a scheduled and a triggered campaign {campaign_id}"
        refuse_to_choose(why, [f"--kind {kind}" for kind in kinds])
    return kinds[0]


def one_tenant(shapes: Sequence[dict[str, Any]], campaign_id: str) -> str:
    """The tenant whose campaign is meant. Exit 1 where none has it, 2 where several have and none is named."""
    if not shapes:
        complain(f"there is no campaign {campaign_id} here; see `optirelay campaigns list`")
        raise typer.Exit(FAILED)
    tenants = sorted({str(shape["tenant"]) for shape in shapes})
    if len(tenants) > 1:
        refuse_to_choose(f"several tenants have a campaign {campaign_id}", [f"--tenant {name}" for name in tenants])
    return tenants[0]


def kind_of_what(campaign: str | None, kind: CampaignKind | None) -> None:
    """Exit 2 where a kind is named, and no campaign."""
    if campaign is None and kind is not None:
        complain("name the campaign, too: --kind says which of two with one id is meant; with --campaign CAMPAIGN")
        raise typer.Exit(WRONG_USE)


def refuse_to_choose(why: str, options: Sequence[str]) -> NoReturn:
    """Exit 2: the operator has to name one."""
    complain(f"{why}; name one: {' or '.join(options)}")
    raise typer.Exit(WRONG_USE)
