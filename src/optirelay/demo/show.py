"""What the demo prints: progress while it runs, then a table, one mail, and where to look next."""

from collections.abc import Mapping
from email import message_from_bytes, policy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

BARS = ("gather", "send", "report")
QUIET_SECONDS = 2.0  # between two lines where there is no terminal


class Show:
    """Bars on a terminal, now and then a line elsewhere; on standard error where the output is JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = Console(stderr=as_json, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description:>7}"),
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

    def move(self, seconds: float, recipients: int, shape: Mapping[str, Any]) -> None:
        """Where the campaign stands."""
        self._start_bars()
        done = shape["accepted"] + shape["in_doubt"] + _total(shape["skipped"]) + _total(shape["refused"])
        told = shape["reported"]["accepted"]
        self._progress.update(self._bars["gather"], completed=shape["handed_over"], total=recipients)
        self._progress.update(self._bars["send"], completed=done, total=shape["handed_over"] or None)
        self._progress.update(self._bars["report"], completed=told, total=shape["accepted"] or None)
        if not self.console.is_terminal and seconds - self._told_at >= QUIET_SECONDS:
            self._told_at = seconds
            self.say(f"{seconds:5.1f} s: {shape['handed_over']} handed over, {done} done, {told} reported")

    def table(self, shape: Mapping[str, Any], received: int, seconds: float) -> None:
        """The balance."""
        self._end_bars()
        table = Table(title=f"Campaign {shape['campaign_id']}", box=None, show_header=False, title_justify="left")
        table.add_column(justify="left")
        table.add_column(justify="right")
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
        table.add_row("seconds", f"{seconds:.1f}")
        self.console.print()
        self.console.print(table)

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


def _total(reasons: Mapping[str, int]) -> int:
    return sum(reasons.values())
