"""`optirelay campaigns`: who was handed over, what became of them, stop and go."""

import csv
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from optirelay.cli._shared import (
    FAILED,
    AsJson,
    Campaign,
    Channel,
    Config,
    Kind,
    Tenant,
    cell,
    complain,
    console,
    one_campaign,
    print_json,
    print_rows,
    run,
    say,
    settings_of,
    written_to,
    zone_of,
)
from optirelay.engine import operate
from optirelay.engine.context import Context
from optirelay.settings import Settings

T = TypeVar("T")

app = typer.Typer(help="Campaigns: their numbers, stop and go.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "campaign_id", "state", "handed_over", "accepted", "skipped", "refused", "in_doubt")


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
    as_json: AsJson = False,
) -> None:
    """One campaign: what was handed over, and what became of it."""
    settings = settings_of(ctx, config)

    async def look(c: Context) -> tuple[dict[str, Any], list[str]]:
        shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign, channel=channel)
        shape = one_campaign(shapes, campaign)
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
    ctx: typer.Context, campaign: Campaign, config: Config = None, tenant: Tenant = None, channel: Channel = None
) -> None:
    """Nothing more of it leaves until `resume`; what has begun is finished."""
    changed = _decide(ctx, config, campaign, tenant, channel, operate.pause_campaign)
    say(f"Campaign {campaign} is paused." if changed else f"Campaign {campaign} was paused already.")


@app.command()
def resume(
    ctx: typer.Context, campaign: Campaign, config: Config = None, tenant: Tenant = None, channel: Channel = None
) -> None:
    """A paused campaign goes on."""
    changed = _decide(ctx, config, campaign, tenant, channel, operate.resume_campaign)
    say(f"Campaign {campaign} goes on." if changed else f"Campaign {campaign} was not paused.")


@app.command()
def cancel(
    ctx: typer.Context, campaign: Campaign, config: Config = None, tenant: Tenant = None, channel: Channel = None
) -> None:
    """Nothing more of it leaves, for good; what is left is skipped."""
    _decide(ctx, config, campaign, tenant, channel, operate.cancel_campaign)
    say(f"Campaign {campaign} is cancelled.")


@app.command("retry-refused")
def retry_refused(
    ctx: typer.Context, campaign: Campaign, config: Config = None, tenant: Tenant = None, channel: Channel = None
) -> None:
    """What was refused is tried again, with its template as it is now; never what was accepted or is in doubt."""
    again, late = _decide(ctx, config, campaign, tenant, channel, operate.retry_refused)
    say(f"{again} messages go again.")
    if late:
        complain(f"{late} messages stay refused: they are older than expire_after")


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
            shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign, channel=channel)
            shape = one_campaign([s for s in shapes if kind in (None, s["kind"])], campaign)
            rows = csv.writer(out, lineterminator="\n")
            rows.writerow(operate.EXPORT_COLUMNS)
            async for row in operate.export(c, shape["tenant"], campaign, shape["channel"], addresses=addresses):
                rows.writerow(row)

        run(settings, write)


def _decide(
    ctx: typer.Context,
    config: Path | None,
    campaign: str,
    tenant: str | None,
    channel: str | None,
    decide: Callable[[Context, str, str, str], Awaitable[T]],
) -> T:
    """Carry out a decision about the one campaign that is meant."""

    async def look_and_decide(c: Context) -> T:
        shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign, channel=channel)
        shape = one_campaign(shapes, campaign)
        return await decide(c, shape["tenant"], campaign, shape["channel"])

    return run(settings_of(ctx, config), look_and_decide)


def _print(shape: dict[str, Any], settings: Settings) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    zone = zone_of(settings, shape["tenant"])
    for key, value in shape.items():
        table.add_row(key.replace("_", " "), cell(value, zone))
    console().print(table)
