"""What every command shares and that takes no time to load."""

import sys
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", help="The settings file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, flush=True)  # somebody may read it through a pipe while the command goes on


def complain(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr)
