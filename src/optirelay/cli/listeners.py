"""`optirelay listeners`: where Optimove sends its notifications."""

from typing import Any

import typer

from optirelay.cli._basics import FAILED, AsJson, Config
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of
from optirelay.engine import operate
from optirelay.settings import Settings

app = typer.Typer(help="Listeners registered at Optimove.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "event_type", "channel_id", "url", "state")


@app.command("list")
def list_listeners(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Ours and others', as Optimove lists them."""
    settings = settings_of(ctx, config)
    _print(run(settings, lambda c: operate.listeners(c, tenant)), settings, as_json=as_json)


@app.command()
def sync(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Register what is missing or leads elsewhere."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.sync_listeners(c, tenant))
    _print(rows, settings, as_json=as_json)
    if any(row["state"] in ("missing", "moved") for row in rows):
        raise typer.Exit(FAILED)


def _print(rows: list[dict[str, Any]], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="There is no listener, and none is needed.")
