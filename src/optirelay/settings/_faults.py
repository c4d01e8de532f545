"""What is wrong with a settings file, so that the operator can mend all of it at once."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from optirelay.errors import NeedsOperator

NOT_BUILT = "not built yet in this version"
SHOWN = 60  # characters of a key or value that a message repeats


@dataclass(frozen=True)
class Fault:
    """One thing that cannot work: the key as written in the file, what is wrong, what to do. Never a secret's value."""

    key: str
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}. {self.mend}"


class BadSettings(NeedsOperator):
    """The settings cannot work; `faults` are all of them, the text is one line each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


class BadValue(ValueError):
    """A value that cannot be read; whoever knows its key makes a Fault of it."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}. {mend}")
        self.problem = problem
        self.mend = mend


def quoted(text: str) -> str:
    """The text in quotes on one line, shortened."""
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return json.dumps(short, ensure_ascii=not short.isprintable())


def shown(value: object) -> str:
    """What stands in the file, in a few characters; not for secrets."""
    match value:
        case str():
            return quoted(value)
        case bool():
            return str(value).lower()
        case int() if abs(value) < 10**18:
            return str(value)
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return "this value"


def dotted(path: Iterable[str | int]) -> str:
    """A key as TOML writes it: tenants.acme.channels.newsletter.rate; a place in a list as [0]."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part)
        text += ("." if text else "") + (part if bare else quoted(part))
    return text


def mend_of_stranger(key: str, known: Iterable[str]) -> str:
    """What to do about a key that no version knows."""
    close = difflib.get_close_matches(key[:SHOWN], sorted(known), n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it"
