"""A file's rows go in, thousands at a time; what is wrong with the others stands in a file beside it."""

import csv
import gzip
import os
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Any, TextIO, TypeVar

from optirelay.errors import NeedsOperator
from optirelay.stages.files import BadFile, Columns, Reject, Rejection, Row, Rows, kind_of, rejects_header

T = TypeVar("T")
ROWS_AT_ONCE = 2000
"""In one transaction."""
_BLOCK = 256 * 1024
Progress = Callable[[int, int], object]
"""Told now and then: octets of the file that were read, and all."""


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
    keep: Callable[[list[T]], Awaitable[int]] | None,
    progress: Progress = lambda _read, _all: None,
) -> Imported:
    """Read a file to its end and keep what its rows say, at most ROWS_AT_ONCE at a time.

    `keep` has written when it returns, and answers how many of them said something new; without it nothing is written
    but the rejects: `FILE.rejected.csv`, there once it is whole; one of an earlier run is gone where nothing is
    rejected. NeedsOperator where the file cannot be read, or the rejects cannot be written; what was kept until then
    stays, and the same file again gives the same.
    """
    whole, changed, wanted = 0, 0, list[T]()
    with _opened(path) as file, _rejects_of(path) as rejects:
        rows = _rows(file, columns)
        for row in rows:
            said = row.reason if isinstance(row, Reject) else read(row)
            if isinstance(said, Rejection):
                rejects.add(row if isinstance(row, Reject) else row.rejected(said), rows)
                continue
            wanted.append(said)
            if len(wanted) == ROWS_AT_ONCE:
                whole += len(wanted)
                changed += await keep(wanted) if keep else 0
                wanted = []
                progress(file.read_so_far(), file.size)
        if wanted:
            whole += len(wanted)
            changed += await keep(wanted) if keep else 0
        progress(file.size, file.size)
    return Imported(whole, changed, rejects.count, rejects.path if rejects.count else None)


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
        self.unfinished: Path | None = None
        self.out: TextIO | None = None
        self._write: Any = None

    def add(self, reject: Reject, rows: Rows) -> None:
        """One more. NeedsOperator where it cannot be written."""
        try:
            if self.out is None:
                self._begin(rows)
            self._write(reject.written())
        except OSError as error:
            raise self.cannot_write(error) from error
        self.count += 1

    def _begin(self, rows: Rows) -> None:
        descriptor, name = mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        self.unfinished = Path(name)
        # What is no UTF-8 comes out as the octets that it was.
        self.out = os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="")
        self._write = csv.writer(self.out, lineterminator="\n").writerow
        self._write(rejects_header(rows))

    def finish(self) -> None:
        """It is there under its name; where nothing was rejected, none is."""
        try:
            if self.out is None or self.unfinished is None:
                self.path.unlink(missing_ok=True)
            else:
                self.out.close()
                self.unfinished.replace(self.path)
        except OSError as error:
            raise self.cannot_write(error) from error

    def cannot_write(self, error: OSError) -> NeedsOperator:
        """What to tell the operator."""
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
        if rejects.out is not None:
            rejects.out.close()
        if rejects.unfinished is not None:
            rejects.unfinished.unlink(missing_ok=True)
