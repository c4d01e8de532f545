"""`fairness`: what a tenant's million adds to the delay of another tenant's ten."""

import argparse
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.house import MAIL, House, Lane, house, until
from benchmarks.table import Line

TEN = 10
TRIES = 40
LARGE = Lane()
SMALL = Lane("small", 7002, "newsletter", 505)


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """Ten alone, and ten beside the largest campaign that was asked for, in one house."""
    million = max(options.recipients)
    with house([LARGE, SMALL], customers={LARGE.tenant: million, SMALL.tenant: TEN}, html=MAIL) as opened:
        _delay(opened)  # the first has a template to read
        alone = [_delay(opened) for _ in range(TRIES)]
        campaign_id = opened.plan(LARGE)
        opened.fire(campaign_id)
        until(lambda: _accepted(opened) > 1000)
        beside = [_delay(opened) for _ in range(TRIES)]
        if opened.over(campaign_id):
            raise SystemExit("the large campaign was over before the small ones: give more --recipients")
    what = f"{TEN} of one tenant, from notification to acceptance"
    return [
        Line(f"{what}, alone", [delay * 1000 for delay in alone], "ms"),
        Line(f"{what}, beside {million:,} of another", [delay * 1000 for delay in beside], "ms"),
        Line("beside ÷ alone", [median(beside) / median(alone)], "", bar=1.1, at_least=False),
    ]


def _delay(opened: House) -> float:
    campaign_id = opened.plan(SMALL)
    began = time.perf_counter()
    opened.fire(campaign_id)
    until(lambda: opened.over(campaign_id), every=0.002)
    return time.perf_counter() - began


def _accepted(opened: House) -> int:
    row = opened.database.execute("select coalesce(sum(accepted), 0) from batch").fetchone()
    return 0 if row is None else int(row[0])
