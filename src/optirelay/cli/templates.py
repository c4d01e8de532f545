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
    refuse_to_choose,
    run,
    say,
    settings_of,
)
from optirelay.engine import operate

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
    if tenant is None and len(settings.tenants) > 1:
        refuse_to_choose("there are several tenants", [f"--tenant {name}" for name in settings.tenants])
    name = tenant or next(iter(settings.tenants))
    files = _read(directory)
    try:
        pushed = run(settings, lambda c: operate.push_templates(c, name, files))
    except operate.BadTemplates as bad:
        complain(str(bad))
        raise typer.Exit(FAILED) from None
    say(f"{pushed.stored} templates stored, {pushed.unchanged} unchanged.")
    for warning in pushed.warnings:
        complain(f"warning: {warning}")
    for sentence in pushed.behind:
        complain(sentence)
    if pushed.behind:
        raise typer.Exit(FAILED)
    say("Optimove's list holds them all.")


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
    rows = run(settings, lambda c: operate.templates(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, COLUMNS, settings=settings, empty="There is no template; `optirelay templates push DIR`.")
