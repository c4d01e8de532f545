"""Files that are whole or not there: written under a temporary name, on the disk before they get their own."""

import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optirelay.errors import NeedsOperator, OptirelayError, TryLater
from optirelay.model import ChannelName
from optirelay.stages.opt_in_files import MANIFEST, Manifest, Part, leftovers, manifest_to_wire, temporary

_GZIP = 31  # zlib's word for gzip with the largest window
_FOR_A_PERSON = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.ENOENT),
}


@contextmanager
def in_our_words(directory: Path, setting: str) -> Iterator[None]:
    """NeedsOperator where the directory cannot be used, TryLater where that may pass, such as a full disk."""
    try:
        yield
    except OSError as error:
        what = f"{setting}: {directory} cannot be used ({os.strerror(error.errno or errno.EIO)})"
        raise _cannot(what, for_a_person=error.errno in _FOR_A_PERSON) from error


def _cannot(what: str, *, for_a_person: bool) -> OptirelayError:
    if for_a_person:
        return NeedsOperator(f"{what}; let this account write there, or name another directory")
    return TryLater(f"{what}; see that there is room, and that the disk is there")


class Gzipped:
    """A part while it is written."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / temporary(name)
        self._file = self._path.open("wb")
        self._zip = zlib.compressobj(wbits=_GZIP)
        self._sum = hashlib.sha256()
        self._held = 0  # bytes of which some may not be written yet
        self._bytes = 0
        self.rows = 0

    def has_room(self, size: int, most: int) -> bool:
        """Whether so many bytes more, however badly they compress, leave it under `most` bytes, its end included."""
        if self._bytes + _at_worst(self._held + size) < most:
            return True
        self._put(self._zip.flush(zlib.Z_SYNC_FLUSH))
        self._held = 0
        return self._bytes + _at_worst(size) < most

    def write(self, data: bytes, rows: int) -> None:
        """So many rows more."""
        self._held += len(data)
        self.rows += rows
        self._put(self._zip.compress(data))

    def finish(self) -> None:
        """The file is whole, and on the disk."""
        self._put(self._zip.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Where it is not finished, it is left as it is."""
        with suppress(OSError):  # a disk that is full says so again
            self._file.close()

    def rename(self, name: str) -> Part:
        """From now on it is there."""
        path = self._path.rename(self._path.with_name(name))
        return Part(path.name, self.rows, self._bytes, self._sum.hexdigest())

    def _put(self, data: bytes) -> None:
        self._bytes += len(data)
        self._sum.update(data)
        self._file.write(data)


def _at_worst(size: int) -> int:
    """So many bytes become at most so many: deflate stores what it cannot make smaller; header and end of the file."""
    return size + size // 1000 + 100


def put_manifest(directory: Path, name: str, manifest: Manifest) -> None:
    """The manifest of a set, in place of the one that is there; all that was renamed before is on the disk, too."""
    path = directory / temporary(name + MANIFEST)
    sync(directory)
    with path.open("wb") as file:
        file.write(manifest_to_wire(manifest))
        file.flush()
        os.fsync(file.fileno())
    path.rename(directory / (name + MANIFEST))
    sync(directory)


def sync(directory: Path) -> None:
    """What was made, renamed and removed in a directory is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def names_in(directory: Path) -> list[str]:
    """What lies in a directory; nothing in one that is not there."""
    return [path.name for path in directory.iterdir()] if directory.exists() else []


def clear(directory: Path, channel: ChannelName) -> None:
    """Remove what a killed run of the channel left."""
    for file in leftovers(channel, names_in(directory)):
        (directory / file).unlink(missing_ok=True)
