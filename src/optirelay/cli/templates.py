"""`optirelay templates`: what marketers can pick."""

from pathlib import Path
from typing import Annotated

import typer

from optirelay.cli._shared import (
    FAILED,
    AsJson,
    Config,
    Tenant,
    complain,
    print_json,
    print_rows,
    run,
    say,
    settings_of,
)
from optirelay.engine import operate
from optirelay.engine.context import Context
from optirelay.engine.operate import BadTemplates, Pushed

app = typer.Typer(help="Templates that marketers can pick.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "template_id", "name", "key", "state")
ENDINGS = (".liquid", ".txt")


@app.command()
def push(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where the *.liquid files are.")],
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Store a directory's templates, then have Optimove's list hold them."""
    settings = settings_of(ctx, config)
    files = _read(directory)

    async def push_all(c: Context) -> list[tuple[str, Pushed]]:
        return [(name, await operate.push_templates(c, name, files)) for name in operate.tenants_of(c, tenant)]

    try:
        results = run(settings, push_all)
    except BadTemplates as bad:
        complain(str(bad))
        raise typer.Exit(FAILED) from None
    behind = []
    for name, pushed in results:
        say(f"{name}: {pushed.stored} templates stored, {pushed.unchanged} unchanged")
        for warning in pushed.warnings:
            complain(f"warning: {warning}")
        behind += [f"{name}: {sentence}" for sentence in pushed.behind]
    for sentence in behind:
        complain(sentence)
    if behind:
        raise typer.Exit(FAILED)
    say("Optimove's lists hold them all.")


def _read(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        complain(f"{directory} is no folder; name the one with your *.liquid files")
        raise typer.Exit(FAILED)
    try:
        files = {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.suffix in ENDINGS}
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}; make it readable")
        raise typer.Exit(FAILED) from None
    if not any(name.endswith(".liquid") for name in files):
        complain(f"{directory} has no *.liquid file; put a template there")
        raise typer.Exit(FAILED)
    return files


@app.command("list")
def list_templates(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Ours and others', as they stand at Optimove."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.listed_templates(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="There is no template; `optirelay templates push DIR`.")
