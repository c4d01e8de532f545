"""The journal: what a worker had seen is found by its successor, and by nobody while it lives."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from optirelay.engine.journal import FIRST_SLOTS, DeadJournal, Journal, dead_journal, journals_in
from optirelay.model import Accepted, Answer, Doubtful, Later, Refusal, Refused

ANSWERS: list[Answer] = [
    Accepted(),
    Accepted("queue-id"),
    Accepted(""),
    Refused(Refusal.REJECTED, "550 no such user"),
    Refused(Refusal.TOO_MANY_TRIES),
    Later("450 later"),
    Later("429", timedelta(seconds=90)),
    Later("now", timedelta(0)),
    Doubtful("cut after the dot"),
]

WORKER = """
import os, signal, sys
from pathlib import Path
from optirelay.engine.journal import Journal
from optirelay.model import Accepted
with Journal.open(Path(sys.argv[1]), "w1") as journal:
    journal.runs_jobs_as(7)
    for message in range(5000):
        journal.begun(1, message)
    for message in range(3000):
        journal.answered(1, message, Accepted(f"q{message}"))
    journal.settled(1, range(2000))
    print("ready", flush=True)
    sys.stdin.read()
"""


def leave(journal: Journal, folder: Path) -> DeadJournal:
    """What is found once its worker is gone."""
    (path,) = journals_in(folder)
    with dead_journal(path) as dead:
        assert dead is not None
        return dead


def test_a_killed_workers_journal_tells_what_it_had_seen(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    (path,) = journals_in(tmp_path)
    with dead_journal(path) as alive:
        assert alive is None
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    with dead_journal(path) as dead:
        assert dead is not None
        assert (dead.worker, dead.jobs) == ("w1", 7)
        assert not dead.began(1, 1999)  # settled: the ledger has it
        assert dead.answer_to(1, 2000) == Accepted("q2000")
        assert dead.began(1, 4999)
        assert dead.answer_to(1, 4999) is None
        assert not dead.began(2, 4999)
        with dead_journal(path) as second:
            assert second is None  # one successor settles it
        dead.remove()
    with dead_journal(path) as gone:
        assert gone is None
    assert journals_in(tmp_path) == []


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_every_answer_is_read_as_it_was_written(tmp_path: Path, answer: Answer) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        journal.begun(3, 3001)
        journal.answered(3, 3001, answer)
    assert leave(journal, tmp_path).answer_to(3, 3001) == answer


def test_long_words_are_cut_between_characters(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        journal.begun(3, 3001)
        journal.answered(3, 3001, Later("é" * 600))
    read = leave(journal, tmp_path).answer_to(3, 3001)
    assert isinstance(read, Later)
    assert set(read.detail) == {"é"}
    assert len(read.detail) > 200


def test_a_journal_in_which_all_is_settled_goes_with_its_worker(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        for message in range(3 * FIRST_SLOTS):
            journal.begun(1, message)
        for message in range(3 * FIRST_SLOTS):
            journal.answered(1, message, Accepted())
        journal.settled(1, range(3 * FIRST_SLOTS))
    assert list(tmp_path.iterdir()) == []


def test_a_slot_that_is_free_again_keeps_nothing_of_its_last_message(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        journal.begun(1, 1)
        journal.answered(1, 1, Accepted("first"))
        assert b"first" in journals_in(tmp_path)[0].read_bytes()
        journal.settled(1, [1])
        assert b"first" not in journals_in(tmp_path)[0].read_bytes()  # a provider's words may name people
        journal.begun(2, 1)
    dead = leave(journal, tmp_path)
    assert not dead.began(1, 1)
    assert dead.began(2, 1)
    assert dead.answer_to(2, 1) is None


def test_what_was_never_begun_cannot_be_answered(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        journal.answered(1, 1, Accepted())
        journal.settled(1, [1])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_journal_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "w1.journal"
    path.write_bytes(b"something else")
    with dead_journal(path) as dead:
        assert dead is None
    assert not path.exists()


def test_after_the_machine_was_started_anew_everything_may_have_begun(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "w1") as journal:
        journal.begun(1, 1)
        journal.answered(1, 1, Accepted())
    (path,) = journals_in(tmp_path)
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    content = path.read_bytes()
    assert content.count(boot) == 1
    path.write_bytes(content.replace(boot, b"0" * len(boot)))
    dead = leave(journal, tmp_path)
    assert dead.began(1, 1)
    assert dead.began(1, 2)
    assert dead.answer_to(1, 1) is None


def test_others_cannot_read_who_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    with Journal.open(folder, "w1"):
        (path,) = journals_in(folder)
        assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert list(folder.iterdir()) == []
