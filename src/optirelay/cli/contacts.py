"""`optirelay contacts`: our own directory of people."""

from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say
from optirelay.cli._importing import DryRun, File, Strict, conclude, progress_of, rows_of
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of, the_tenant
from optirelay.engine import operate

app = typer.Typer(help="Our own directory of people.", no_args_is_help=True)
COLUMNS = ("customer_id", "email", "phone", "push_token", "attributes", "updated_at")


@app.command("import")
def import_contacts(
    ctx: typer.Context,
    file: File,
    dry_run: DryRun = False,
    strict: Strict = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Keep what a file says of people: what has no column stays, an empty cell takes away."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    with progress_of(file) as progress:
        done = run(settings, lambda c: operate.import_contacts(c, name, file, dry_run=dry_run, progress=progress))
    for (reason, column), rows in sorted(done.faults.items()):
        say(f"{reason}: {column} ({rows_of(rows)})")
    conclude(done.file, dry_run=dry_run, strict=strict)


@app.command()
def show(
    ctx: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer id that the directory has.")],
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Show addresses and attributes whole; --json always does.")
    ] = False,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """What the directory has of one person; exit 1 where it does not have them."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    shape = run(settings, lambda c: operate.contact(c, name, customer, addresses=addresses or as_json))
    if shape is None:
        complain(f"the directory of tenant {name} has no customer {customer}; `optirelay contacts import` adds people")
        raise typer.Exit(FAILED)
    if as_json:
        print_json(shape)
    else:
        print_rows([shape], COLUMNS, settings=settings, empty="")
