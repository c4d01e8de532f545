"""The command line: `optirelay`."""

import os
import sys
import traceback
from typing import Annotated

import typer

from optirelay import __version__
from optirelay.cli import (
    campaigns,
    channels,
    doubts,
    later,
    listeners,
    messages,
    problems,
    processes,
    report,
    setup,
    templates,
)
from optirelay.cli._shared import FAILED, Config, complain
from optirelay.errors import OptirelayError
from optirelay.settings import BadSettings

app = typer.Typer(
    name="optirelay",
    help="Delivers Optimove's campaigns: every recipient once, on time, and reported back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(campaigns.app, name="campaigns")
app.add_typer(channels.app, name="channels")
app.add_typer(doubts.app, name="doubts")
app.add_typer(listeners.app, name="listeners")
app.add_typer(messages.app, name="messages")
app.add_typer(problems.app, name="problems")
app.add_typer(report.app, name="report")
app.add_typer(templates.app, name="templates")
setup.add_to(app)
processes.add_to(app)
later.add_to(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def before(
    ctx: typer.Context,
    config: Config = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected error comes from.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    ctx.obj = config
    ctx.meta["debug"] = debug


def main() -> None:
    """Run one command; whatever goes wrong is a sentence on standard error, never a traceback."""
    try:
        app()
    except BadSettings as error:
        complain(str(error))
        sys.exit(FAILED)
    except OptirelayError as error:
        complain(f"optirelay: {error}")
        sys.exit(FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; no complaint at exit either
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - the last resort of a program that never shows a traceback unasked
        if "--debug" in sys.argv:
            traceback.print_exc()
        complain(
            f"optirelay: an error that should not happen ({type(error).__name__}); this is a bug. "
            "`optirelay --debug …` shows where it comes from"
        )
        sys.exit(FAILED)
