"""Callbacks, one event each, signed: kept and counted, against the bare answer of the same server to the same bytes."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.house import PLAIN, House, Lane, free_port, house, until
from benchmarks.posting import SEPARATOR
from benchmarks.table import Line
from optirelay.signatures import read_key, sign
from optirelay.store.sids import sid_of

CONNECTIONS = 256
SECRET = "whsec_" + "QmVuY2htYXJrcyBhcmUgbm90IHNlY3JldCwgYnV0IGZ1bg=="
MORE = """callback_secret = "bench-callbacks"

[tenants.acme.channels.newsletter.webhook]
url = "http://127.0.0.1:{port}/"
secret = "{secret}"
batch = 500
"""
PATH = "/callbacks/acme/newsletter/bench-callbacks"


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """Round by round: the bare answer, then ours; the time until the last event is counted."""
    events = min(options.recipients)
    answered, counted, bare = [], [], []
    for number in range(options.rounds):
        ours, all_of_ours, theirs = measured(events)
        answered.append(ours)
        counted.append(all_of_ours)
        bare.append(theirs)
        print(f"round {number + 1}: {theirs:,.0f}/s bare, {ours:,.0f}/s, counted {all_of_ours:,.0f}/s", file=sys.stderr)
    beside = f"bare answer {sorted(bare)[len(bare) // 2]:,.0f} requests/s over {CONNECTIONS} connections"
    what = f"{events:,} callbacks of one event"
    ratios = [one / other for one, other in zip(counted, bare, strict=True)]
    return [
        Line(f"{what}, kept and answered", answered, "requests/s"),
        Line(f"{what}, kept and counted", counted, "requests/s"),
        Line(f"{what}, kept and answered ÷ bare answer", [a / b for a, b in zip(answered, bare, strict=True)], ""),
        Line(f"{what}, kept and counted ÷ bare answer", ratios, "", bar=0.25, beside=beside),
    ]


def measured(events: int) -> tuple[float, float, float]:
    """Requests per second: ours until the last answer, ours until the last is counted, the bare answer's."""
    port = free_port()
    lane = Lane(provider="webhook", more=MORE.format(port=port, secret=SECRET))
    with serving("receive", port), house([lane], customers={"acme": events + events // 20}, html=PLAIN) as opened:
        campaign_id = opened.plan(lane)
        opened.fire(campaign_id)
        until(lambda: opened.over(campaign_id))
        file = opened.folder / "callbacks"
        sent = _write(opened, file, events)
        bare_port = free_port()
        with serving("bare", bare_port):
            theirs, _ = posted(bare_port, file)
        began = time.monotonic()
        ours, statuses = posted(opened.settings.service.listen.port, file)
        assert statuses == {"200": sent}, statuses
        until(lambda: _counted(opened) == sent)
        return sent / ours, sent / (time.monotonic() - began), sent / theirs


def _write(opened: House, file: Path, events: int) -> int:
    """A whole request for each message, signed; how many."""
    rows = opened.database.execute(
        "select tenant, planned_on, message from outcome where state = 'accepted' limit %s", (events,)
    )
    now, keys = datetime.now(UTC), [read_key(SECRET)]
    stamp, requests = int(now.timestamp()), []
    for number, (tenant, day, message) in enumerate(rows):
        event = {
            "event_id": f"e-{number}",
            "id": sid_of(tenant, day, message),
            "event": "delivered",
            "at": now.isoformat(),
        }
        body = json.dumps(event).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nwebhook-id: m-{number}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: {sign(keys, f'm-{number}', stamp, body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    file.write_bytes(SEPARATOR.join(requests))
    return len(requests)


def posted(port: int, file: Path) -> tuple[float, dict[str, int]]:
    """Seconds until the last answer, and how often each status was answered."""
    words = (sys.executable, "-m", "benchmarks.posting", "load", str(port), str(file), str(CONNECTIONS))
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return float(said["seconds"]), said["statuses"]


def _counted(opened: House) -> int:
    row = opened.database.execute(
        "select coalesce(sum(messages), 0) from counted_event where kind = 'delivered'"
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def serving(kind: str, port: int, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of benchmarks.answering in a process of its own."""
    with ExitStack() as stack:
        running = subprocess.Popen(
            (sys.executable, "-m", "benchmarks.answering", kind, str(port), *words), stdin=subprocess.PIPE
        )
        stack.callback(running.wait, 30)
        stack.callback(running.terminate)
        until(lambda: any(c.laddr.port == port for c in psutil.Process(running.pid).net_connections()), 30)
        yield running
