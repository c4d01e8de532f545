"""`scripts/bench NAME`: measures, and prints a table with medians, spread, machine and versions."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import callbacks, fairness, machine, optins, rate, scheduled, showing, triggered, webhook
from benchmarks.table import Line, print_table

BENCHES: Mapping[str, Callable[[argparse.Namespace], Sequence[Line]]] = {
    "scheduled": scheduled.bench,
    "show": showing.bench,
    "rate": rate.bench,
    "fairness": fairness.bench,
    "callbacks": callbacks.bench,
    "webhook": webhook.bench,
    "triggered": triggered.bench,
    "optins": optins.bench,
}


def main(arguments: Sequence[str]) -> int:
    """Run one bench; 1 where a figure misses its bar."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--rounds", type=int, default=3, help="ours and the baseline in turn, so often (default: 3)")
    parser.add_argument(
        "--recipients",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        help="default: 100000 1000000",
    )
    parser.add_argument("--mails", type=int, default=50_000, help="to the SMTP sink (default: 50000); 0: none")
    parser.add_argument("--notifications", type=int, default=20_000, help="triggered ones (default: 20000)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="opt-ins (default: 1000000)")
    options = parser.parse_args(arguments)
    print(machine.described())
    lines = BENCHES[options.name](options)
    print_table(lines)
    return 0 if all(line.meets_bar for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
