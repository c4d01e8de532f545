"""`optirelay templates`: what marketers can pick."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from optirelay.cli._basics import FAILED, WRONG_USE, AsJson, Config, complain, say
from optirelay.cli._shared import Tenant, print_json, print_rows, run, settings_of, the_tenant
from optirelay.engine import operate

app = typer.Typer(help="Templates that marketers can pick.", no_args_is_help=True)
COLUMNS = ("tenant", "channel", "template_id", "name", "key", "app", "state")
DIFF_COLUMNS = ("tenant", "channel", "channel_id", "template_id", "ours", "optimove", "app", "sync")
ENDINGS = (".liquid", ".txt")


@app.command()
def push(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where the *.liquid files are.")],
    prune: Annotated[bool, typer.Option("--prune", help="Drop ours that the directory does not have.")] = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Store a directory's templates, then have Optimove's list hold them."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    files = _read(directory)
    try:
        pushed = run(settings, lambda c: operate.push_templates(c, name, files, prune=prune))
    except operate.BadTemplates as bad:
        complain(str(bad))
        raise typer.Exit(FAILED) from None
    dropped = f", {pushed.dropped} dropped" if prune else ""
    say(f"{pushed.stored} templates stored, {pushed.unchanged} unchanged{dropped}.")
    for warning in pushed.warnings:
        complain(f"warning: {warning}")
    _end(pushed.behind)


def _end(behind: Sequence[str]) -> None:
    """Exit 1 with a line for each template that is not at Optimove as it is here."""
    for sentence in behind:
        complain(sentence)
    if behind:
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


@app.command()
def diff(ctx: typer.Context, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """What differs between us and Optimove, and what `templates sync` does about it."""
    settings = settings_of(ctx, config)
    rows = run(settings, lambda c: operate.templates_diff(c, tenant))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, DIFF_COLUMNS, settings=settings, empty="Nothing differs.")


@app.command()
def sync(
    ctx: typer.Context,
    prune: Annotated[bool, typer.Option("--prune", help="Delete at Optimove what was never ours, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what a running campaign needs.")] = False,
    config: Config = None,
    tenant: Tenant = None,
) -> None:
    """Bring apps and templates in step with Optimove's lists: add, rename, delete."""
    settings = settings_of(ctx, config)
    _end(run(settings, lambda c: operate.sync_templates(c, tenant, prune=prune, force=force)))


@app.command()
def preview(
    ctx: typer.Context,
    template: Annotated[str, typer.Argument(help="Its id or key, or the path of its *.liquid file.")],
    channel: Annotated[str | None, typer.Option("--channel", help="Of several channels, this one.")] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="With --customer: a real message's values.")
    ] = None,
    customer: Annotated[str | None, typer.Option("--customer", help="Whose values, in --campaign.")] = None,
    value: Annotated[list[str] | None, typer.Option("--value", help="NAME=VALUE, as often as you like.")] = None,
    html: Annotated[bool, typer.Option("--html", help="The HTML alone, for a browser.")] = False,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """A template as somebody would get it: each value its own name, or those of a real message."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    if (campaign is None) != (customer is None):
        complain("name both --campaign and --customer, or neither")
        raise typer.Exit(WRONG_USE)
    person = None if campaign is None or customer is None else operate.Person(campaign, customer)
    values = dict(_name_and_value(text) for text in value or ())
    wanted = _files_of(Path(template)) if template.endswith(ENDINGS[0]) else template
    made = run(settings, lambda c: operate.preview(c, name, wanted, channel=channel, person=person, values=values))
    if as_json:
        print_json({"from": made.sender, "subject": made.subject, "text": made.text, "html": made.html})
    elif html:
        if made.html is None:
            complain("what its channel carries has no HTML; leave --html out")
            raise typer.Exit(FAILED)
        say(made.html)
    else:
        say(f"From: {made.sender or '-'}\nSubject: {made.subject or '-'}\n\n{made.text}")


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        complain(f"--value {text} is no NAME=VALUE; write for instance --value FIRST_NAME=Ana")
        raise typer.Exit(WRONG_USE)
    return name, value


def _files_of(path: Path) -> dict[str, bytes]:
    """A template's file, and its text beside it."""
    try:
        files = {path.name: path.read_bytes()}
        beside = path.with_suffix(ENDINGS[1])
        return files | ({beside.name: beside.read_bytes()} if beside.is_file() else {})
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}; name a *.liquid file that you can read")
        raise typer.Exit(FAILED) from None
