"""The command line: `optirelay`."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
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
    optins,
    problems,
    processes,
    report,
    setup,
    suppressions,
    templates,
)
from optirelay.cli._shared import FAILED, INTERRUPTED, Config, complain
from optirelay.errors import OptirelayError
from optirelay.logs import configure_logs
from optirelay.settings import BadSettings

DEBUG = "--debug"

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
app.add_typer(optins.app, name="optins")
app.add_typer(problems.app, name="problems")
app.add_typer(report.app, name="report")
app.add_typer(suppressions.app, name="suppressions")
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
    _debug: Annotated[bool, typer.Option(DEBUG, help="Show where an unexpected error comes from.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    ctx.obj = config


def main() -> None:
    """The program: one command, then its exit status."""
    configure_logs(logging.ERROR)  # `serve` and `work` log more
    logging.getLogger().setLevel(logging.ERROR)
    status = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; no complaint at exit either
        status = FAILED
    sys.exit(status)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; its exit status. What goes wrong is a sentence on standard error, never a traceback."""
    try:
        app(arguments, prog_name="optirelay")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BadSettings as error:
        complain(str(error))
    except OptirelayError as error:
        complain(f"optirelay: {error}")
    except Exception as error:  # noqa: BLE001 - the last resort of a program that never shows a traceback unasked
        if DEBUG in arguments:
            traceback.print_exc()
        complain(
            f"optirelay: an error that should not happen ({type(error).__name__}); this is a bug. "
            f"`optirelay {DEBUG} …` shows where it comes from"
        )
    return FAILED
