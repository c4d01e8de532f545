"""Opt-ins as files: what stands in them, how they are called, and the manifest that vouches for them.

Optimove agrees layout and names with each partner (no schema of such a file is public). The columns are those of its
own customers table, "Yes" or "No" as there; compression is gzip alone, JSON is one object a line, and a file is under
100 MB: https://developer.optimove.com/docs/optimove-data-delivery-guide, …/docs/data-delivery-to-optimove.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from optirelay.model import ChannelKind, ChannelName, CustomerId
from optirelay.settings import ChannelSettings

PERMISSIONS = {
    ChannelKind.EMAIL: "Allow_Email",
    ChannelKind.SMS: "Allow_SMS",
    ChannelKind.PUSH: "Allow_Push",
    ChannelKind.INAPP: "Allow_InApp",
}
MANIFEST = ".manifest.json"
ENDINGS = {"csv": ".csv.gz", "jsonl": ".jsonl.gz"}  # by format
_TIME = "%Y%m%dT%H%M%SZ"


class OptInRow(NamedTuple):
    """What one customer said, and when."""

    customer_id: CustomerId
    opted_in: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Layout:
    """How a channel's files look."""

    format: Literal["csv", "jsonl"]
    columns: tuple[str, ...]
    values: tuple[str, str]  # for who opted in, and out

    @property
    def ending(self) -> str:
        """Of the names of parts."""
        return ENDINGS[self.format]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a set, as it lies there, gzipped."""

    name: str
    rows: int
    bytes: int
    sha256: str  # in hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a set of files holds. Beside the files it is JSON with these very keys, `made_at` in ISO 8601 with Z."""

    channel: ChannelName
    content: Literal["changes", "full"]
    made_at: datetime  # UTC, in whole seconds
    rows: int
    columns: tuple[str, ...]
    parts: tuple[Part, ...]


# --- rows -------------------------------------------------------------------------------------------------------------


def layout_of(channel: ChannelSettings) -> Layout:
    """As the settings have it; by default the columns of Optimove's customers table."""
    files = channel.batch_file
    columns = files.columns or ("Customer_ID", PERMISSIONS[channel.kind], "LastUpdated")
    return Layout(files.format, columns, files.values)


def header(layout: Layout) -> bytes:
    """What each part begins with."""
    return _csv([layout.columns]) if layout.format == "csv" else b""


def rows_to_wire(rows: Iterable[OptInRow], layout: Layout) -> bytes:
    """Rows as lines; UTF-8. Times are UTC, in whole seconds. CSV is that of RFC 4180."""
    yes, no = layout.values
    width = len(layout.columns)
    values = ((row.customer_id, yes if row.opted_in else no, iso(row.at))[:width] for row in rows)
    if layout.format == "csv":
        return _csv(values)
    return msgspec.json.Encoder().encode_lines([dict(zip(layout.columns, row, strict=True)) for row in values])


def iso(at: datetime) -> str:
    """A time as files have it: "2031-04-02T10:00:00Z"."""
    return at.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


# --- without somebody -------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One row of a part: whose, and all of it as it was read."""

    customer_id: str
    whole: str | list[str]


def read_lines(lines: Iterable[str], name: str, columns: Sequence[str]) -> Iterator[Line]:
    """The rows of a part, without its header. ValueError or LookupError for what is no such file."""
    if name.endswith(ENDINGS["jsonl"]):
        yield from (Line(str(json.loads(line)[columns[0]]), line) for line in lines)
        return
    try:
        rows = csv.reader(lines, strict=True)
        next(rows, None)
        yield from (Line(row[0], row) for row in rows)
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}") from error


def lines_to_wire(lines: Iterable[Line]) -> bytes:
    """As they stood in the part."""
    rows = [line.whole for line in lines]
    return (
        _csv(row for row in rows if isinstance(row, list))
        + "".join(row for row in rows if isinstance(row, str)).encode()
    )


def header_of(name: str, columns: Sequence[str]) -> bytes:
    """What a part that is there begins with."""
    return b"" if name.endswith(ENDINGS["jsonl"]) else _csv([columns])


# --- names ------------------------------------------------------------------------------------------------------------


def set_name(channel: ChannelName, at: datetime) -> str:
    """What the names of all files of a set begin with: optins-texts-20310402T100000Z."""
    return f"optins-{channel}-{at.astimezone(UTC).strftime(_TIME)}"


def next_name(channel: ChannelName, files: Iterable[str], now: datetime) -> str:
    """The name of a new set: of this second, or later than every set of the channel that is there already."""
    sets = {of for file in files if (of := set_of(channel, file)) is not None}
    newest = max(
        (datetime.strptime(of[-len("20310402T100000Z") :], _TIME).replace(tzinfo=UTC) for of in sets), default=None
    )
    return set_name(channel, now if newest is None else max(now, newest + timedelta(seconds=1)))


def part_names(name: str, count: int, ending: str) -> list[str]:
    """One file has the name of its set; of several each has its number: -1, -2 …"""
    return [f"{name}{ending}"] if count == 1 else [f"{name}-{number}{ending}" for number in range(1, count + 1)]


def temporary(name: str) -> str:
    """What a file is called until it is whole; a dot in front, so that whoever collects files leaves it alone."""
    return f".{name}.tmp"


def set_of(channel: ChannelName, file: str) -> str | None:
    """The set of this channel that a file belongs to, by its name, whole or not; None: it is none of ours."""
    whole = file[1:].removesuffix(".tmp") if file.startswith(".") and file.endswith(".tmp") else file
    endings = "|".join(map(re.escape, (*ENDINGS.values(), MANIFEST)))
    found = re.fullmatch(rf"(optins-{re.escape(channel)}-[0-9]{{8}}T[0-9]{{6}}Z)(-[0-9]{{1,6}})?({endings})", whole)
    return found and found[1]


def leftovers(channel: ChannelName, files: Iterable[str]) -> list[str]:
    """What a run that was killed left in the channel's directory: unfinished files, and parts without a manifest."""
    ours = {file: of for file in files if (of := set_of(channel, file)) is not None}
    whole = {of for file, of in ours.items() if file == of + MANIFEST}
    return sorted(file for file, of in ours.items() if file.startswith(".") or of not in whole)


# --- the manifest -----------------------------------------------------------------------------------------------------


def manifest_to_wire(manifest: Manifest) -> bytes:
    """As it lies beside the parts."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def read_manifest(body: bytes) -> Manifest:
    """What lies beside the parts. ValueError for what is none, and for names of parts that lead elsewhere."""
    manifest = msgspec.json.decode(body, type=Manifest)
    if any("/" in part.name for part in manifest.parts):
        raise ValueError("a part is named that lies elsewhere")
    return manifest
