"""`optirelay doubts`: what was written and not answered for."""

from typing import Annotated, NoReturn

import typer

from optirelay.cli._basics import FAILED, WRONG_USE, AsJson, Config, complain, say
from optirelay.cli._shared import (
    Kind,
    Tenant,
    kind_of_what,
    one_kind,
    one_tenant,
    print_json,
    print_rows,
    run,
    settings_of,
)
from optirelay.engine import operate
from optirelay.engine.context import Context

app = typer.Typer(help="Messages and reports that may have arrived.", no_args_is_help=True)
MESSAGE_COLUMNS = ("tenant", "channel", "campaign_id", "kind", "customer_id", "to", "since", "contract", "sid")
DECISIONS = (operate.Decision.SENT, operate.Decision.RESEND, operate.Decision.GIVE_UP)
REPORT_COLUMNS = ("id", "tenant", "campaign_id", "kind", "call", "customers", "since")


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


@app.command()
def resolve(
    ctx: typer.Context,
    sids: Annotated[list[str] | None, typer.Argument(metavar="[SID]...", help="Messages in doubt.")] = None,
    sent: Annotated[bool, typer.Option("--sent", help="They arrived.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="Send them once more.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="They did not arrive and are not to.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")] = "",
    report: Annotated[list[int] | None, typer.Option("--report", help="A report call, by its id.")] = None,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Those of this campaign.")] = None,
    kind: Kind = None,
    every: Annotated[bool, typer.Option("--all", help="All messages in doubt.")] = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Say what became of messages, or report calls, in doubt; exit 1 where some of them stay so."""
    decisions = [decision for decision, chosen in zip(DECISIONS, (sent, resend, give_up), strict=True) if chosen]
    if len(decisions) != 1:
        _refuse("say one of --sent, --resend and --give-up")
    if not reason.strip():
        _refuse("say why with --reason TEXT; it is kept with the decision")
    if sum((bool(sids), bool(report), campaign is not None, every)) != 1:
        _refuse("name what is meant: SID…, or --report ID, or --campaign CAMPAIGN, or --all")
    kind_of_what(campaign, kind)
    (decision,) = decisions

    async def decide(c: Context) -> operate.Resolved:
        if report:
            return await operate.resolve_reports(c, decision, reason, report, tenant=tenant)
        if campaign is None:
            return await operate.resolve_doubts(c, decision, reason, tenant=tenant, sids=sids or ())
        shapes = await operate.campaigns(c, tenant=tenant, campaign_id=campaign, kind=kind)
        named, only = one_tenant(shapes, campaign), one_kind(shapes, campaign)
        return await operate.resolve_doubts(c, decision, reason, tenant=named, campaign_id=campaign, kind=only)

    resolved = run(settings_of(ctx, config), decide)
    say(f"{resolved.done} resolved.")
    for sentence in resolved.left:
        complain(sentence)
    if resolved.left:
        raise typer.Exit(FAILED)


def _refuse(why: str) -> NoReturn:
    complain(why)
    raise typer.Exit(WRONG_USE)
