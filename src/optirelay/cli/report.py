"""`optirelay report`: Optimove is told."""

from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, Config, complain, say
from optirelay.cli._shared import Kind, Tenant, kind_of_what, one_kind, one_tenant, run, settings_of
from optirelay.engine import operate
from optirelay.engine.context import Context

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
    kind: Kind = None,
) -> None:
    """Tell Optimove all that it was not told yet; exit 1 where something failed, was left or fell into doubt."""
    kind_of_what(campaign, kind)

    async def tell(c: Context) -> list[str]:
        if campaign is None:
            return await operate.report_now(c, tenant)
        shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign, kind=kind)
        return await operate.report_now(c, one_tenant(shapes, campaign), campaign, one_kind(shapes, campaign))

    left = run(settings_of(ctx, config), tell)
    for sentence in left:
        complain(sentence)
    if left:
        raise typer.Exit(FAILED)
    say("Optimove was told everything.")
