"""`optirelay campaigns`: who was handed over, and what became of them."""

from typing import Annotated, Any

import typer
from rich.table import Table

from optirelay.cli._shared import (
    FAILED,
    AsJson,
    Channel,
    Config,
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
    zone_of,
)
from optirelay.engine import operate
from optirelay.engine.context import Context
from optirelay.settings import Settings

app = typer.Typer(help="Campaigns, in numbers.", no_args_is_help=True)
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
    campaign: Annotated[str, typer.Argument(help="Optimove's id of the campaign.")],
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


def _print(shape: dict[str, Any], settings: Settings) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    zone = zone_of(settings, shape["tenant"])
    for key, value in shape.items():
        table.add_row(key.replace("_", " "), cell(value, zone))
    console().print(table)
