"""The embedded database: whoever comes first starts it, later processes join, the last to leave stops it."""

import fcntl
import os
import subprocess
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from optirelay.store._account import CannotStart, must_reach, reachable
from optirelay.store._binaries import binaries_for
from optirelay.store._cluster import Cluster

__all__ = ["CannotStart", "EmbeddedPostgres", "reachable"]

START_SECONDS = 60
DOOR_SECONDS = 180  # someone in the door may be making the data, starting or stopping: each has 60 seconds


class EmbeddedPostgres:
    """Our part of the embedded server in `data_dir`: started if it does not run, joined if it does.

    Two locks, which the kernel drops for a killed process:

    - the door, exclusive: held while arriving and while leaving, so these never overlap;
    - the users' lock, shared: held by everyone inside. Who leaves and then gets it alone was the last, and stops it.

    A server that nobody stopped, since all were killed, is adopted by the next to arrive.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._inside: _Lock | None = None

    def __enter__(self) -> str:
        """The server's address, over a Unix socket. CannotStart, within minutes, if there is none to be had."""
        with self._in_our_words():
            return self._arrive()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; the last to leave stops the server and waits until it is gone."""
        if self._inside is None or self._inside.closed:  # never inside, or a fork of who is
            return
        try:
            with self._in_our_words(), self._door() as alone:
                if alone:  # else whoever stands in the door so long is inside, too, and stops it later
                    self._stop_if_last(self._inside)
        finally:
            self._inside.close()

    def _arrive(self) -> str:
        _check(self._data_dir)
        cluster = Cluster(self._data_dir)
        must_reach(cluster.account, self._data_dir)
        _make(self._data_dir)
        with self._door() as alone:
            if not alone:
                raise CannotStart(
                    f"Another process has been starting or stopping the embedded database in {self._data_dir}"
                    f" for {DOOR_SECONDS} seconds. End that process, then start again."
                )
            self._inside = _Lock(self._data_dir / "postgres.users.lock")
            self._inside.take(fcntl.LOCK_SH)
            try:
                return _serve(cluster)
            except CannotStart:  # a server that is still recovering goes on: it may be ready at the next try
                self._inside.close()
                raise
            except BaseException:
                self._stop_if_last(self._inside)
                self._inside.close()
                raise

    def _stop_if_last(self, inside: "_Lock") -> None:
        """To be called in the door."""
        if inside.take(fcntl.LOCK_EX):
            Cluster(self._data_dir).stop()

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotStart(
                f"The embedded database in {self._data_dir} cannot be used: {error}."
                " Let this account write there, or set data_dir to another folder."
            ) from error

    @contextmanager
    def _door(self) -> Iterator[bool]:
        """Whether we got it in time."""
        lock = _Lock(self._data_dir / "postgres.door.lock")
        try:
            yield lock.take(fcntl.LOCK_EX, seconds=DOOR_SECONDS)
        finally:
            lock.close()


def _serve(cluster: Cluster) -> str:
    """The address of the server, which is started if none runs, and waited for if one starts or stops."""
    if cluster.major is None:
        cluster.create(binaries_for(cluster.account, cluster.data_dir))
    deadline = time.monotonic() + START_SECONDS
    while (url := cluster.answering()) is None:
        if time.monotonic() > deadline:
            raise cluster.failure(
                f"PostgreSQL does not answer after {START_SECONDS} seconds. It may be recovering: try again."
            )
        if cluster.postmaster() or not _start(cluster, deadline):
            time.sleep(0.1)
    return url


def _start(cluster: Cluster, deadline: float) -> bool:
    binaries = binaries_for(cluster.account, cluster.data_dir)
    if cluster.major != binaries.major:
        raise CannotStart(
            f"The data in {cluster.folder} are of PostgreSQL {cluster.major}; installed is PostgreSQL {binaries.major}."
            f" Move them with pg_dump of version {cluster.major} and pg_restore, install a version of optirelay"
            f" with PostgreSQL {cluster.major}, or set data_dir to a new folder."
        )
    return cluster.start(binaries, deadline)


def _check(data_dir: Path) -> None:
    if data_dir.exists() and not data_dir.is_dir():
        raise CannotStart(f"{data_dir} is no folder. Remove it, or set data_dir to a folder.")
    if "\n" in str(data_dir):  # PostgreSQL writes the path into a file of lines
        raise CannotStart(f"{str(data_dir)!r} has a line break. Set data_dir to a folder without one.")


def _make(data_dir: Path) -> None:
    """What is missing is made so that the server's account can pass and nobody can look; the rest stays as it is."""
    missing = [part for part in [data_dir, *data_dir.parents] if not part.exists()]
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


class _Lock:
    """A flock on a file, which stays for good. No program that we start inherits it, and no forked child keeps it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        us = weakref.ref(self)

        def close_in_child() -> None:
            if lock := us():
                lock.close()  # closed, not unlocked: an unlock would be the parent's, too

        os.register_at_fork(after_in_child=close_in_child)

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def take(self, how: int, *, seconds: float = 0) -> bool:
        """Whether we got it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)
            else:
                return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
            self._descriptor = -1
