"""Messages posted to a webhook, one a request, against a bare aiohttp loop that posts the same bodies."""

import argparse
import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence

from benchmarks.callbacks import SECRET, serving
from benchmarks.house import Lane, free_port, house, until
from benchmarks.table import Line

CONCURRENCY = 50
TEXT = "Hello {{ FIRST_NAME }}, your week in {{ COUNTRY }} starts with three things that people like you looked at."
MORE = """kind = "sms"
address = "attribute:MOBILE"

[tenants.acme.channels.newsletter.webhook]
url = "http://127.0.0.1:{port}/"
secret = "{secret}"
concurrency = {concurrency}
"""


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """Round by round: a campaign, then the loop with the bodies that the campaign posted. First receipt to last."""
    messages = min(options.recipients)
    ours, theirs = [], []
    for number in range(options.rounds):
        one, other = measured(messages)
        ours.append(one)
        theirs.append(other)
        print(f"round {number + 1}: {one:,.0f}/s, the bare loop {other:,.0f}/s", file=sys.stderr)
    what = f"{messages:,} texts to a webhook, one a request"
    beside = f"bare aiohttp loop {sorted(theirs)[len(theirs) // 2]:,.0f} requests/s, {CONCURRENCY} at a time"
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return [Line(what, ours, "messages/s"), Line(f"{what} ÷ bare aiohttp loop", ratios, "", beside=beside)]


def measured(messages: int) -> tuple[float, float]:
    """Requests per second at the receiver: ours, and the bare loop's."""
    port = free_port()
    lane = Lane(provider="webhook", more=MORE.format(port=port, secret=SECRET, concurrency=CONCURRENCY))
    with house([lane], customers={"acme": messages}, html=TEXT) as opened:
        bodies = opened.folder / "bodies"
        with serving("receive", port, str(bodies)) as receiver:
            campaign_id = opened.plan(lane)
            opened.fire(campaign_id)
            until(lambda: opened.over(campaign_id))
            ours = _per_second(port)
            receiver.communicate()
        with serving("receive", port):
            words = ("-m", "benchmarks.posting", "post", f"http://127.0.0.1:{port}/", str(bodies), str(CONCURRENCY))
            subprocess.run((sys.executable, *words), check=True)
            return ours, _per_second(port)


def _per_second(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        said = json.loads(answer.read())
    return float(said["taken"]) / float(said["seconds"])
