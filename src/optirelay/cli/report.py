"""`optirelay report`: Optimove is told."""

from typing import Annotated

import typer

from optirelay.cli._shared import FAILED, Config, Tenant, complain, run, say, settings_of
from optirelay.engine import operate

app = typer.Typer(help="Reports to Optimove.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Reports to Optimove."""


@app.command()
def now(
    ctx: typer.Context,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only this campaign.", show_default=False)] = None,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Tell Optimove all that it was not told yet; exit 1 where something failed, was left or fell into doubt."""
    left = run(settings_of(ctx, config), lambda c: operate.report_now(c, tenant, campaign))
    for sentence in left:
        complain(sentence)
    if left:
        raise typer.Exit(FAILED)
    say("Optimove was told everything.")
