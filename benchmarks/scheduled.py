"""A scheduled campaign from its notification until all of it is accepted: recipients per second, memory, disk."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import psutil

from benchmarks import sink
from benchmarks.copying import copied_per_second
from benchmarks.house import MAIL, PLAIN, House, Lane, house, until
from benchmarks.showing import audited, shown_milliseconds
from benchmarks.table import Line

MEGABYTE = 1_000_000
SIZE = """
select sum(pg_total_relation_size(name::regclass))
from unnest(array['message', 'outcome', 'batch', 'page', 'pass', 'campaign']) name
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One campaign, measured, with the baseline right before it in the same database."""

    per_second: float
    copied_per_second: float
    most_memory: float  # of the worker, MB
    busy: float  # seconds of processor time of the worker, for each second
    bytes_each: float  # of the ledger, without attributes
    show_ms: float


MAILS = {"4 kB mails rendered": MAIL, "without rendering": PLAIN}


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """Every scheduled row of the table of bars; each round measures all of them, so that an hour's mood hits all."""
    runs: dict[tuple[int, str], list[Run]] = {
        (recipients, name): [] for recipients in options.recipients for name in MAILS
    }
    for number in range(options.rounds):
        for (recipients, name), so_far in runs.items():
            so_far.append(measured(recipients, MAILS[name]))
            print(f"round {number + 1}: {recipients:,}, {name}: {so_far[-1].per_second:,.0f}/s", file=sys.stderr)
    lines = [line for (recipients, name), of in runs.items() for line in _lines(f"{recipients:,} to null, {name}", of)]
    lines += _growth(runs, min(options.recipients), max(options.recipients))
    if options.mails:
        lines += sink.bench(options.mails, options.rounds)
    return lines


def _growth(runs: Mapping[tuple[int, str], Sequence[Run]], few: int, many: int) -> Iterator[Line]:
    if few < many:
        rendered = next(iter(MAILS))
        seconds = [
            (few / a.per_second, many / b.per_second)
            for a, b in zip(runs[few, rendered], runs[many, rendered], strict=True)
        ]
        what = f"growth: time at {many:,} ÷ at {few:,}"
        yield Line(what, [slow / fast for fast, slow in seconds], "times", bar=1.1 * many / few, at_least=False)


def measured(recipients: int, html: str) -> Run:
    """One round in a fresh house: the baseline, then a campaign."""
    with house(customers={"acme": recipients}, html=html) as opened:
        baseline = copied_per_second(opened.database, recipients)
        worker = opened.worker()
        campaign_id = opened.plan(Lane())
        with most_memory(worker) as memory:
            busy = sum(worker.cpu_times()[:2])
            began = time.perf_counter()
            opened.fire(campaign_id)
            until(lambda: opened.over(campaign_id))
            seconds = time.perf_counter() - began
            busy = sum(worker.cpu_times()[:2]) - busy
        audited(opened)
        return Run(
            recipients / seconds,
            baseline,
            memory[0] / MEGABYTE,
            busy / seconds,
            _bytes_each(opened, recipients),
            shown_milliseconds(opened),
        )


def _lines(what: str, runs: Sequence[Run]) -> Iterator[Line]:
    copied = sorted(one.copied_per_second for one in runs)[len(runs) // 2]
    yield Line(f"{what}", [one.per_second for one in runs], "recipients/s")
    ratios = [one.per_second / one.copied_per_second for one in runs]
    yield Line(f"{what} ÷ bare COPY", ratios, "", bar=0.05, beside=f"bare COPY {copied:,.0f} rows/s")
    yield Line(f"{what}: worker busy", [one.busy for one in runs], "of a core")
    yield Line(f"{what}: memory of the worker", [one.most_memory for one in runs], "MB", bar=250, at_least=False)
    yield Line(f"{what}: ledger", [one.bytes_each for one in runs], "bytes a recipient", bar=400, at_least=False)
    yield Line(f"{what}: campaigns show", [one.show_ms for one in runs], "ms", bar=50, at_least=False)


def _bytes_each(opened: House, recipients: int) -> float:
    row = opened.database.execute(SIZE).fetchone()
    assert row is not None
    return float(row[0]) / recipients


@contextmanager
def most_memory(process: psutil.Process) -> Iterator[list[int]]:
    """The most resident memory that a process has meanwhile, looked at ten times a second."""
    most, stop = [0], Event()

    def look() -> None:
        while not stop.wait(0.1):
            most[0] = max(most[0], process.memory_info().rss)

    looking = Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        stop.set()
        looking.join()
