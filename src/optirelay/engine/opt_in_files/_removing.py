"""Somebody is to be forgotten: files that hold them are written anew without."""

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from optirelay.engine.opt_in_files import _disk
from optirelay.engine.opt_in_files._disk import Gzipped
from optirelay.engine.opt_in_files._writing import manifest_of
from optirelay.errors import NeedsOperator
from optirelay.model import ChannelName, CustomerId
from optirelay.stages import opt_in_files as files
from optirelay.stages.opt_in_files import Line, Manifest, Part

_LINES_AT_ONCE = 500


async def remove_person(directory: Path, channel: ChannelName, customer_id: CustomerId) -> int:
    """Take a customer out of all files of the channel in this directory; how many files it changed.

    Each is written anew under a temporary name, then renamed; rows, bytes and sums in its manifest are made true. Once
    more, also after a kill in the middle, changes what is left. What a killed run left is removed. A directory that is
    not there holds nobody. What was uploaded or collected is out of reach.

    The caller keeps other runs of the channel away by the lock that `write` asks for. NeedsOperator where a file cannot
    be read as one of ours or the directory not be used, TryLater where that may pass.
    """
    return await asyncio.to_thread(_remove, directory, channel, customer_id)


def _remove(directory: Path, channel: ChannelName, customer_id: CustomerId) -> int:
    if not directory.exists():
        return 0
    with _disk.in_our_words(directory, f"opt_in of channel {channel}"):
        _disk.clear(directory, channel)
        sets = sorted({of for file in _disk.names_in(directory) if (of := files.set_of(channel, file)) is not None})
        return sum(_remove_from(directory, name, customer_id) for name in sets)


def _remove_from(directory: Path, name: str, customer_id: CustomerId) -> int:
    manifest = manifest_of(directory, name)
    if manifest is None:
        return 0
    looked_at = [_without(directory, manifest, part, customer_id) for part in manifest.parts]
    parts = tuple(part for part, _ in looked_at)
    if parts != manifest.parts:
        _disk.put_manifest(directory, name, replace(manifest, parts=parts, rows=sum(part.rows for part in parts)))
    return sum(changed for _, changed in looked_at)


def _without(directory: Path, manifest: Manifest, part: Part, customer_id: CustomerId) -> tuple[Part, bool]:
    """A part as it is now, and whether it was changed; as the manifest has it where somebody took it away."""
    path = directory / part.name
    if not path.exists():
        return part, False
    try:
        rows, theirs = 0, 0
        for line in _lines(path, manifest):
            rows, theirs = rows + 1, theirs + (line.customer_id == customer_id)
        if theirs:
            return _write_anew(path, manifest, customer_id), True
    except (ValueError, EOFError, LookupError, gzip.BadGzipFile, zlib.error) as error:
        raise NeedsOperator(f"{path} cannot be read as a file of ours; remove it, or put it right") from error
    with path.open("rb") as file:
        return Part(part.name, rows, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()), False


def _write_anew(path: Path, manifest: Manifest, customer_id: CustomerId) -> Part:
    anew = Gzipped(path.parent, path.name)
    try:
        anew.write(files.header_of(path.name, manifest.columns), 0)
        others = (line for line in _lines(path, manifest) if line.customer_id != customer_id)
        while some := list(islice(others, _LINES_AT_ONCE)):
            anew.write(files.lines_to_wire(some), len(some))
        anew.finish()
    finally:
        anew.close()
    return anew.rename(path.name)


def _lines(path: Path, manifest: Manifest) -> Iterator[Line]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        yield from files.read_lines(text, path.name, manifest.columns)
