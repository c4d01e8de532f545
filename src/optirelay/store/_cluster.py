"""The embedded server's files in a data directory, and its process if it runs."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

from psycopg import pq

from optirelay.store._account import Account, CannotStart, account_for, owner_of, run
from optirelay.store._binaries import HALF_COPY_PREFIX, Binaries

PORT = 5432  # no TCP port: part of the socket's name
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES = 107  # what Linux lets a socket's path have
HALF_CLUSTER_PREFIX = "postgres.new-"
LOG_BYTES = 1_000_000
FULL_DISK_BYTES = 1_000_000  # free space below which it counts as full
FAST_STOP_SECONDS, IMMEDIATE_STOP_SECONDS = 50, 10
LOOK_AGAIN_SECONDS = 0.02

# Given at every start, so that a cluster made by an older optirelay has them too.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "min_wal_size": "256MB",  # who commits first after a quiet hour need not wait for new files of the log
    "max_wal_size": "1GB",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Files of the cluster and no /dev/shm: containers have a small one, and some logins clear theirs when they end.
    # What a parallel query would put there is much, so there is none.
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    # The log holds no value of any statement (nor, see PREPARE, the errors of our own sessions).
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
}
# Our sessions hear of their errors themselves. The log would keep their values: an address that is no number, say.
PREPARE = b"CREATE DATABASE optirelay;\nALTER ROLE optirelay SET log_min_messages = log;\n"
# Words of a start that fails now and works later: processes of a killed server are still ending, or another starts.
PASSING = ("is still in use", 'lock file "postmaster.pid" already exists', 'lock file "postmaster.pid" is empty')
# Words of a start that goes well; the second is its answer to who asks too early, as we do.
NO_COMPLAINTS = (" LOG: ", "the database system is starting up")
DISK_FULL = "No space left on device"
MENDS = {
    DISK_FULL: "Free some space on the disk, then start again.",
    "Cannot allocate memory": "Free some memory, then start again.",
    "is still in use": "Processes of a killed server are still at work: end them, then start again.",
    "has group or world access": "Take the access of others away: chmod 700 on that folder.",
}


class Postmaster(NamedTuple):
    """The server's first process. It has no sockets yet while it starts."""

    pid: int
    sockets: Path | None


class Cluster:
    """One server's files: `postgres` with the data, `postgres.run` with its socket, `postgres.log`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / "postgres"
        self.log = data_dir / "postgres.log"
        self.account: Account = account_for(self.folder)
        self._pid_file = self.folder / "postmaster.pid"
        self._usual_sockets = data_dir / "postgres.run"

    @property
    def major(self) -> int | None:
        """The version of PostgreSQL that made the data; None before there are any."""
        if not self.folder.exists():
            return None
        return int((self.folder / "PG_VERSION").read_text())

    def postmaster(self) -> Postmaster | None:
        """Who runs here. A file left by a killed server, or copied from elsewhere, or with a pid reused, is nobody."""
        lines = self._pid_lines()
        if len(lines) < 2 or not lines[0].isdigit() or lines[1] != str(self.folder):
            return None
        pid = int(lines[0])
        if not self._is_served_by(pid):
            return None
        return Postmaster(pid, Path(lines[4]) if len(lines) > 4 and lines[4] else None)

    def answering(self) -> str | None:
        """The address of the server if it takes connections now."""
        running = self.postmaster()
        sockets = running.sockets if running else self._usual_sockets
        if sockets is None or not self._is_private(sockets):
            return None
        url = f"postgresql://optirelay@/optirelay?host={quote(os.fsencode(sockets), safe='')}&port={PORT}"
        return url if pq.PGconn.ping(f"{url}&connect_timeout=2".encode()) == pq.Ping.OK else None

    def create(self, binaries: Binaries) -> None:
        """Make the data; half of it is never found under its name."""
        self._clear_leftovers()
        half = Path(tempfile.mkdtemp(prefix=HALF_CLUSTER_PREFIX, dir=self.data_dir))
        self._hand_over(half)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]  # the same on every machine
        if binaries.major < 17:
            locale = ["--locale=C.UTF-8"]
        options = ["--username=optirelay", "--encoding=UTF8", "--data-checksums", *locale]
        # Who reaches the socket is let in: see _sockets for who that is.
        options += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        with self._open_log() as log:
            initdb = str(binaries.folder / "initdb")
            done = run(self.account, initdb, f"--pgdata={half}", *options, output=log, errors=log)
            if done.returncode == 0:
                postgres = [str(binaries.folder / "postgres"), "--single", "-D", str(half)]
                done = run(
                    self.account, *postgres, "-c", "exit_on_error=on", "postgres", output=log, errors=log, given=PREPARE
                )
        if done.returncode != 0:
            shutil.rmtree(half, ignore_errors=True)
            raise self.failure("PostgreSQL could not make its data directory.")
        half.rename(self.folder)
        _sync(self.data_dir)

    def start(self, binaries: Binaries, deadline: float) -> bool:
        """Start the server and wait until it answers or `deadline`; False if it may work a little later."""
        self._clear_leftovers()
        sockets = self._sockets()
        self._clear_stale_locks(sockets)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        quoted = f'"{sockets}"'  # in a list of folders
        settings = [f"--{name}={value}" for name, value in (SETTINGS | {"unix_socket_directories": quoted}).items()]
        command = [str(binaries.folder / "postgres"), "-D", str(self.folder), *settings]
        with self._open_log() as log:
            began = log.tell()
            # In the background of a shell that ends at once: the server is nobody's child, as it outlives its starter.
            shell = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh"]
            pid = int(run(self.account, *shell, *command, output=subprocess.PIPE, errors=log).stdout)
        while time.monotonic() < deadline and _command_line(pid):
            if self.answering():
                return True
            time.sleep(LOOK_AGAIN_SECONDS)
        if not _command_line(pid) and (self._is_full() or not _may_pass(self._log_since(began))):
            raise self.failure("PostgreSQL did not start.", since=began)
        return False

    def stop(self) -> None:
        """Stop the server if one runs, and wait until it is gone. CannotStart if it does not go."""
        running = self.postmaster()
        if running is None:
            return
        # Fast: open transactions are rolled back. Immediate, if that hangs: the next start recovers.
        for how, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS)):
            with suppress(ProcessLookupError):
                os.kill(running.pid, how)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and self._is_served_by(running.pid):
                time.sleep(LOOK_AGAIN_SECONDS)
            if not self._is_served_by(running.pid):
                break
        else:
            raise self.failure(f"PostgreSQL (process {running.pid}) does not stop.")
        if running.sockets and running.sockets != self._usual_sockets:
            with suppress(OSError):
                running.sockets.rmdir()

    def failure(self, sentence: str, *, since: int = 0) -> CannotStart:
        """The error that tells the server's last words."""
        words = self._log_since(since).splitlines()[-8:]
        signs = [*words, DISK_FULL] if self._is_full() else words  # a full disk has no room for the words that say so
        mend = next((mend for sign, mend in MENDS.items() if any(sign in line for line in signs)), "Its log says why.")
        return CannotStart("\n".join([f"{sentence} {mend} The end of {self.log}:", *words]))

    def _is_served_by(self, pid: int) -> bool:
        # The command line, not the working directory: that one may be hidden from root in a container.
        return str(self.folder) in _command_line(pid) and owner_of(Path(f"/proc/{pid}")) == self.account.uid

    def _sockets(self) -> Path:
        """The folder for the socket: owned by the server's account, mode 0700.

        It is what keeps others out. Only the server's account and root can connect; these could read the data's files,
        or stop the server, anyway, and a password in a file of theirs would add nothing.
        """
        usual = self._usual_sockets
        if not _can_hold_socket(usual):
            return self._sockets_elsewhere()
        if not self._is_private(usual):
            shutil.rmtree(usual, ignore_errors=True)
            usual.mkdir(mode=0o700)
            self._hand_over(usual)
        return usual

    def _sockets_elsewhere(self) -> Path:
        """For a data_dir with too long a path; others read in postmaster.pid where it is, and so do we after a kill."""
        lines = self._pid_lines()
        if len(lines) > 4 and lines[1] == str(self.folder) and lines[4] and self._is_private(Path(lines[4])):
            return Path(lines[4])
        home = Path("/run") if os.geteuid() == 0 and os.access("/run", os.W_OK) else Path("/tmp")  # noqa: S108
        folder = Path(tempfile.mkdtemp(prefix="optirelay-", dir=home))
        self._hand_over(folder)
        return folder

    def _is_private(self, folder: Path) -> bool:
        try:
            found = folder.lstat()
        except OSError:
            return False
        return (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == self.account.uid
            and stat.S_IMODE(found.st_mode) & 0o777 == 0o700
        )

    def _hand_over(self, folder: Path) -> None:
        if os.geteuid() == 0:
            os.chown(folder, self.account.uid, self.account.gid, follow_symlinks=False)

    def _pid_lines(self) -> list[str]:
        try:
            return os.fsdecode(self._pid_file.read_bytes()).split("\n")
        except OSError:
            return []

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left half made; its initdb may go on for a while, so not all goes at once."""
        for prefix in (HALF_CLUSTER_PREFIX, HALF_COPY_PREFIX):
            for half in self.data_dir.glob(f"{prefix}*"):
                shutil.rmtree(half, ignore_errors=True)

    def _clear_stale_locks(self, sockets: Path) -> None:
        """PostgreSQL clears what names a dead process, but believes what names a living one, whatever that is."""
        lines = self._pid_lines()
        if lines and (not lines[0].isdigit() or Path(f"/proc/{lines[0]}").exists()):
            self._pid_file.unlink(
                missing_ok=True
            )  # that no process has the memory of the old server is checked without it
        (sockets / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.data_dir).free < FULL_DISK_BYTES

    @contextmanager
    def _open_log(self) -> Iterator[IO[bytes]]:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            if os.geteuid() == 0:
                os.fchown(descriptor, self.account.uid, self.account.gid)
            yield log

    def _log_since(self, start: int) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(start)
                return log.read().decode(errors="replace")
        except OSError:
            return ""


def _may_pass(words: str) -> bool:
    """Whether a start that failed with these words may work a little later. Without a complaint it was killed."""
    complaints = [line for line in words.splitlines() if not any(sign in line for sign in NO_COMPLAINTS)]
    return not complaints or any(sign in words for sign in PASSING)


def _can_hold_socket(folder: Path) -> bool:
    """A path is short enough, and has nothing that would need escapes (a comma cannot be told to libpq at all)."""
    path = str(folder)
    return len(os.fsencode(folder)) + 1 + len(SOCKET_NAME) <= SOCKET_PATH_BYTES and not set(path) & set(",\"'\\")


def _command_line(pid: int) -> list[str]:
    """Empty for a process that is not there, or dead and only waited for."""
    try:
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in told.split(b"\0")] if told else []


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
