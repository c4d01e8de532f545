"""`campaigns show`: the numbers of a campaign, from batch counters."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.house import PLAIN, House, Lane, house, until
from benchmarks.table import Line
from optirelay.engine import operate, runtime

TIMES = 20


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """At the largest campaign that was asked for."""
    recipients = max(options.recipients)
    figures = []
    with house(customers={"acme": recipients}, html=PLAIN) as opened:
        campaign_id = opened.plan(Lane())
        opened.fire(campaign_id)
        until(lambda: opened.over(campaign_id))
        figures = [shown_milliseconds(opened) for _ in range(options.rounds)]
    return [Line(f"campaigns show at {recipients:,}", figures, "ms", bar=50, at_least=False)]


def audited(opened: House) -> None:
    """Rows, counters and pages must say the same. SystemExit where they do not."""

    async def audit() -> list[str]:
        with runtime.database(opened.settings) as conninfo:
            async with runtime.open_context(opened.settings, conninfo) as ctx:
                found = []
                for shape in await operate.campaigns(ctx):
                    found += await operate.audit(ctx, shape["tenant"], shape)
                    if not shape["balanced"]:
                        found.append(f"campaign {shape['campaign_id']} is not balanced")
                return found

    if differences := asyncio.run(audit()):
        raise SystemExit("\n".join(differences))


def shown_milliseconds(opened: House) -> float:
    """The median of some looks, in a process whose connection is open."""

    async def look() -> float:
        with runtime.database(opened.settings) as conninfo:
            async with runtime.open_context(opened.settings, conninfo) as ctx:
                took = []
                for _ in range(TIMES):
                    began = time.perf_counter()
                    await operate.campaigns(ctx)
                    took.append(time.perf_counter() - began)
                return median(took) * 1000

    return asyncio.run(look())
