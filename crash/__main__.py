"""`scripts/crash`: proves that nobody is lost and nobody is written to twice."""

import argparse
import asyncio
import inspect
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from crash.cases import CASES, Case
from crash.compare import Verdict
from crash.errors import Failed
from crash.house import CONTRACTS, fresh_folder
from crash.run import Trial, crash
from crash.show import Progress, print_verdict

DESCRIPTION = """\
Proves "nobody lost, nobody written to twice". A campaign goes from a simulated Optimove through real processes to a
receiver that keeps receipts of its own. Meanwhile workers, the web process and PostgreSQL are killed, and connections
to receiver, Optimove and database are cut and delayed, at instants drawn from the seed. Then an operator resolves what
is in doubt, and receipts, ledger and what Optimove was told are compared row by row.

Exit status: 0 every promise was kept, 1 one was missed, 2 wrong use, or the run could not be carried out.
"""


def main() -> int:
    """Run what the arguments ask for; the exit status."""
    asked = read_arguments(sys.argv[1:])
    with fresh_folder() as folder:
        keep(folder, kept=asked.keep)
        title, run = what_is_asked(asked, folder)
        try:
            verdict = uvloop.run(until_told(run))
        except Failed as error:
            keep(folder, kept=True)
            print(f"It could not be carried out: {error}\nLogs: {folder}", file=sys.stderr)
            return 2
        except asyncio.CancelledError:
            print("Stopped; nothing is left behind.", file=sys.stderr)
            return 130
        print_verdict(verdict, title)
        keep(folder, kept=bool(verdict.missed()) and not asked.keep)
        return 1 if verdict.missed() else 0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for; wrong use ends with a sentence and exit status 2."""
    parser = argparse.ArgumentParser(
        "scripts/crash", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--messages",
        type=_count,
        default=100_000,
        help="people in the campaign, or notifications of --case triggered (default 100000)",
    )
    parser.add_argument(
        "--kills",
        type=int,
        help="and as many cuts and delays (default 50); of --case triggered kills alone (default 5)",
    )
    parser.add_argument("--seed", type=int, default=1, help="another one, other instants (default 1)")
    parser.add_argument("--channel", choices=list(CONTRACTS), default="smtp", help="the receiver (default smtp)")
    parser.add_argument(
        "--contract",
        choices=sorted({contract for contracts in CONTRACTS.values() for contract in contracts}),
        help="keyed: the receiver honours ids; hold: it does not (default: smtp hold, webhook keyed)",
    )
    parser.add_argument("--case", choices=list(CASES), help="one thing alone instead")
    parser.add_argument("--seconds", type=float, default=120.0, help="of --case churn (default 120)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs; it is also kept at a miss")
    asked = parser.parse_args(words)
    if asked.kills is None:
        asked.kills = 5 if asked.case else 50
    possible = CONTRACTS[asked.channel]
    asked.contract = asked.contract or possible[0]
    if asked.contract not in possible:
        parser.error(f"channel {asked.channel} has the contract {' or '.join(possible)}, and no other")
    return asked


def _count(text: str) -> int:
    number = int(text)
    if number < 100:
        raise argparse.ArgumentTypeError("at least 100")
    return number


def what_is_asked(asked: argparse.Namespace, folder: Path) -> tuple[str, Callable[[], Awaitable[Verdict]]]:
    """The title of the verdict, and what comes to it; what a case does and expects is printed first."""
    say = Progress()
    if asked.case is not None:
        case = CASES[asked.case]
        print(inspect.getdoc(case), end="\n\n", flush=True)
        sizes = {"messages": asked.messages} if asked.case == "triggered" else {}
        sized = Case(folder=folder, say=say, seconds=asked.seconds, kills=asked.kills, seed=asked.seed, **sizes)
        return f"case {asked.case}", lambda: case(sized)
    trial = Trial(
        messages=asked.messages, kills=asked.kills, seed=asked.seed, channel=asked.channel, contract=asked.contract
    )
    title = f"{trial.messages} messages, {trial.kills} kills, seed {trial.seed}"
    return f"{title}, channel {trial.channel}, contract {trial.contract}", lambda: crash(trial, folder, say)


def keep(folder: Path, *, kept: bool) -> None:
    """Have the folder stay, where it is to be kept, and say where it is."""
    if kept:
        (folder / "kept").touch()
        print(f"Logs: {folder}")


async def until_told(run: Callable[[], Awaitable[Verdict]]) -> Verdict:
    """Run until the end, or until SIGTERM or Ctrl-C: then everything is ended first."""
    task = asyncio.ensure_future(run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
