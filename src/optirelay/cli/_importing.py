"""What commands share that import a file."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from optirelay.cli._basics import FAILED, say
from optirelay.engine import operate
from optirelay.engine.operate import importing

File = Annotated[Path, typer.Argument(help="CSV with a header or JSON Lines, by its ending; also .gz.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen and write the rejects; change nothing.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 where a row is rejected; the others are in.")]


@contextmanager
def progress_of(path: Path) -> Iterator[importing.Progress]:
    """A bar on standard error, where that is a terminal. Meanwhile Python's collector looks seldom."""
    seldom, often = (20_000, 20, 50), gc.get_threshold()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(path.name, total=None)
        gc.set_threshold(*seldom)
        try:
            yield lambda read, whole: bar.update(task, completed=read, total=whole)
        finally:
            gc.set_threshold(*often)


def conclude(done: operate.Imported, *, dry_run: bool, strict: bool) -> None:
    """Say what became of a file. Exit 1 where that is to be strict about rejects."""
    if dry_run:
        said = f"{rows_of(done.rows)} would be in"
    else:
        said = f"{rows_of(done.rows)} {'is' if done.rows == 1 else 'are'} in, {done.changed} changed something"
    if done.rejects is None:
        say(f"{said}; none is rejected.")
        return
    say(f"{said}; {done.rejected} {'is' if done.rejected == 1 else 'are'} rejected: see {done.rejects}")
    if strict:
        raise typer.Exit(FAILED)


def rows_of(count: int) -> str:
    """So many rows, in words."""
    return f"{count} row{'' if count == 1 else 's'}"
