"""`optirelay optins`: what customers said of channels."""

from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say
from optirelay.cli._importing import DryRun, File, Strict, conclude, progress_of
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of, the_tenant
from optirelay.engine import operate

app = typer.Typer(help="What customers said of channels.", no_args_is_help=True)
COLUMNS = ("channel", "opted_in", "at", "source")
STATUS_COLUMNS = ("tenant", "channel", "route", "pending", "sent", "confirmed", "failed")
FAILED_COLUMNS = ("tenant", "channel", "customer_id", "failed", "again_at")


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


@app.command()
def status(
    ctx: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="The customers whom Optimove did not take.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """How the sharing of opt-ins with Optimove stands, channel by channel."""
    settings = settings_of(ctx, config)
    look = operate.optins_failed if failed else operate.optins_status
    rows = run(settings, lambda c: look(c, tenant))
    if as_json:
        print_json(rows)
    elif failed:
        print_rows(rows, FAILED_COLUMNS, settings=settings, empty="Optimove took all that it was told.")
    else:
        print_rows(rows, STATUS_COLUMNS, settings=settings, empty="No channel has opt_in: nothing is shared.")


@app.command()
def push(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also what Optimove has confirmed.")] = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Tell Optimove who opted in and out, as far as it has not confirmed it; exit 1 where something failed or is left.

    It returns when Optimove has answered everything, after 60 seconds at most. Results of attribute calls come to
    `optirelay serve`.
    """
    settings = settings_of(ctx, config)
    left = run(settings, lambda c: operate.push_opt_ins(c, tenant, everything=everything))
    for sentence in left:
        complain(sentence)
    if left:
        raise typer.Exit(FAILED)
    say("Optimove has all that is to be shared.")
