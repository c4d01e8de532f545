"""`optirelay messages`: what one person was sent."""

from typing import Annotated, Any

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain
from optirelay.cli._shared import Channel, Kind, Tenant, meant, print_json, print_rows, run, settings_of
from optirelay.engine import operate
from optirelay.engine.context import Context

app = typer.Typer(help="Messages to one person.", no_args_is_help=True)
COLUMNS = ("sid", "channel", "template_id", "send_at", "state", "reason")
ATTEMPT_COLUMNS = ("sid", "at", "outcome", "detail")
EVENT_COLUMNS = ("sid", "at", "event")


@app.callback()
def group() -> None:
    """Messages to one person."""


@app.command()
def show(
    ctx: typer.Context,
    campaign: Annotated[str, typer.Option("--campaign", help="Optimove's id of the campaign.")],
    customer: Annotated[str, typer.Option("--customer", help="Optimove's id of the customer.")],
    config: Config = None,
    tenant: Tenant = None,
    channel: Channel = None,
    kind: Kind = None,
    as_json: AsJson = False,
) -> None:
    """Every message of a campaign to a customer, with each try and each event."""
    settings = settings_of(ctx, config)

    async def look(c: Context) -> list[dict[str, Any]]:
        shape = await meant(c, campaign, tenant, channel, kind)
        return await operate.messages(c, shape["tenant"], campaign, customer, shape["channel"], kind=shape["kind"])

    rows = run(settings, look)
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(rows, COLUMNS, settings=settings, empty="")
        attempts = [{**try_, "sid": row["sid"], "tenant": row["tenant"]} for row in rows for try_ in row["attempts"]]
        print_rows(attempts, ATTEMPT_COLUMNS, settings=settings, empty="Nothing was tried yet.")
        events = [{**event, "sid": row["sid"], "tenant": row["tenant"]} for row in rows for event in row["events"]]
        if events:
            print_rows(events, EVENT_COLUMNS, settings=settings, empty="")
    if not rows:
        complain(f"campaign {campaign} has no message to customer {customer}")
        raise typer.Exit(FAILED)
