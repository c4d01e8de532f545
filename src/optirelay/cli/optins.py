"""`optirelay optins`: what customers said of channels."""

from typing import Annotated

import typer

from optirelay.cli._basics import AsJson, Config
from optirelay.cli._importing import DryRun, File, Strict, conclude, progress_of
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of, the_tenant
from optirelay.engine import operate

app = typer.Typer(help="What customers said of channels.", no_args_is_help=True)
COLUMNS = ("channel", "opted_in", "at", "source")


@app.callback()
def group() -> None:
    """What customers said of channels."""


@app.command("import")
def import_opt_ins(
    ctx: typer.Context,
    file: File,
    dry_run: DryRun = False,
    strict: Strict = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Keep what a file says of customers and channels: the newest counts."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    with progress_of(file) as progress:
        done = run(settings, lambda c: operate.import_opt_ins(c, name, file, dry_run=dry_run, progress=progress))
    conclude(done, dry_run=dry_run, strict=strict)


@app.command()
def show(
    ctx: typer.Context,
    customer: Annotated[str, typer.Argument(help="Optimove's id of the customer.")],
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """What a customer said of each channel: the newest counts."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    rows = run(settings, lambda c: operate.opt_ins(c, name, customer))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="The settings have no channel.")
