"""Rows of a file one by one, each with its line, and those that cannot be read."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, NamedTuple

import msgspec

LONGEST_ROW = 128 * 1024
"""Octets, the line breaks within it among them; what is longer is no row, and reading goes on at the next line."""
_PACKED = ".gz"
_BOM = b"\xef\xbb\xbf"
_JSON_COLUMNS: tuple[str, ...] = ("row",)


class BadFile(ValueError):
    """Not a row but the whole file cannot be read; the text says what is wrong with it, and the mend."""


class FileKind(StrEnum):
    """How rows are written."""

    CSV = ".csv"
    JSON_LINES = ".jsonl"


class Rejection(StrEnum):
    """Why a row is not imported."""

    NO_CUSTOMER = "no_customer"
    UNKNOWN_CHANNEL = "unknown_channel"
    BAD_VALUE = "bad_value"
    BAD_TIME = "bad_time"
    BAD_ADDRESS = "bad_address"
    BAD_ROW = "bad_row"


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file has to say, and what it may."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    others: bool = False  # whether it may have more, of its own

    def wrong(self, names: Sequence[str]) -> str | None:
        """What is wrong with a CSV file's header, and the mend; None where nothing is."""
        for name in names:
            if not name:
                return f"column {names.index(name) + 1} has no name; name it, or take it out"
            if names.count(name) > 1:
                return f"column {name} is there twice; take one out"
        missing = [name for name in self.needed if name not in names]
        if missing:
            return f"there is no column {missing[0]}; begin with {self._header()}"
        return self.unknown(names)

    def unknown(self, names: Iterable[str]) -> str | None:
        """Which column is not known, and the mend; None where all are, or may be of its own."""
        known = {*self.needed, *self.optional}
        strange = [name for name in names if name not in known]
        for name in strange:
            if self.others and name.strip().lower() in known:  # it would be one of its own that nobody meant
                return f"column {name} is not known; write {name.strip().lower()}"
        return None if self.others or not strange else f"column {strange[0]} is not known; take it out"

    def _header(self) -> str:
        optional = f" (and, optional, {', '.join(self.optional)})" if self.optional else ""
        return f"a line of the columns' names, separated by commas: {','.join(self.needed)}{optional}"


class Row(NamedTuple):
    """A row of a file. Values are texts, or whatever JSON has; a blank cell is an empty text."""

    line: int  # where it begins, counted from 1 as an editor does
    values: Mapping[str, Any]
    cells: Sequence[str]  # as they stand in the file, for the file of rejects

    def rejected(self, reason: Rejection) -> "Reject":
        """The row, with why it is not imported."""
        return Reject(self.line, reason, self.cells)


class Reject(NamedTuple):
    """A row that is not imported, and why."""

    line: int
    reason: Rejection
    cells: Sequence[str]  # as many as the file has columns, or as the row has; a row that cannot be told apart is one

    def written(self) -> list[str]:
        """Cells of the file of rejects, under those of `rejects_header`."""
        return [str(self.line), self.reason, *self.cells]


class Rows:
    """The rows of a file, read once from first to last; at most one of them, and one block, is in memory.

    `columns` are the names of a reject's cells. Blank lines are no rows. What is no row at all is a `bad_row`: other
    cells than the header's, quotes that do not close (each line up to the next that does is rejected, and nothing in
    between is taken for a row), JSON that is broken or no object, a NUL, octets that are no UTF-8, more than
    LONGEST_ROW; of JSON Lines also a column that is not known. Rejected text is decoded with `surrogateescape`.
    """

    def __init__(self, blocks: Iterable[bytes], kind: FileKind, columns: Columns) -> None:
        """Blocks of the file, unpacked, cut anywhere. BadFile where its header, or for JSON Lines the first row, has a
        wrong column."""
        self._lines = _Lines(blocks)
        if kind is FileKind.CSV:
            self._read: Iterator[Row | Reject] = self._csv(columns)
        else:
            self._read = self._json(columns)
            self.columns = _JSON_COLUMNS
        first = next(self._read, None)  # reads the header
        self._all = chain(() if first is None else (first,), self._read)

    def __iter__(self) -> Iterator[Row | Reject]:
        return self._all

    def _csv(self, columns: Columns) -> Iterator[Row | Reject]:
        rows = self._cells()
        line, header = next(((line, cells) for line, cells in rows if cells != []), (1, []))
        if header is None:
            raise BadFile(f"line {line} is no header; begin with the columns' names, in UTF-8")
        names = [name.strip() for name in header]
        wrong = columns.wrong(names)
        if wrong:
            raise BadFile(wrong)
        self.columns = tuple(names)
        width = len(names)
        for line, cells in rows:
            if cells is None:
                yield from self._lines.rejected()
            elif len(cells) == width:
                yield Row(line, dict(zip(names, cells, strict=True)), cells)
            elif cells:
                yield Reject(line, Rejection.BAD_ROW, cells)

    def _cells(self) -> Iterator[tuple[int, list[str] | None]]:
        """The line where each row begins, and its cells: none of a blank line, None where it is no row."""
        lines = self._lines
        read = csv.reader(lines, strict=True)
        while True:
            lines.next_row()
            line = lines.number + 1
            try:
                cells = next(read)
            except StopIteration:
                return
            except (csv.Error, _TooLong):
                yield line, None
            else:
                yield line, cells if lines.are_text else None

    def _json(self, columns: Columns) -> Iterator[Row | Reject]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        first = True
        for line, text in self._texts():
            if text is None:
                yield from self._lines.rejected()
                continue
            try:
                values = decode(text)
            except (msgspec.DecodeError, RecursionError):
                yield Reject(line, Rejection.BAD_ROW, (text,))
                continue
            unknown = columns.unknown(values)
            if unknown and first:
                raise BadFile(f"line {line}: {unknown}")
            first = False
            if unknown or "\\u0000" in text:
                yield Reject(line, Rejection.BAD_ROW, (text,))
            else:
                yield Row(line, values, (text,))

    def _texts(self) -> Iterator[tuple[int, str | None]]:
        """Each line that is not blank; None for what is no text."""
        lines = self._lines
        while True:
            lines.next_row()
            try:
                text = next(lines).strip()
            except StopIteration:
                return
            except _TooLong:
                yield lines.number, None
            else:
                if text:
                    yield lines.number, text if lines.are_text else None


def rejects_header(rows: Rows) -> list[str]:
    """The columns of the file of rejects."""
    return ["line", "reason", *rows.columns]


def kind_of(name: str) -> tuple[FileKind, bool]:
    """How a file of that name is written, and whether it is packed with gzip. BadFile where its ending does not say."""
    packed = name.lower().endswith(_PACKED)
    plain = name.lower().removesuffix(_PACKED)
    for kind in FileKind:
        if plain.endswith(kind):
            return kind, packed
    raise BadFile("its ending does not say what it is; name it .csv or .jsonl, packed with gzip .csv.gz or .jsonl.gz")


class _TooLong(Exception):
    """The row is longer than LONGEST_ROW."""


class _Lines:
    """Lines of text, with their line breaks, and those of the row that is being read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._octets = _split(blocks)
        self.number = 0  # of the line that was read last
        self.are_text = True  # whether all of the row is
        self._row: list[str] = []
        self._size = 0

    def next_row(self) -> None:
        """Another row begins."""
        self._row.clear()
        self._size = 0
        self.are_text = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        octets = next(self._octets)
        self.number += 1
        try:
            line = octets.decode()
        except UnicodeDecodeError:
            line = octets.decode(errors="surrogateescape")
            self.are_text = False
        if "\0" in line:
            self.are_text = False
        self._row.append(line)
        self._size += len(octets)
        if self._size > LONGEST_ROW:
            raise _TooLong
        return line

    def rejected(self) -> list[Reject]:
        """Each line of what is no row."""
        begins = self.number - len(self._row) + 1
        return [Reject(begins + n, Rejection.BAD_ROW, (line.rstrip("\r\n"),)) for n, line in enumerate(self._row)]


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Lines that end with \n, \r\n or \r; of one that is too long, no more than shows that it is."""
    rest = b""
    first = True
    for block in blocks:
        data = rest + block
        if first:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                rest = data
                continue
            data = data.removeprefix(_BOM)
            first = False
        lines = data.splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        yield from lines
        if len(rest) > LONGEST_ROW and not rest.endswith(b"\r"):  # a \n may follow
            rest = rest[: LONGEST_ROW + 1]
    if rest:
        yield rest
