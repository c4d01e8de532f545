"""What is on the wire right now, in a memory-mapped file a worker: it outlives the process, not the machine.

A slot for each open message says *begun*, set before its first byte leaves, then *answered*, with the answer, until its
outcome is committed. The kernel has what was written the moment it was, so a kill -9 loses nothing of it. The worker
holds a lock on its file; whoever gets that lock knows that the worker is dead, and by the file what it had seen. Since
the machine was started anew, or on another one, the file may be older than what happened, and tells nothing.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from optirelay.model import Accepted, Answer, Doubtful, Later, Refusal, Refused

SLOT_OCTETS = 512
FIRST_SLOTS = 2048
ENDING = ".journal"
_MAGIC = b"optirelay journal 1\n"
_JOBS_AT = 32  # where the header keeps the number under which the worker runs jobs
_BOOT_AT = 64  # and which start of which machine's it is
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NUMBER = struct.Struct("<q")
_KEY = struct.Struct("<qq")  # batch, message
_KEY_AT = 8
_ANSWER = struct.Struct("<BHd")  # kind, octets of the text, seconds to wait
_ANSWER_AT = 24
_TEXT_AT = _ANSWER_AT + _ANSWER.size
_TEXT_OCTETS = SLOT_OCTETS - _TEXT_AT
_NOTHING = bytes(SLOT_OCTETS - _ANSWER_AT)
_FREE, _BEGUN, _ANSWERED = 0, 1, 2
_ACCEPTED, _ACCEPTED_WITH_ID, _REFUSED, _LATER, _DOUBTFUL, _UNTRIED = range(6)
_NO_WAIT = -1.0
_MOSTLY = Accepted()
_MOSTLY_PACKED = _ANSWER.pack(_ACCEPTED, 0, _NO_WAIT)


class Journal:
    """One worker's own. Not to be used from two threads."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._slots = FIRST_SLOTS
        os.posix_fallocate(file, 0, self._octets)  # a disk that is full is an error here, not a fault of the memory
        self._map = mmap.mmap(file, self._octets)
        self._map[: len(_MAGIC)] = _MAGIC
        boot = _boot()
        self._map[_BOOT_AT : _BOOT_AT + len(boot)] = boot
        self._free = list(range(FIRST_SLOTS, 0, -1))  # slot 0 is the header
        self._at: dict[tuple[int, int], int] = {}

    @classmethod
    @contextmanager
    def open(cls, folder: Path, worker: str) -> Iterator["Journal"]:
        """The journal of a worker that starts; gone at the end, unless something in it was not settled.

        OSError where the folder cannot be used or the disk is full.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{worker}{ENDING}"
        unnamed = path.with_suffix(".new")  # nobody looks for a dead worker's there
        file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            journal = cls(file)
            unnamed.rename(path)
            try:
                yield journal
            finally:
                if not journal._at:
                    path.unlink(missing_ok=True)
                journal._map.close()
        finally:
            unnamed.unlink(missing_ok=True)
            os.close(file)

    def begun(self, batch: int, message: int) -> None:
        """The message's first byte is about to leave. OSError where the journal cannot grow: then it must not."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        at = slot * SLOT_OCTETS
        _KEY.pack_into(self._map, at + _KEY_AT, batch, message)
        self._map[at] = _BEGUN  # last, and one octet: whoever reads it finds the rest whole
        self._at[batch, message] = slot

    def answered(self, batch: int, message: int, answer: Answer) -> None:
        """What became of a message that began; its text is cut to what a slot holds."""
        slot = self._at.get((batch, message))
        if slot is None:
            return
        at = slot * SLOT_OCTETS
        if answer == _MOSTLY:
            self._map[at + _ANSWER_AT : at + _TEXT_AT] = _MOSTLY_PACKED
            self._map[at] = _ANSWERED
            return
        kind, text, wait = _packed(answer)
        octets = text.encode("utf-8", "replace")[:_TEXT_OCTETS] if text else b""
        _ANSWER.pack_into(self._map, at + _ANSWER_AT, kind, len(octets), wait)
        if octets:
            self._map[at + _TEXT_AT : at + _TEXT_AT + len(octets)] = octets
        self._map[at] = _ANSWERED

    def settled(self, batch: int, messages: Iterable[int]) -> None:
        """What became of them is committed."""
        for message in messages:
            slot = self._at.pop((batch, message), None)
            if slot is not None:
                at = slot * SLOT_OCTETS
                self._map[at] = _FREE
                if self._map[at + _ANSWER_AT] != _ACCEPTED:  # it may have a provider's words, which name people
                    self._map[at + _ANSWER_AT : at + SLOT_OCTETS] = _NOTHING
                self._free.append(slot)

    def holds(self, batch: int, message: int) -> bool:
        """Whether a message began, and what became of it is not committed."""
        return (batch, message) in self._at

    def runs_jobs_as(self, number: int) -> None:
        """The number under which this worker runs jobs, so that those that it leaves are known."""
        _NUMBER.pack_into(self._map, _JOBS_AT, number)

    @property
    def _octets(self) -> int:
        return (1 + self._slots) * SLOT_OCTETS

    def _grow(self) -> None:
        more = self._slots
        os.posix_fallocate(self._file, self._octets, more * SLOT_OCTETS)
        self._slots += more
        self._map.resize(self._octets)
        self._free.extend(range(self._slots, self._slots - more, -1))


@dataclass(frozen=True)
class DeadJournal:
    """What a worker that ended had seen of what it had in hand."""

    worker: str
    jobs: int | None  # the number under which it ran jobs
    _seen: dict[tuple[int, int], Answer | None] | None = field(repr=False)  # None: nothing can be told
    _path: Path

    def began(self, batch: int, message: int) -> bool:
        """Whether its first byte may have left."""
        return self._seen is None or (batch, message) in self._seen

    def answer_to(self, batch: int, message: int) -> Answer | None:
        """What the provider answered; None where nothing was heard."""
        return None if self._seen is None else self._seen.get((batch, message))

    def remove(self) -> None:
        """All of it is settled."""
        self._path.unlink(missing_ok=True)


@contextmanager
def dead_journal(path: Path) -> Iterator[DeadJournal | None]:
    """The journal at `path`, to be settled by nobody else meanwhile; None where its worker lives, or it is gone.

    One that this program cannot read tells nothing: it is removed, and its batches wait until their leases lapse.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not os.fstat(file).st_nlink:  # somebody else has settled it just now
            yield None
            return
        content = path.read_bytes()
        if content.startswith(_MAGIC):
            (jobs,) = _NUMBER.unpack_from(content, _JOBS_AT)
            boot = _boot()
            whole = bool(boot) and content.startswith(boot, _BOOT_AT)
            yield DeadJournal(path.stem, jobs or None, dict(_read(content)) if whole else None, path)
        else:
            path.unlink(missing_ok=True)
            yield None
    finally:
        os.close(file)


def journals_in(folder: Path) -> list[Path]:
    """Every worker's on this machine, oldest first."""
    try:
        return sorted(folder.glob(f"*{ENDING}"), key=lambda path: path.stat().st_mtime)
    except FileNotFoundError:  # one ended meanwhile
        return sorted(folder.glob(f"*{ENDING}"))


def _boot() -> bytes:
    """What is the same until this machine is started anew; nothing where it cannot be told."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""


def _read(content: bytes) -> Iterator[tuple[tuple[int, int], Answer | None]]:
    for at in range(SLOT_OCTETS, len(content) - SLOT_OCTETS + 1, SLOT_OCTETS):
        if content[at] != _FREE:
            batch, message = _KEY.unpack_from(content, at + _KEY_AT)
            yield (batch, message), _unpacked(content, at) if content[at] == _ANSWERED else None


def _packed(answer: Answer) -> tuple[int, str, float]:
    match answer:
        case Accepted(None):
            return _ACCEPTED, "", _NO_WAIT
        case Accepted(provider_id):
            return _ACCEPTED_WITH_ID, provider_id or "", _NO_WAIT
        case Refused(reason, detail):
            return _REFUSED, f"{reason.value} {detail}", _NO_WAIT
        case Later(detail, after, tried):
            return _LATER if tried else _UNTRIED, detail, _NO_WAIT if after is None else after.total_seconds()
        case Doubtful(detail):
            return _DOUBTFUL, detail, _NO_WAIT


def _unpacked(content: bytes, at: int) -> Answer:
    kind, octets, wait = _ANSWER.unpack_from(content, at + _ANSWER_AT)
    text = content[at + _TEXT_AT : at + _TEXT_AT + octets].decode("utf-8", "ignore")
    if kind == _ACCEPTED:
        return Accepted()
    if kind == _ACCEPTED_WITH_ID:
        return Accepted(text)
    if kind == _REFUSED:
        reason, _, detail = text.partition(" ")
        return Refused(Refusal(reason), detail)
    if kind in (_LATER, _UNTRIED):
        return Later(text, None if wait == _NO_WAIT else timedelta(seconds=wait), tried=kind == _LATER)
    return Doubtful(text)
