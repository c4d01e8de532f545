"""What the demo prints: progress while it runs, then a table, one mail, and where to look next."""

from collections.abc import Mapping
from email import message_from_bytes, policy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from optirelay.demo.burst import Burst

BARS = ("gather", "send", "report", "triggered")
QUIET_SECONDS = 2.0  # between two lines where there is no terminal


class Show:
    """Bars on a terminal, now and then a line elsewhere; on standard error where the output is JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = Console(stderr=as_json, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bars = {name: self._progress.add_task(name, total=None, start=False) for name in BARS}
        self._told_at = 0.0
        self._drawing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bars()

    def say(self, text: str) -> None:
        """A line for the person who watches. Never broken: paths and commands in it are copied."""
        self.console.print(text, soft_wrap=True)

    def move(self, seconds: float, recipients: int, shape: Mapping[str, Any], burst: Burst) -> None:
        """Where both campaigns stand."""
        self._start_bars()
        done, told = _done(shape), shape["reported"]["accepted"]
        self._progress.update(self._bars["gather"], completed=shape["handed_over"], total=recipients)
        self._progress.update(self._bars["send"], completed=done, total=shape["handed_over"] or None)
        self._progress.update(self._bars["report"], completed=told, total=shape["accepted"] or None)
        triggered = _done(burst.shape) if burst.shape else 0
        self._progress.update(self._bars["triggered"], completed=triggered, total=burst.count, visible=burst.count > 0)
        if not self.console.is_terminal and seconds - self._told_at >= QUIET_SECONDS:
            self._told_at = seconds
            beside = f"; {triggered} of {burst.count} triggered" if burst.count else ""
            self.say(f"{seconds:5.1f} s: {shape['handed_over']} handed over, {done} done, {told} reported{beside}")

    def table(self, shape: Mapping[str, Any], received: int) -> None:
        """The campaign's balance."""
        self._end_bars()
        self.console.print()
        self.console.print(_table(f"Campaign {shape['campaign_id']}", shape, received))

    def burst(self, burst: Burst, received: int, latency: Mapping[str, float | None]) -> None:
        """The burst's balance, and how long its mails took."""
        assert burst.shape
        fired = {"fired": burst.count, "  sent twice": burst.duplicates}
        table = _table(f"Triggered campaign {burst.shape['campaign_id']}", burst.shape, received, fired)
        for name in ("p50_ms", "p99_ms"):
            table.add_row(f"{name[:3]} to the SMTP server", "-" if latency[name] is None else f"{latency[name]:.0f} ms")
        self.console.print()
        self.console.print(table)
        self.say(" p50, p99: from when a notification leaves Optimove until the SMTP server has its mail.")

    def mail(self, folder: Path) -> None:
        """One mail as its reader sees it."""
        first = next(iter(sorted(folder.glob("*.eml"))), None)
        if first is None:
            return
        mail = message_from_bytes(first.read_bytes(), policy=policy.default)
        text = mail.get_body(("plain",))
        self.say(f"\nOne of the mails ({first}):\n")
        for name in ("From", "To", "Subject", "Date", "Message-ID"):
            self.say(f"  {name}: {mail[name]}")
        for line in ("" if text is None else text.get_content()).splitlines():
            self.say(f"  | {line}")

    def _start_bars(self) -> None:
        if self.console.is_terminal and not self._drawing:
            self._drawing = True
            self._progress.start()
            for bar in self._bars.values():
                self._progress.start_task(bar)

    def _end_bars(self) -> None:
        """They stay where they are; what is printed from here on stands below them."""
        if self._drawing:
            self._drawing = False
            self._progress.stop()


def _table(title: str, shape: Mapping[str, Any], received: int, before: Mapping[str, int] | None = None) -> Table:
    table = Table(title=title, box=None, show_header=False, title_justify="left")
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, number in (before or {}).items():
        table.add_row(name, str(number))
    table.add_row("handed over", str(shape["handed_over"]))
    table.add_row("accepted", str(shape["accepted"]))
    for word in ("skipped", "refused"):
        table.add_row(word, str(_total(shape[word])))
        for reason, number in shape[word].items():
            table.add_row(f"  {reason}", str(number))
    table.add_row("in doubt", str(shape["in_doubt"]))
    table.add_row("mails at the SMTP server", str(received))
    table.add_row("reported to Optimove", str(shape["reported"]["accepted"]))
    table.add_row("balanced", "yes" if shape["balanced"] else "NO")
    return table


def _done(shape: Mapping[str, Any]) -> int:
    return int(shape["accepted"] + shape["in_doubt"] + _total(shape["skipped"]) + _total(shape["refused"]))


def _total(reasons: Mapping[str, int]) -> int:
    return sum(reasons.values())
