"""`optirelay init`, `check` and `providers`: a first settings file, and whether it works."""

import os
import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from optirelay.cli._basics import FAILED, WRONG_USE, AsJson, Config, complain, say
from optirelay.cli._shared import console, print_json, run, settings_of
from optirelay.engine import operate, runtime
from optirelay.errors import OptirelayError
from optirelay.settings import BadSettings, example

PRIVATE = 0o600
DEFAULT = Path("optirelay.toml")
TENANT_NAME = r"[a-z0-9_-]{1,40}"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(init)
    app.command()(check)
    app.command()(providers)


def init(
    path: Annotated[Path, typer.Argument(help="Where to write.")] = DEFAULT,
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant's name in the file.")] = "acme",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented settings file with fresh secrets; only this account may read it."""
    if not re.fullmatch(TENANT_NAME, tenant):
        complain(f"{tenant!r} is no name for a tenant; take 1 to 40 of a-z 0-9 _ -")
        raise typer.Exit(WRONG_USE)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, PRIVATE), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), PRIVATE)  # where it replaces a file that others could read
            file.write(example(tenant))
    except FileExistsError:
        complain(f"{path} is there already; name another file, or replace it with --force")
        raise typer.Exit(FAILED) from None
    except OSError as error:
        complain(f"{path} cannot be written: {error.strerror}")
        raise typer.Exit(FAILED) from None
    option = "" if path == DEFAULT else f" --config {shlex.quote(str(path))}"
    say(f"{path} is written. Next:")
    say("1. Fill in api_url and the channel's ids, as Optimove told you, and have the API key where the file says.")
    say(f"2. optirelay check{option}: tells what is still missing.")
    say(f"3. optirelay templates push DIR{option}: stores your templates, and marketers can pick them.")
    say(f"4. optirelay serve{option}: from now on campaigns are delivered; check --online then tries all out.")


def check(
    ctx: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also try our address, keys, providers, clocks.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell every setting that cannot work; exit 1 where there is one."""
    faults: list[dict[str, Any]] = []
    try:
        settings = settings_of(ctx, config)
        if online:
            faults = run(settings, operate.probe_online)
    except BadSettings as bad:
        faults = [{"key": fault.key, "problem": fault.problem, "mend": fault.mend} for fault in bad.faults]
    except OptirelayError as error:
        faults = [{"key": "service.database", "problem": str(error), "mend": "Check [service] database and data_dir"}]
    if as_json:
        print_json(faults)
    else:
        for fault in faults:
            complain(f"{fault['key']}: {fault['problem']}. {fault['mend']}")
        if not faults:
            say("Nothing is wrong.")
    if faults:
        raise typer.Exit(FAILED)


def providers(as_json: AsJson = False) -> None:
    """Every provider that a channel can name, and what a repeat does there."""
    rows = [
        {"provider": name, "contract": " or ".join(channel.contracts), "reported": channel.reported}
        for name, channel in runtime.installed_providers()
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("provider", "contract", "reported to Optimove", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(str(row["provider"]), str(row["contract"]), "yes" if row["reported"] else "no (dry run)")
    console().print(table)
