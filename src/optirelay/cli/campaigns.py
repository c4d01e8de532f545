"""`optirelay campaigns`: who was handed over, what became of them, stop and go."""

import csv
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.table import Table

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say
from optirelay.cli._shared import (
    Campaign,
    Channel,
    Kind,
    Tenant,
    cell,
    console,
    meant,
    print_json,
    print_rows,
    run,
    settings_of,
    written_to,
    zone_of,
)
from optirelay.engine import operate
from optirelay.engine.context import Context
from optirelay.model import CampaignKind
from optirelay.settings import Settings

T = TypeVar("T", covariant=True)

app = typer.Typer(help="Campaigns: their numbers, stop and go.", no_args_is_help=True)
COLUMNS = (
    "tenant",
    "channel",
    "campaign_id",
    "kind",
    "state",
    "handed_over",
    "accepted",
    "skipped",
    "refused",
    "in_doubt",
)


@app.command("list")
def list_campaigns(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Every campaign that was heard of."""
    settings = settings_of(ctx, config)
    shapes = run(settings, lambda c: operate.campaigns(c, tenant=tenant))
    if as_json:
        print_json(shapes)
    else:
        print_rows(shapes, COLUMNS, settings=settings, empty="No campaign was heard of yet.")


@app.command()
def show(
    ctx: typer.Context,
    campaign: Campaign,
    audit: Annotated[bool, typer.Option("--audit", help="Count the rows again; exit 1 where they differ.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
    as_json: AsJson = False,
) -> None:
    """One campaign: what was handed over, and what became of it."""
    settings = settings_of(ctx, config)

    async def look(c: Context) -> tuple[dict[str, Any], list[str]]:
        shape = await meant(c, campaign, tenant, channel, kind)
        return shape, await operate.audit(c, shape["tenant"], shape) if audit else []

    shape, differences = run(settings, look)
    if as_json:
        print_json(shape)
    else:
        _print(shape, settings)
    for difference in differences:
        complain(difference)
    if differences:
        raise typer.Exit(FAILED)
    if audit and not as_json:
        say("The rows agree with the counters and the pages.")


@app.command()
def pause(
    ctx: typer.Context,
    campaign: Campaign,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
) -> None:
    """Nothing more of it leaves until `resume`; what has begun is finished."""
    changed, _ = _decide(ctx, config, operate.pause_campaign, campaign, (tenant, channel, kind))
    say(f"Campaign {campaign} is paused." if changed else f"Campaign {campaign} was paused already.")


@app.command()
def resume(
    ctx: typer.Context,
    campaign: Campaign,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
) -> None:
    """A paused campaign goes on."""
    changed, _ = _decide(ctx, config, operate.resume_campaign, campaign, (tenant, channel, kind))
    say(f"Campaign {campaign} goes on." if changed else f"Campaign {campaign} was not paused.")


@app.command()
def cancel(
    ctx: typer.Context,
    campaign: Campaign,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
) -> None:
    """Nothing more of it leaves, for good; what is left is skipped."""
    _decide(ctx, config, operate.cancel_campaign, campaign, (tenant, channel, kind))
    say(f"Campaign {campaign} is cancelled.")


@app.command("retry-refused")
def retry_refused(
    ctx: typer.Context,
    campaign: Campaign,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
) -> None:
    """What was refused is tried again, with its template as it is now; never what was accepted or is in doubt."""
    (again, late), shape = _decide(ctx, config, operate.retry_refused, campaign, (tenant, channel, kind))
    say(f"{again} messages go again.")
    if late:
        expires = operate.EXPIRES[shape["kind"] == CampaignKind.TRIGGERED]
        complain(f"{late} messages stay refused: they are older than {expires}")


@app.command()
def export(
    ctx: typer.Context,
    campaign: Campaign,
    output: Annotated[Path | None, typer.Option("--output", help="Not to standard output.", show_default=False)] = None,
    addresses: Annotated[bool, typer.Option("--addresses", help="In full, not masked.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
) -> None:
    """Every message of a campaign as CSV, one row each."""
    settings = settings_of(ctx, config)
    with written_to(output) as out:

        async def write(c: Context) -> None:
            shape = await meant(c, campaign, tenant, channel, kind)
            place = (shape["tenant"], campaign, shape["channel"])
            rows = csv.writer(out, lineterminator="\n")
            rows.writerow(operate.EXPORT_COLUMNS)
            async for row in operate.export(c, *place, kind=shape["kind"], addresses=addresses):
                rows.writerow(row)

        run(settings, write)


class _Decide(Protocol[T]):
    """What can be decided about a campaign."""

    async def __call__(self, ctx: Context, tenant: str, campaign_id: str, channel: str, *, kind: CampaignKind) -> T: ...


def _decide(
    ctx: typer.Context,
    config: Path | None,
    decide: _Decide[T],
    campaign: str,
    which: tuple[str | None, str | None, CampaignKind | None],
) -> tuple[T, dict[str, Any]]:
    """Carry out a decision about the one campaign that is meant, and which it was; `which`: tenant, channel, kind."""

    async def look_and_decide(c: Context) -> tuple[T, dict[str, Any]]:
        shape = await meant(c, campaign, *which)
        kind = CampaignKind(shape["kind"])
        return await decide(c, shape["tenant"], campaign, shape["channel"], kind=kind), shape

    return run(settings_of(ctx, config), look_and_decide)


def _print(shape: dict[str, Any], settings: Settings) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    zone = zone_of(settings, shape["tenant"])
    for key, value in shape.items():
        table.add_row(key.replace("_", " "), cell(value, zone))
    console().print(table)
