"""Figures of a bench as lines of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Line:
    """One row of design.md's table of bars: what was measured, round by round."""

    what: str
    figures: Sequence[float]  # a round each
    unit: str
    bar: float | None = None
    at_least: bool = True  # the bar is the least; else the most
    beside: str = ""  # what it was measured against, and the like

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.figures)

    @property
    def meets_bar(self) -> bool:
        """Whether the median is on the right side of the bar, if there is one."""
        if self.bar is None:
            return True
        return self.median >= self.bar if self.at_least else self.median <= self.bar


def print_table(lines: Sequence[Line]) -> None:
    """As Markdown, so that it can go into docs/explanation/performance.md as it is."""
    print("\n| what | median | spread | bar | |\n|---|---|---|---|---|")
    for line in lines:
        bar = "" if line.bar is None else f"{'≥' if line.at_least else '≤'} {_shown(line.bar)}"
        if not line.meets_bar:
            bar += " **missed**"
        spread = f"{_shown(min(line.figures))} to {_shown(max(line.figures))}" if len(line.figures) > 1 else ""
        print(f"| {line.what} | {_shown(line.median)} {line.unit} | {spread} | {bar} | {line.beside} |")


def _shown(figure: float) -> str:
    if figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"
