"""A file's rows go in, thousands at a time; what is wrong with the others stands in a file beside it."""

import asyncio
import csv
import fcntl
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from optirelay.errors import NeedsOperator
from optirelay.stages.files import BadFile, Columns, Reject, Rejection, Row, Rows, kind_of, rejects_header

T = TypeVar("T")
ROWS_AT_ONCE = 2000
"""In one transaction."""
_SLICE = 100  # rows; then others have their turn
_BLOCK = 256 * 1024
Keep = Callable[[list[T]], Coroutine[Any, Any, int]]
Progress = Callable[[int, int], None]
"""Told now and then: octets of the file that were read, and all."""


def nobody_looks(_read: int, _all: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file's rows."""

    rows: int  # that are in, or, in a dry run, would be
    changed: int  # of them, those that said something new; 0 in a dry run
    rejected: int
    rejects: Path | None  # where they stand


async def import_file(
    path: Path,
    columns: Columns,
    *,
    read: Callable[[Row], T | Rejection],
    keep: Keep[T],
    progress: Progress,
) -> Imported:
    """Read a file to its end and keep what its rows say, at most ROWS_AT_ONCE at a time.

    `keep` has written when it returns, and answers how many of them said something new. Rejects stand in
    `FILE.rejected.csv` once it is whole; one of an earlier run is gone where nothing is rejected. NeedsOperator where
    the file cannot be read, or the rejects cannot be written; what was kept until then stays, and the same file again
    gives the same.
    """
    with _opened(path) as file, _rejects_of(path) as rejects:
        groups = _in_groups(_rows(file, columns), read, rejects)
        whole, changed = await _keep_all(groups, keep, lambda: progress(file.read_so_far(), file.size))
    return Imported(whole, changed, rejects.count, rejects.path if rejects.count else None)


async def keep_nothing(_said: Sequence[object]) -> int:
    """How a dry run keeps."""
    return 0


async def _keep_all(groups: AsyncIterator[list[T]], keep: Keep[T], progress: Callable[[], None]) -> tuple[int, int]:
    """How many there were, and how many of them said something new. While one group is written the next is read; one
    that was begun is finished, whatever happens."""
    whole, changed = 0, 0
    keeping: asyncio.Task[int] | None = None
    try:
        async for group in groups:
            if keeping is not None:
                changed += await asyncio.shield(keeping)
            progress()
            whole += len(group)
            keeping = asyncio.create_task(keep(group))
        if keeping is not None:
            changed += await asyncio.shield(keeping)
    finally:
        if keeping is not None:
            await asyncio.gather(keeping, return_exceptions=True)
    return whole, changed


async def _in_groups(rows: Rows, read: Callable[[Row], T | Rejection], rejects: "_Rejects") -> AsyncIterator[list[T]]:
    """What the rows say, ROWS_AT_ONCE at a time; meanwhile the group before is written."""
    wanted: list[T] = []
    for number, row in enumerate(rows):
        if number % _SLICE == 0:
            await asyncio.sleep(0)
        said = row.reason if isinstance(row, Reject) else read(row)
        if not isinstance(said, Rejection):
            wanted.append(said)
        else:
            rejects.add(row if isinstance(row, Reject) else row.rejected(said), rows)
        if len(wanted) == ROWS_AT_ONCE:
            yield wanted
            wanted = []
    if wanted:
        yield wanted


class _File:
    """A file that is being imported."""

    def __init__(self, path: Path, raw: IO[bytes], *, packed: bool) -> None:
        self.path = path
        self.size = os.fstat(raw.fileno()).st_size
        self._raw = raw
        self._plain: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]

    def read_so_far(self) -> int:
        """Octets of it, as it lies there."""
        return min(self._raw.tell(), self.size)

    def blocks(self) -> Iterator[bytes]:
        """What is in it. NeedsOperator where it cannot be read to its end."""
        try:
            while block := self._plain.read(_BLOCK):
                yield block
        except (EOFError, zlib.error, OSError) as error:
            raise NeedsOperator(f"cannot read {self.path} to its end: {error}; make it anew, and import it") from error


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    try:
        _, packed = kind_of(path.name)
    except BadFile as error:
        raise NeedsOperator(f"{path}: {error}") from error
    if path.exists() and not path.is_file():
        raise NeedsOperator(f"{path} is no file; name one")
    try:
        raw = path.open("rb")
    except OSError as error:
        raise NeedsOperator(f"cannot read {path}: {error.strerror or error}; name a file that you may read") from error
    with raw:
        yield _File(path, raw, packed=packed)


def _rows(file: _File, columns: Columns) -> Rows:
    try:
        return Rows(file.blocks(), kind_of(file.path.name)[0], columns)
    except BadFile as error:
        raise NeedsOperator(f"{file.path}: {error}") from error


class _Rejects:
    """Rows that are not imported, in a file beside the imported one: for this account alone, as it may hold people."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.rejected.csv")
        self.count = 0
        self._unfinished = path.with_name(f".{path.name}.rejected.csv")  # one that a killed import left is used again
        self._out: TextIO | None = None
        self._write: Callable[[list[str]], object]

    def add(self, reject: Reject, rows: Rows) -> None:
        """One more. NeedsOperator where it cannot be written."""
        try:
            if self._out is None:
                self._begin(rejects_header(rows))
            self._write(reject.written())
        except OSError as error:
            raise self._cannot_write(error) from error
        self.count += 1

    def _begin(self, header: list[str]) -> None:
        descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT, 0o600)
        # What is no UTF-8 comes out as the octets that it was.
        out = os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="")
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            out.close()
            raise NeedsOperator(f"{self.path} is being written by another import; begin when that has ended") from error
        out.truncate()
        self._out = out
        self._write = csv.writer(out, lineterminator="\n").writerow
        self._write(header)

    def finish(self) -> None:
        """It is there under its name; where nothing was rejected, none is."""
        try:
            if self._out is None:
                self.path.unlink(missing_ok=True)
                self._unfinished.unlink(missing_ok=True)
            else:
                self._out.flush()
                self._unfinished.replace(self.path)
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """What is not finished is gone."""
        if self._out is not None:
            self._unfinished.unlink(missing_ok=True)
            self._out.close()

    def _cannot_write(self, error: OSError) -> NeedsOperator:
        return NeedsOperator(
            f"cannot write {self.path}: {error.strerror or error}; put the imported file in a folder of yours"
        )


@contextmanager
def _rejects_of(path: Path) -> Iterator[_Rejects]:
    rejects = _Rejects(path)
    try:
        yield rejects
        rejects.finish()
    finally:
        rejects.close()
