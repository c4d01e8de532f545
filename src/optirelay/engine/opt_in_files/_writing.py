"""Opt-ins are written as a set of files: parts, then the manifest that makes them count."""

import asyncio
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from optirelay.clock import utc_now
from optirelay.engine.opt_in_files import _disk
from optirelay.engine.opt_in_files._disk import Gzipped
from optirelay.errors import NeedsOperator
from optirelay.model import ChannelName
from optirelay.settings import ChannelSettings
from optirelay.stages import opt_in_files as files
from optirelay.stages.opt_in_files import Manifest, OptInRow

PART_BYTES = 100_000_000
"""A part is smaller: https://developer.optimove.com/docs/optimove-data-delivery-guide says under 100 MB."""
T = TypeVar("T")

_ROWS_AT_ONCE = 500  # about a millisecond
_LONGEST_ROW = 20_000  # bytes, at worst: PostgreSQL has no key of more than 2,700


def next_name(directory: Path, channel: ChannelName, now: datetime, *, tenant: str) -> str:
    """The name of a new set, such as optins-texts-20310402T100000Z: later than every one of the channel that is there.

    NeedsOperator, TryLater: as `write`.
    """
    with _disk.in_our_words(directory, _setting(tenant, channel)):
        return files.next_name(channel, _disk.names_in(directory), now)


def manifest_of(directory: Path, name: str) -> Manifest | None:
    """What a set of files holds; None where it is not, or not all, there. NeedsOperator where it cannot be read."""
    path = directory / (name + files.MANIFEST)
    try:
        return files.read_manifest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise NeedsOperator(f"{path} cannot be read as a manifest of ours; remove it, and its files with it") from error


async def write(
    channel: ChannelSettings,
    directory: Path,
    groups: AsyncIterable[Sequence[OptInRow]],
    *,
    tenant: str,
    name: str,
    part_bytes: int = PART_BYTES,
    between: Callable[[], Awaitable[None]] | None = None,
) -> Manifest | None:
    """Write a set of files by this name, each part smaller than `part_bytes`; None where nobody changed.

    Whole or not at all: until the manifest is there, and it comes last, nothing of it counts. Killed in the middle, it
    is written anew by the same name or by another; what was left of it is removed by the channel's next run. A set that
    is there already is not written again, and `groups` not asked. With content = "full" one of nobody is written, too.

    Memory stays flat, and a millisecond is the longest that others wait for; `between` is awaited before each such
    slice. The directory is made where there is none. The caller keeps other runs of the channel away by an advisory
    lock, as what they left would be removed while they go on.

    NeedsOperator where the directory cannot be used, TryLater where that may pass.
    """
    setting = _setting(tenant, ChannelName(channel.name))
    there = manifest_of(directory, name)
    if there is not None:
        return there
    with _Parts(channel, directory, name, part_bytes) as parts:
        await _apart(directory, setting, parts.start)
        async for group in groups:
            for first in range(0, len(group), parts.rows_at_once):
                if between is not None:
                    await between()
                rows = group[first : first + parts.rows_at_once]
                await _apart(directory, setting, partial(parts.add, rows))
        return await _apart(directory, setting, parts.finish)


class _Parts:
    """The parts of a set while they are written, from one thread or another, never from two at once."""

    def __init__(self, channel: ChannelSettings, directory: Path, name: str, part_bytes: int) -> None:
        self._channel = channel
        self._layout = files.layout_of(channel)
        self._directory = directory
        self._name = name
        self._part_bytes = part_bytes
        self._parts: list[Gzipped] = []
        self._busy = threading.Lock()
        self._over = False
        self.rows_at_once = max(1, min(_ROWS_AT_ONCE, part_bytes // _LONGEST_ROW))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for what a thread is doing, as the caller's lock is given back next."""
        with self._busy:
            self._over = True
            for part in self._parts:
                part.close()

    def start(self) -> None:
        """The directory is there, and nothing in it that a killed run left."""
        with self._busy:
            self._directory.mkdir(parents=True, exist_ok=True)
            _disk.clear(self._directory, ChannelName(self._channel.name))

    def add(self, rows: Sequence[OptInRow]) -> None:
        """Some rows, at most `rows_at_once`."""
        data = files.rows_to_wire(rows, self._layout)
        with self._busy:
            if self._over:
                return
            if not self._parts or not self._parts[-1].has_room(len(data), self._part_bytes):
                self._next_part()
            self._parts[-1].write(data, len(rows))

    def finish(self) -> Manifest | None:
        """The parts get their names, and then there is a manifest."""
        with self._busy:
            if self._over or not (self._parts or self._channel.batch_file.content == "full"):
                return None
            if not self._parts:
                self._next_part()
            self._parts[-1].finish()
            names = files.part_names(self._name, len(self._parts), self._layout.ending)
            parts = tuple(part.rename(name) for part, name in zip(self._parts, names, strict=True))
            manifest = Manifest(
                channel=ChannelName(self._channel.name),
                content=self._channel.batch_file.content,
                made_at=utc_now().replace(microsecond=0),
                rows=sum(part.rows for part in parts),
                columns=self._layout.columns,
                parts=parts,
            )
            _disk.put_manifest(self._directory, self._name, manifest)
            return manifest

    def _next_part(self) -> None:
        if self._parts:
            self._parts[-1].finish()
        part = Gzipped(self._directory, f"{self._name}-{len(self._parts) + 1}{self._layout.ending}")
        self._parts.append(part)
        part.write(files.header(self._layout), 0)


async def _apart(directory: Path, setting: str, work: Callable[[], T]) -> T:
    """In a thread, as disks may be slow; its errors in our words."""
    with _disk.in_our_words(directory, setting):
        return await asyncio.to_thread(work)


def _setting(tenant: str, channel: ChannelName) -> str:
    return f"tenants.{tenant}.channels.{channel}.opt_in"
