"""Triggered notifications: kept and answered, against the bare answer of the same server to the same bytes; and how
long after a notification's first byte the provider is called, alone and beside a scheduled campaign."""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.callbacks import CONNECTIONS, MORE, SECRET, posted, serving
from benchmarks.house import PLAIN, TEMPLATE_ID, TENANT_ID, House, Lane, free_port, house, until
from benchmarks.posting import SEPARATOR
from benchmarks.table import Line

SCHEDULED = 500_000
TRIGGERED_ID = 604
SHARE = 0.25  # of what could be answered, while the time until the provider is called is measured
SECONDS = 10
SETTLED_SECONDS = 5  # after a checkpoint PostgreSQL writes each page whole once more
PATH = "/optimove/acme/secret-of-the-listener-acme"


@dataclass(frozen=True, slots=True)
class Round:
    """What one fresh house did; the baseline in the same minute."""

    bare: float  # requests/s
    answered: float
    alone: Sequence[float]  # seconds until the provider was called, least first
    beside: Sequence[float]  # likewise, while a scheduled campaign goes out
    scheduled: float  # messages/s of that campaign meanwhile


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """Round by round: the bare answer, ours, a quarter of ours alone, and beside a scheduled campaign."""
    scheduled = min(SCHEDULED, max(options.recipients))
    rounds = []
    for number in range(options.rounds):
        rounds.append(one := measured(options.notifications, scheduled))
        print(
            f"round {number + 1}: {one.bare:,.0f}/s bare, {one.answered:,.0f}/s; "
            f"p99 {_percentile(one.alone, 99):.1f} ms alone, {_percentile(one.beside, 99):.1f} ms beside",
            file=sys.stderr,
        )
    what = f"{options.notifications:,} triggered notifications, kept and answered"
    bare = sorted(one.bare for one in rounds)[len(rounds) // 2]
    beside = f"bare answer {bare:,.0f} requests/s over {CONNECTIONS} connections"
    return [
        Line(what, [one.answered for one in rounds], "requests/s"),
        Line(f"{what} ÷ bare answer", [one.answered / one.bare for one in rounds], "", bar=0.30, beside=beside),
        *_latency("alone", [one.alone for one in rounds]),
        *_latency(f"beside {scheduled:,} scheduled", [one.beside for one in rounds]),
        Line("scheduled messages meanwhile", [one.scheduled for one in rounds], "messages/s"),
    ]


def _latency(how: str, rounds: Sequence[Sequence[float]]) -> Iterator[Line]:
    what = f"a quarter of that, notification in until the provider is called, {how}"
    yield Line(f"{what}: p50", [_percentile(one, 50) for one in rounds], "ms")
    p99 = [_percentile(one, 99) for one in rounds]
    yield Line(f"{what}: p99", p99, "ms", bar=100, at_least=False, beside=f"{min(map(len, rounds)):,} or more a round")
    yield Line(f"{what}: the latest", [one[-1] * 1000 for one in rounds], "ms")


def _percentile(seconds: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    return seconds[min(len(seconds) - 1, len(seconds) * percent // 100)] * 1000


def measured(notifications: int, scheduled: int) -> Round:
    """One round. SystemExit where the campaign does not last as long as the measuring beside it."""
    port = free_port()
    lane = Lane(triggered_id=TRIGGERED_ID, provider="webhook", more=MORE.format(port=port, secret=SECRET))
    with house([lane], customers={"acme": scheduled}, html=PLAIN) as opened:
        noted = opened.folder / "noted"
        with serving("note", port, str(noted)) as receiver:
            bare, answered = _answered(opened, notifications)
            until(lambda: _had(port) == notifications, 120)
            per_second = answered * SHARE
            alone = _paced(opened, notifications, per_second)
            until(lambda: _had(port) == notifications + len(alone), 120)
            opened.command("channels", "pause", lane.channel)
            campaign_id = opened.plan(lane)
            opened.fire(campaign_id)
            until(lambda: opened.fetched(campaign_id))  # the simulator makes its rows no more
            opened.database.execute("checkpoint")  # which comes every few minutes; the log has files from the first on
            opened.command("channels", "resume", lane.channel)
            time.sleep(SETTLED_SECONDS)
            began, before = time.monotonic(), _accepted(opened, campaign_id)
            beside = _paced(opened, notifications + len(alone), per_second)
            scheduled_per_second = (_accepted(opened, campaign_id) - before) / (time.monotonic() - began)
            until(lambda: _had(port) == notifications + len(alone) + len(beside), 120)
            if opened.over(campaign_id):
                raise SystemExit(
                    "the scheduled campaign was over before the measuring beside it: give more --recipients"
                )
            receiver.communicate()
        had_at = {int(number): at for number, at in json.loads(noted.read_text()).items()}
        return Round(bare, answered, _waited(alone, had_at), _waited(beside, had_at), scheduled_per_second)


def _accepted(opened: House, campaign_id: str) -> int:
    sql = "select sum(b.accepted)::int from batch b join campaign c on c.id = b.campaign where c.campaign_id = %s"
    row = opened.database.execute(sql, (campaign_id,)).fetchone()
    return int(row[0] or 0) if row else 0


def _answered(opened: House, notifications: int) -> tuple[float, float]:
    """Requests per second, each of them as soon as the one before it is answered: the bare answer's, and ours."""
    file = _write(opened, 0, notifications)
    bare_port = free_port()
    with serving("bare", bare_port):
        theirs, _ = posted(bare_port, file)
    ours, statuses = posted(opened.settings.service.listen.port, file)
    assert statuses == {"200": notifications}, statuses
    return notifications / theirs, notifications / ours


def _paced(opened: House, first: int, per_second: float) -> dict[int, float]:
    """Post so many a second, evenly spaced; when the first byte of each went out, by its number."""
    file = _write(opened, first, round(per_second * SECONDS))
    port = opened.settings.service.listen.port
    words = (
        sys.executable,
        "-m",
        "benchmarks.posting",
        "pace",
        str(port),
        str(file),
        str(CONNECTIONS),
        str(per_second),
    )
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert set(said["statuses"]) == {"200"}, said["statuses"]
    print(f"{per_second:,.0f}/s, the latest {said['late'] * 1000:.1f} ms after its time", file=sys.stderr)
    return dict(enumerate(said["written"], first))


def _waited(written: Mapping[int, float], had_at: Mapping[int, float]) -> list[float]:
    return sorted(had_at[number] - at for number, at in written.items())


def _write(opened: House, first: int, notifications: int) -> Path:
    """So many whole requests, each about a customer and with a number of its own."""
    stamp = datetime.now(UTC)
    requests = []
    for number in range(first, first + notifications):
        body = _body(number, f"{stamp:%Y-%m-%d %H:%M:%S}")
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    file = opened.folder / f"notifications-{first}"
    file.write_bytes(SEPARATOR.join(requests))
    return file


def _body(number: int, stamp: str) -> bytes:
    """A type 11, about 500 bytes, whose number stands where benchmarks.answering looks for it."""
    notification = {
        "eventTypeID": 11,
        "timeStamp": stamp,
        "tenantID": TENANT_ID,
        "triggerName": "Viewed loans page three times",
        "customerID": f"T-{number:08}",
        "campaignID": "58831",
        "actionID": 214,
        "actionName": "Loan nudge",
        "channelID": TRIGGERED_ID,
        "templateID": TEMPLATE_ID,
        "templateName": "Week",
        "promoCode": ["LOAN5"],
        "notes": "",
        "personalization": {
            "FIRST_NAME": f"number-{number:08}",
            "COUNTRY": "Portugal",
            "EMAIL": f"t{number:08}@people.example",
            "page_title": "Loans",
            "visits": "3",
        },
    }
    return json.dumps(notification).encode()


def _had(port: int) -> int:
    """How many different ones the provider was called with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        return int(answer.read())
