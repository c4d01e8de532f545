"""Channels whose opt-ins go into files, and a reader of such files that shares nothing with their writer."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from optirelay.engine import opt_in_files
from optirelay.engine.opt_in_files import Manifest, OptInRow
from optirelay.model import ChannelName, CustomerId
from optirelay.settings import ChannelSettings

AT = datetime(2031, 4, 2, 10, tzinfo=UTC)
NAME = "optins-texts-20310402T100000Z"
TEXTS = ChannelName("texts")


def channel(kind: str = "sms", **files: Any) -> ChannelSettings:
    """A channel `texts` with this table [batch_file]."""
    values = {"name": "texts", "kind": kind, "scheduled_id": 504, "address": "attribute:MOBILE", "batch_file": files}
    return ChannelSettings.model_validate(values, context={"folder": Path("/")})


def row(customer_id: str, opted_in: bool = True, at: datetime = AT) -> OptInRow:
    return OptInRow(CustomerId(customer_id), opted_in, at)


def people(count: int) -> Iterable[OptInRow]:
    """Ids that compress badly, so that files get large."""
    return (row(hashlib.sha256(str(number).encode()).hexdigest(), number % 3 == 0) for number in range(count))


async def in_groups(rows: Iterable[OptInRow], size: int = 1000) -> AsyncIterator[list[OptInRow]]:
    left = iter(rows)
    while group := list(islice(left, size)):
        yield group


async def write(
    settings: ChannelSettings, directory: Path, rows: Iterable[OptInRow], *, name: str = NAME, **options: Any
) -> Manifest | None:
    return await opt_in_files.write(settings, directory, in_groups(rows), tenant="acme", name=name, **options)


def read_set(directory: Path, name: str = NAME) -> list[dict[str, str]]:
    """All rows of a set; what its manifest says of each part is true."""
    manifest = json.loads((directory / f"{name}.manifest.json").read_text())
    rows: list[dict[str, str]] = []
    for part in manifest["parts"]:
        body = (directory / part["name"]).read_bytes()
        here = read_part(part["name"], body)
        told = (part["rows"], part["bytes"], part["sha256"])
        assert told == (len(here), len(body), hashlib.sha256(body).hexdigest())
        rows += here
    assert manifest["rows"] == len(rows)
    return rows


def read_part(name: str, body: bytes) -> list[dict[str, str]]:
    text = gzip.decompress(body).decode()
    if name.endswith(".jsonl.gz"):
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
