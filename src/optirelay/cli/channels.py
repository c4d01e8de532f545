"""`optirelay channels`: the ways to reach people."""

from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say
from optirelay.cli._shared import Tenant, print_json, print_rows, refuse_to_choose, run, settings_of
from optirelay.engine import operate
from optirelay.settings import Settings

app = typer.Typer(help="Channels and their providers.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The channel's name in the settings.", metavar="CHANNEL")]
COLUMNS = ("tenant", "channel", "kind", "provider", "scheduled_id", "triggered_id", "rate", "state", "waits_until")


@app.command("list")
def list_channels(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Every channel of the settings, and whether anything of it may leave."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.channels(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="The settings have no channel.")


@app.command()
def pause(ctx: typer.Context, channel: Name, config: Config = None, tenant: Tenant = None) -> None:
    """Nothing more leaves by it until `resume`; what has begun is finished."""
    settings = settings_of(ctx, config)
    name = _tenant_of(settings, channel, tenant)
    changed = run(settings, lambda c: operate.pause_channel(c, name, channel))
    say(f"Channel {channel} is paused." if changed else f"Channel {channel} was paused already.")


@app.command()
def resume(ctx: typer.Context, channel: Name, config: Config = None, tenant: Tenant = None) -> None:
    """A paused channel goes on, or one that its provider had stopped."""
    settings = settings_of(ctx, config)
    name = _tenant_of(settings, channel, tenant)
    changed = run(settings, lambda c: operate.resume_channel(c, name, channel))
    say(f"Channel {channel} goes on." if changed else f"Channel {channel} was neither paused nor stopped.")


def _tenant_of(settings: Settings, channel: str, tenant: str | None) -> str:
    """The tenant whose channel is meant. Exit 1 where none has it, 2 where several have and none is named."""
    having = [name for name, each in settings.tenants.items() if channel in each.channels and tenant in (None, name)]
    if not having:
        complain(f"there is no channel {channel} here; see `optirelay channels list`")
        raise typer.Exit(FAILED)
    if len(having) > 1:
        refuse_to_choose(f"several tenants have a channel {channel}", [f"--tenant {name}" for name in having])
    return having[0]
