"""Opt-ins: a file in, against a bare COPY of its rows, and all of them out to Optimove by each route."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.copying import copied_into
from benchmarks.house import PLAIN, SERVICE, TENANT, House, Lane, free_port, house, until
from benchmarks.table import Line
from optirelay.engine import runtime
from optirelay.settings import load

CHANNEL = '[tenants.acme.channels.newsletter]\nscheduled_id = 504\nprovider = "null"\n'
ROUTES = {
    "attributes": 'opt_in = "attributes:EMAIL_OPTIN"\n',
    "channel_preference": 'opt_in = "channel_preference"\ncommunication_modes = [7, 8]\n',
    "batch_file": 'opt_in = "batch_file:optins"\n[tenants.acme.channels.newsletter.batch_file]\nevery = "1s"\n',
}
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
TYPES = ("int4", "text", "text", "timestamptz", "bool", "text")
COPIED = """
create table copied (
  tenant int, customer_id text, channel text, at timestamptz, opted_in boolean, source text,
  primary key (tenant, channel, customer_id)
)
"""


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """The import round by round, then each route once."""
    lines = list(_imported(options.rows, options.rounds))
    for route, settings in ROUTES.items():
        lines += _pushed(route, settings, options.rows)
    return lines


def _imported(rows: int, rounds: int) -> Iterator[Line]:
    speeds, ratios, peaks, own, databases = [], [], [], [], []
    with _store() as (config, database):
        file = config.with_name("said.csv")
        with file.open("w") as out:
            out.write("customer_id,channel,opted_in,at\n")
            out.writelines(f"{id_},{channel},{said},{at:%FT%TZ}\n" for _, id_, channel, at, said, _ in _rows(rows))
        for _ in range(rounds):
            copied = copied_into(database, COPIED, TYPES, list(_rows(rows)))
            database.execute("truncate subscription, subscription_statement")
            before = _database_seconds(database)
            seconds, busy, peak = _import(config, file)
            speeds.append(rows / seconds)
            ratios.append(rows / seconds / copied)
            peaks.append(peak)
            own.append(busy / rows * 1e6)
            databases.append((_database_seconds(database) - before) / rows * 1e6)
    yield Line(f"`optins import` of {rows:,}", speeds, "rows/s", bar=30_000)
    yield Line("the same ÷ bare COPY", ratios, "", beside="into one table with a primary key, 10,000 a transaction")
    yield Line("the same: peak memory", peaks, "MiB")
    yield Line("the same: processor time of the command", own, "µs a row")
    yield Line("the same: processor time of PostgreSQL", databases, "µs a row")


def _rows(rows: int) -> Iterator[tuple[Any, ...]]:
    for n in range(rows):
        yield 1, f"C-{n:07}", "newsletter", BEGAN + timedelta(seconds=n), n % 3 > 0, "import"


@contextmanager
def _store() -> Iterator[tuple[Path, psycopg.Connection[Any]]]:
    """Settings of an embedded database of their own, up until the end."""
    folder = Path(tempfile.mkdtemp(prefix="optirelay-bench-"))
    folder.chmod(0o711)
    try:
        config = folder / "optirelay.toml"
        tenant = TENANT.format(name="acme", optimove="http://127.0.0.1:1")
        config.write_text(SERVICE.format(listen=free_port(), workers=1) + tenant + CHANNEL)
        with (
            runtime.database(load(config)) as conninfo,
            psycopg.connect(conninfo, autocommit=True) as database,
        ):
            empty = config.with_name("nobody.csv")
            empty.write_text("customer_id,channel,opted_in\n")
            _import(config, empty)  # makes the tables
            yield config, database
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _import(config: Path, file: Path) -> tuple[float, float, float]:
    """Seconds that the whole command took, its start among them; of processor time; and its peak memory in MiB."""
    command = (sys.executable, "-m", "optirelay", "optins", "import", str(file), "--config", str(config))
    began = time.perf_counter()
    peak = busy = 0.0
    with psutil.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            with suppress(psutil.Error, OSError, IndexError):  # it ends meanwhile
                peak, busy = _peak(running), _seconds([running])
            time.sleep(0.02)
    if running.returncode:
        raise SystemExit(f"optins import: status {running.returncode}")
    return time.perf_counter() - began, busy, peak


def _pushed(route: str, settings: str, rows: int) -> Iterator[Line]:
    """From the moment in which they are all there until Optimove, whose budget is off, has confirmed all."""
    with house([Lane(more=settings)], customers={"acme": rows}, html=PLAIN) as opened:
        worker = opened.worker()
        simulator = next(child for child in psutil.Process().children() if "simulate" in child.cmdline())
        watched = {"worker": [worker], "web": [opened.service], "simulator": [simulator]}
        opened.database.execute(
            "insert into subscription (tenant, channel, customer_id, opted_in, at, source, bulk)"
            " select t.id, 'newsletter', 'C-' || lpad(n::text, greatest(6, length(n::text)), '0'), n %% 3 > 0, now(),"
            " 'import', true"
            " from tenant t, generate_series(1, %s) n where t.name = 'acme'",
            (rows,),
        )
        opened.database.execute("analyze subscription")  # as PostgreSQL does by itself, soon
        began = time.perf_counter()
        before = {name: _seconds(processes) for name, processes in watched.items()}
        database_before = _database_seconds(opened.database)
        until(lambda: _confirmed(opened), every=0.2)
        took = time.perf_counter() - began
        shares = {name: (_seconds(processes) - before[name]) / took for name, processes in watched.items()}
        shares["PostgreSQL"] = (_database_seconds(opened.database) - database_before) / took
        beside = "processor: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        yield Line(f"told by `{route}`, {rows:,}", [rows / took], "rows/s", beside=beside)
        yield Line("the same: the worker's peak memory", [_peak(worker)], "MiB")


def _seconds(processes: Sequence[psutil.Process]) -> float:
    """Of processor time."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _database_seconds(database: psycopg.Connection[Any]) -> float:
    """The same of PostgreSQL, processes that have ended among them."""
    postmaster = psutil.Process(database.info.backend_pid).parent()
    assert postmaster is not None
    return float(sum(postmaster.cpu_times()[:4])) + _seconds(postmaster.children())


def _peak(process: psutil.Process) -> float:
    """In MiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def _confirmed(opened: House) -> bool:
    row = opened.database.execute(
        "select not exists (select from subscription where told is distinct from opted_in)"
        " and not exists (select from opt_in_call)"
    ).fetchone()
    return row is not None and bool(row[0])
