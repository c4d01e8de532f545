"""The command line: `optirelay`."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from optirelay import __version__
from optirelay.cli import later, processes
from optirelay.cli._basics import FAILED, INTERRUPTED, Config, complain
from optirelay.errors import OptirelayError

DEBUG = "--debug"
# Modules of commands, each loaded when it is asked for: one second of loading is for those who need it.
GROUPS = (
    *("campaigns", "channels", "contacts", "doubts", "listeners", "messages", "optins", "problems", "report"),
    *("suppressions", "templates"),
)
SINGLE = {"init": "setup", "check": "setup", "providers": "setup", "erase": "erase"}  # commands, and their modules


class Program(TyperGroup):
    """The commands of this file, and those that are loaded when they are asked for.

    `ctx` and commands are click's own or, in newer versions of typer, a copy's.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the same in every context
        """All names, loaded or not."""
        return [*SINGLE, *self.commands, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command or group of commands; None where there is none."""
        if cmd_name not in (*SINGLE, *GROUPS):
            return super().get_command(ctx, cmd_name)
        loaded = typer.Typer()
        if cmd_name in SINGLE:
            import_module(f"optirelay.cli.{SINGLE[cmd_name]}").add_to(loaded)
        else:
            group = import_module(f"optirelay.cli.{cmd_name}").app
            later.add_to(group, cmd_name)
            loaded.add_typer(group, name=cmd_name)
        return typer.main.get_group(loaded).commands[cmd_name]


app = typer.Typer(
    cls=Program,
    name="optirelay",
    help="Delivers Optimove's campaigns: every recipient once, on time, and reported back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
processes.add_to(app)
later.add_to(app, "")


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


def _log_errors_alone() -> None:
    from optirelay.logs import configure_logs

    configure_logs(logging.ERROR)  # `serve` and `work` log more
    logging.getLogger().setLevel(logging.ERROR)


def main() -> None:
    """The program: one command, then its exit status."""
    if sys.argv[1:2] != ["simulate"]:  # it logs nothing, and starts the sooner without
        _log_errors_alone()
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
    except OptirelayError as error:
        from optirelay.settings import BadSettings  # loaded already where it was raised

        complain(str(error) if isinstance(error, BadSettings) else f"optirelay: {error}")
    except Exception as error:  # noqa: BLE001 - the last resort of a program that never shows a traceback unasked
        if DEBUG in arguments:
            traceback.print_exc()
        complain(
            f"optirelay: an error that should not happen ({type(error).__name__}); this is a bug. "
            f"`optirelay {DEBUG} …` shows where it comes from"
        )
    return FAILED
