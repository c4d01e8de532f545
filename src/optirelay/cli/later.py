"""Names that are taken, for commands that later versions bring."""

import typer

from optirelay.cli._basics import WRONG_USE, complain

LATER = {
    "": ("tokens", "users"),
}
_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_to(app: typer.Typer, noun: str) -> None:
    """Have each of a group's, or with "" of the program's own, say that it is not built yet."""
    for name in LATER.get(noun, ()):
        app.command(name, hidden=True, context_settings=_ANYTHING, add_help_option=False)(_not_built)


def _not_built(ctx: typer.Context) -> None:
    complain(f"`{ctx.command_path}` is not built yet in this version")
    raise typer.Exit(WRONG_USE)
