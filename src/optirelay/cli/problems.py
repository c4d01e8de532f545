"""`optirelay problems`: what the operator should know, with the mend."""

import typer

from optirelay.cli._basics import AsJson, Config
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of
from optirelay.engine import operate

app = typer.Typer(help="What is wrong, and what mends it.", no_args_is_help=True)
COLUMNS = ("since", "kind", "tenant", "channel", "campaign_id", "problem", "mend")


@app.callback()
def group() -> None:
    """What is wrong, and what mends it."""


@app.command("list")
def list_problems(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Every problem that is not mended."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.problems(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="There is no problem.")
