"""`optirelay suppressions`: addresses that nobody writes to."""

from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of, the_tenant
from optirelay.engine import operate

app = typer.Typer(help="Addresses that nobody writes to.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "address", "reason", "note", "at")
Address = Annotated[str, typer.Argument(help="An e-mail address, a phone number or a device token.")]
Scope = Annotated[str | None, typer.Option("--channel", help="On this channel alone.", show_default=False)]


@app.command()
def add(
    ctx: typer.Context,
    address: Address,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with it.")] = "",
    config: Config = None,
    tenant: Tenant = None,
    channel: Scope = None,
) -> None:
    """From now on nobody writes there: on no channel of the tenant, or not on the one that is named."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    changed = run(settings, lambda c: operate.suppress(c, name, address, channel, reason))
    say("The address is suppressed." if changed else "The address was suppressed already.")


@app.command("list")
def list_suppressions(
    ctx: typer.Context,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show addresses whole; --json always does.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    channel: Scope = None,
    as_json: AsJson = False,
) -> None:
    """Every suppressed address, and why."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.suppressions(c, tenant, channel, addresses=addresses or as_json))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="No address is suppressed.")


@app.command()
def remove(
    ctx: typer.Context, address: Address, config: Config = None, tenant: Tenant = None, channel: Scope = None
) -> None:
    """It is written to again, wherever it was suppressed, or on the channel that is named; exit 1 where it was not."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    if not run(settings, lambda c: operate.unsuppress(c, name, address, channel)):
        complain("the address is not suppressed there; see `optirelay suppressions list`")
        raise typer.Exit(FAILED)
    say("The address is written to again.")
