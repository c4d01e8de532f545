"""What the person at the terminal sees: a line for each blow, then the verdict."""

import time

from rich.console import Console
from rich.table import Table

from crash.compare import Verdict


class Progress:
    """Prints a line with the seconds since the start."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._started_at:7.1f} s  {text}", flush=True)


def print_verdict(verdict: Verdict, title: str) -> None:
    """The table, then whether every promise was kept."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for what, number, note in _lines(verdict):
        table.add_row(what, str(number), note)
    console = Console(highlight=False, markup=False, emoji=False, width=110)
    console.print(f"\n{title}", soft_wrap=True)
    console.print(table)
    missed = verdict.missed()
    for sentence in missed:
        console.print(f"MISSED: {sentence}", soft_wrap=True)
    console.print("Promises were missed." if missed else "Every promise was kept.")


def _reported(verdict: Verdict) -> list[tuple[str, int | str, str]]:
    if verdict.reported is None:
        return []
    return [
        ("reported to Optimove", verdict.reported, f"report calls that had been in doubt: {verdict.reports_in_doubt}")
    ]


def _lines(verdict: Verdict) -> list[tuple[str, int | str, str]]:
    explained = ", ".join(f"{reason} {count}" for reason, count in sorted(verdict.explained.items()))
    return [
        ("expected", verdict.expected, ""),
        ("  without a usable address", verdict.unusable, "each skipped for it"),
        ("  ended with a reason", verdict.explained.total(), explained),
        ("arrived", verdict.arrived, f"and {verdict.repeats} repeats of a key" if verdict.repeats else ""),
        ("lost", len(verdict.lost), ""),
        ("doubled", len(verdict.doubled), ""),
        ("in doubt", verdict.in_doubt, f"at most {verdict.allowed_in_doubt} allowed"),
        ("  of those arrived", verdict.in_doubt_arrived, ""),
        ("  left by the operator", len(verdict.left_in_doubt), ""),
        ("accepted in the ledger", verdict.accepted, ""),
        *_reported(verdict),
        *((what, number, "") for what, number in verdict.more),
    ]
