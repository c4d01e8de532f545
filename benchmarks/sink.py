"""Mails to postfix's smtp-sink: ours, and in turn with them those of its smtp-source over as many connections."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.house import MAIL, Lane, free_port, house, until
from benchmarks.table import Line

CONNECTIONS = 20
OCTETS = 4096  # of each message of smtp-source
UNPACKED = Path(__file__).parents[1] / ".venv" / "postfix"  # by scripts/bench

SMTP = """
[tenants.acme.channels.newsletter.smtp]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
"""


class NoSink(SystemExit):
    """postfix's test programs are not here."""


def bench(mails: int, rounds: int) -> Sequence[Line]:
    """Mails per second from the notification until all are accepted, and their ratio."""
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(_source(mails))
        ours.append(_campaign(mails))
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    beside = f"smtp-source {sorted(theirs)[rounds // 2]:,.0f} mails/s of {OCTETS} octets over {CONNECTIONS} connections"
    what = f"{mails:,} mails to smtp-sink, 4 kB of HTML"
    return [
        Line(what, ours, "mails/s"),
        Line(f"{what} ÷ smtp-source", ratios, "", bar=0.25, beside=beside),
    ]


def _source(mails: int) -> float:
    with _sink() as port:
        program = (_program("smtp-source"), "-s", str(CONNECTIONS), "-m", str(mails), "-l", str(OCTETS))
        began = time.perf_counter()
        subprocess.run(
            (*program, "-f", "news@acme.example", "-t", "somebody@example.com", f"127.0.0.1:{port}"),
            check=True,
            env=_environment(),
        )
        return mails / (time.perf_counter() - began)


def _campaign(mails: int) -> float:
    with _sink() as port:
        lane = Lane(provider="smtp", more=SMTP.format(port=port, connections=CONNECTIONS))
        with house([lane], customers={"acme": mails}, html=MAIL) as opened:
            campaign_id = opened.plan(lane)
            began = time.perf_counter()
            opened.fire(campaign_id)
            until(lambda: opened.over(campaign_id))
            return mails / (time.perf_counter() - began)


@contextmanager
def _sink() -> Iterator[int]:
    """smtp-sink on a port of its own. As root it takes another account, as it must."""
    port, who = free_port(), (("-u", "nobody") if os.getuid() == 0 else ())
    with tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen(
            (_program("smtp-sink"), *who, f"127.0.0.1:{port}", "1000"), cwd=folder, env=_environment()
        )
        try:
            until(lambda: _listens(running.pid, port), 20)
            yield port
        finally:
            running.terminate()
            running.wait(20)


def _listens(pid: int, port: int) -> bool:
    return any(c.laddr.port == port and c.status == "LISTEN" for c in psutil.Process(pid).net_connections())


def _program(name: str) -> str:
    unpacked = UNPACKED / "usr" / "sbin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise NoSink(f"{name} is not here: install postfix (its test programs come with it), or give --mails 0")
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(UNPACKED / "usr" / "lib" / "postfix")}
