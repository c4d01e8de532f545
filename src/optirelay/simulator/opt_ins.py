"""Files of opt-ins that a tenant receives, read as whoever imports them would: by manifests, the newest last.

How such files are called and laid out is agreed between Optimove and a partner; no schema of them is public. These are
optirelay's: gzipped CSV or one JSON object a line, `Yes` and `No` as in the customers table
(https://developer.optimove.com/docs/prepare-your-data-for-optimove-ecommerce), and a manifest with counts and sums.
"""

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

MANIFEST = re.compile(r"optins-.+-([0-9]{8}T[0-9]{6}Z)\.manifest\.json")
UNREADABLE = (OSError, EOFError, ValueError, LookupError, csv.Error, zlib.error)


class _Part(msgspec.Struct):
    name: str
    rows: int
    bytes: int
    sha256: str


class _Manifest(msgspec.Struct):
    rows: int
    columns: list[str]
    parts: list[_Part]


class _Stamp(NamedTuple):
    """What tells whether a file was changed."""

    name: str
    size: int
    changed_at: int  # ns since 1970


@dataclass(slots=True)
class Folder:
    """Where a tenant's files of opt-ins arrive, and what was read of them so far."""

    path: Path
    customers: dict[str, dict[str, str]] = field(default_factory=dict)  # by id, what was said last by column
    files: list[dict[str, Any]] = field(default_factory=list)
    _read: list[tuple[_Stamp, ...]] = field(default_factory=list)  # sets, each with its manifest first

    def look(self) -> None:
        """Read the sets that came since; all of them anew where one that was read is another now."""
        sets = [
            (*_stamps(self.path, [name]), *_stamps(self.path, _named_in(self.path / name))) for name in self._names()
        ]
        if sets[: len(self._read)] != self._read:
            self._read, self.customers, self.files = [], {}, []
        for one in sets[len(self._read) :]:
            self._take(one[0].name)
            self._read.append(one)

    def _names(self) -> list[str]:
        """Of all manifests, the oldest first."""
        found = [match for path in sorted(self.path.glob("*")) if (match := MANIFEST.fullmatch(path.name))]
        return [match[0] for match in sorted(found, key=lambda match: (match[1], match[0]))]

    def _take(self, name: str) -> None:
        """A set counts when all that its manifest says of it is true."""
        try:
            manifest = _manifest(self.path / name)
        except UNREADABLE as error:
            self.files.append({"name": name, "manifest": name, "rows": 0, "good": False, "wrong": str(error)})
            return
        said: dict[str, dict[str, str]] = {}
        parts = [self._part(name, part, manifest, said) for part in manifest.parts]
        told = sum(part["rows"] for part in parts)
        if told != manifest.rows and all(part["good"] for part in parts):
            parts.append({"name": name, "manifest": name, "rows": told, "good": False, "wrong": "not as many rows"})
        self.files += parts
        if all(part["good"] for part in parts):
            for customer_id, values in said.items():
                self.customers.setdefault(customer_id, {}).update(values)

    def _part(self, name: str, part: _Part, manifest: _Manifest, said: dict[str, dict[str, str]]) -> dict[str, Any]:
        path, rows, wrong = self.path / part.name, 0, None
        try:
            with path.open("rb") as file:
                sum_ = hashlib.file_digest(file, "sha256").hexdigest()
            for customer_id, value in _rows(path, manifest.columns):
                rows += 1
                said[customer_id] = {manifest.columns[1]: value}
            if (rows, path.stat().st_size, sum_) != (part.rows, part.bytes, part.sha256):
                wrong = "not what the manifest says of it"
        except UNREADABLE as error:
            wrong = f"cannot be read: {error}"
        return {"name": part.name, "manifest": name, "rows": rows, "good": wrong is None, "wrong": wrong}


def _manifest(path: Path) -> _Manifest:
    manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    if len(manifest.columns) < 2 or any("/" in part.name for part in manifest.parts):
        raise ValueError("a manifest names two columns at least, and parts beside it")
    return manifest


def _named_in(path: Path) -> list[str]:
    try:
        return [part.name for part in _manifest(path).parts]
    except UNREADABLE:
        return []


def _stamps(folder: Path, names: list[str]) -> Iterator[_Stamp]:
    for name in names:
        try:
            now = (folder / name).stat()
        except OSError:
            yield _Stamp(name, -1, 0)
        else:
            yield _Stamp(name, now.st_size, now.st_mtime_ns)


def _rows(path: Path, columns: list[str]) -> Iterator[tuple[str, str]]:
    """Customer and value, row by row; both are texts, and stand in the first two columns."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        if path.name.endswith(".csv.gz"):
            rows = csv.reader(lines, strict=True)
            if next(rows, None) != columns:
                raise ValueError("the header is not that of the manifest")
            for row in rows:
                if len(row) != len(columns):
                    raise ValueError("a row has not as many values as there are columns")
                yield row[0], row[1]
            return
        for line in lines:
            values = msgspec.json.decode(line, type=dict[str, str])
            if list(values) != columns:
                raise ValueError("a row has not the columns of the manifest")
            yield values[columns[0]], values[columns[1]]
