"""`optirelay channels`: the ways to reach people."""

import typer

from optirelay.cli._shared import AsJson, Config, Tenant, print_json, print_rows, run, settings_of
from optirelay.engine import operate

app = typer.Typer(help="Channels and their providers.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "kind", "provider", "scheduled_id", "triggered_id", "rate", "state", "waits_until")


@app.command("list")
def list_channels(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Every channel of the settings, and whether it waits for its provider."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.channels(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="The settings have no channel.")
