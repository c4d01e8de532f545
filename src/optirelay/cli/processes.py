"""`optirelay serve`, `work`, `simulate` and `demo`: what runs until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, AsJson, Config, complain, say

WithParent = Annotated[bool, typer.Option("--with-parent", hidden=True)]
ForServe = Annotated[bool, typer.Option("--for-serve", hidden=True)]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(serve)
    app.command()(work)
    app.command()(simulate)
    app.command()(demo)


def serve(ctx: typer.Context, config: Config = None, with_parent: WithParent = False) -> None:
    """The web process and its workers, until SIGTERM or Ctrl-C."""
    from optirelay import service  # only what runs on needs a web server
    from optirelay.cli._shared import settings_of
    from optirelay.logs import configure_logs

    settings = settings_of(ctx, config)
    configure_logs()
    service.serve(settings, with_parent=with_parent)


def work(
    ctx: typer.Context, config: Config = None, with_parent: WithParent = False, for_serve: ForServe = False
) -> None:
    """One worker, until SIGTERM or Ctrl-C."""
    from optirelay import service  # likewise
    from optirelay.cli._shared import settings_of
    from optirelay.logs import configure_logs

    if for_serve:
        configure_logs()
        service.work_for_serve()
        return
    settings = settings_of(ctx, config)
    configure_logs()
    service.work(settings, with_parent=with_parent)


def simulate(
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT")] = "127.0.0.1:8500",
    seed: Annotated[int | None, typer.Option("--seed", help="Of made customers.", show_default=False)] = None,
    scenario: Annotated[Path | None, typer.Option("--scenario", help="A TOML file.", show_default=False)] = None,
) -> None:
    """An Optimove on this machine, until SIGTERM or Ctrl-C."""
    from optirelay.simulator import BadEntry, CannotListen, Simulator

    try:
        simulator = Simulator(listen, seed, scenario)
        simulator.run(lambda running: say(f"Optimove is simulated on {running.url}"))
    except (BadEntry, CannotListen) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None


def demo(
    recipients: Annotated[int, typer.Option("--recipients", min=1, max=1_000_000, help="How many.")] = 5000,
    triggered: Annotated[
        int, typer.Option("--triggered", min=0, max=100_000, help="Notifications of a trigger, one by one.")
    ] = 200,
    serve: Annotated[bool, typer.Option("--serve", help="Keep it running afterwards, to look around.")] = False,
    as_json: AsJson = False,
) -> None:
    """A campaign and a burst of triggers from Optimove (the simulator) to real e-mail and back, on this machine."""
    from optirelay import demo as demonstration

    raise typer.Exit(demonstration.run(recipients=recipients, triggered=triggered, serve=serve, as_json=as_json))
