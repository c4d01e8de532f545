"""`optirelay doubts`: what was written and not answered for."""

from typing import Annotated

import typer

from optirelay.cli._shared import AsJson, Config, Tenant, print_json, print_rows, run, settings_of
from optirelay.engine import operate

app = typer.Typer(help="Messages and reports that may have arrived.", no_args_is_help=True)
MESSAGE_COLUMNS = ("tenant", "channel", "campaign_id", "customer_id", "to", "since", "contract", "sid")
REPORT_COLUMNS = ("id", "tenant", "campaign_id", "call", "customers", "since")


@app.command("list")
def list_doubts(
    ctx: typer.Context,
    reports: Annotated[bool, typer.Option("--reports", help="Report calls instead of messages.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Every message, or report call, in doubt."""
    settings = settings_of(ctx, config)
    look = operate.report_doubts if reports else operate.doubts
    rows = run(settings, lambda c: look(c, tenant))
    if as_json:
        print_json(rows)
    else:
        columns = REPORT_COLUMNS if reports else MESSAGE_COLUMNS
        print_rows(rows, columns, settings=settings, empty="Nothing is in doubt.")
