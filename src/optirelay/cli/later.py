"""Names that are taken, for commands that later versions bring."""

import typer

from optirelay.cli._shared import WRONG_USE, complain

LATER = {
    "optins": ("import", "push", "status"),
    "": ("contacts", "erase", "tokens", "users"),
}
_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_to(app: typer.Typer) -> None:
    """Have each of them say that it is not built yet."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    for noun, names in LATER.items():
        for name in names:
            place = groups[noun] if noun else app
            assert place is not None
            place.command(name, hidden=True, context_settings=_ANYTHING, add_help_option=False)(_not_built)


def _not_built(ctx: typer.Context) -> None:
    complain(f"`{ctx.command_path}` is not built yet in this version")
    raise typer.Exit(WRONG_USE)
