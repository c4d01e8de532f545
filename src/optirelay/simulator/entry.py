"""One entry of a scenario, its keys checked one by one; every complaint names the key and the mend."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from optirelay.simulator.campaigns import Moment
from optirelay.simulator.errors import BadEntry

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
FARTHEST = timedelta(days=3650)
_LEFT_OUT = object()


class Entry:
    """Values are taken out by name, and `done` complains about what is left."""

    def __init__(self, kind: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise BadEntry(f"{kind}: give an object with keys, not {values!r}")
        self._kind = kind
        self._left = dict(values)
        self._taken: list[str] = []

    def take(self, key: str, default: Any = None) -> Any:
        """Any value; the default when the key is left out."""
        self._taken.append(key)
        return self._left.pop(key, default)

    def number(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number, needed when there is no default."""
        value = self.take(key, default)
        if not is_number(value) or value < least:
            raise self.wrong(key, value, f"a whole number from {least}")
        return int(value)

    def numbers(self, key: str, default: list[int] | None = None) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self.take(key, default)
        if not isinstance(value, list) or not all(is_number(number) for number in value):
            raise self.wrong(key, value, "a list of whole numbers")
        return tuple(value)

    def quantity(self, key: str, default: float | None = None, *, least: float = 0, most: float) -> float:
        """A number with or without a fraction, needed when there is no default."""
        value = self.take(key, default)
        if not (is_number(value) or isinstance(value, float)) or not least <= value <= most:
            raise self.wrong(key, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def switch(self, key: str) -> bool:
        """A truth value; no when the key is left out."""
        value = self.take(key, default=False)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "a text")
        return value

    def text_or_none(self, key: str) -> str | None:
        """The same, or None when the key is left out."""
        return self.text(key) if key in self._left else self.take(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when the key is left out."""
        value = self.take(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.wrong(key, value, "a list of texts")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """An object with keys; empty when the key is left out."""
        value = self.take(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, value, 'an object with keys such as {"page_title": "Loans"}')
        return dict(value)

    def some(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of these keys that were given, unchecked."""
        values = {key: self.take(key, _LEFT_OUT) for key in keys}
        return {key: value for key, value in values.items() if value is not _LEFT_OUT}

    def listed(self, key: str, default: list[Any] | None = None) -> list[Any]:
        """A list of anything."""
        value = self.take(key, default)
        if not isinstance(value, list):
            raise self.wrong(key, value, "a list")
        return value

    def moment(self, key: str) -> Moment | None:
        """A moment, or None when the key is left out."""
        value = self.take(key)
        return None if value is None else self._moment(key, value)

    def duration(self, key: str, default: timedelta) -> timedelta:
        """A time span such as "+3h"; the default when the key is left out."""
        moment = self.moment(key)
        if moment is None:
            return default
        if not isinstance(moment, timedelta) or moment < timedelta(0):
            raise self.wrong(key, str(moment), 'a time span such as "+3h"')
        return moment

    def moments(self, key: str, default: list[str]) -> tuple[Moment, ...]:
        """A list of moments, at least one."""
        value = self.take(key, default)
        if not isinstance(value, list) or not value:
            raise self.wrong(key, value, 'a list of moments such as ["+0s", "+30s"]')
        return tuple(self._moment(key, moment) for moment in value)

    def done(self) -> None:
        """BadEntry when there is a key that nobody took."""
        if self._left:
            raise BadEntry(f"{self._kind}: {next(iter(self._left))} is no key here; there are {', '.join(self._taken)}")

    def wrong(self, key: str, value: Any, mend: str) -> BadEntry:
        """What to raise about one key."""
        found = "is missing" if value is None else f"is {value!r}"
        return BadEntry(f"{self._kind}: {key} {found}; give {mend}")

    def _moment(self, key: str, value: Any) -> Moment:
        try:
            return read_moment(value)
        except (ValueError, OverflowError) as error:
            raise self.wrong(key, value, '"+30s" (ms, s, m, h, d) or an ISO time') from error


def is_number(value: Any) -> bool:
    """A whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def read_moment(value: Any) -> Moment:
    """ "+30s" or "-1h" counted from something, or an ISO time, UTC where it names no zone. ValueError for others."""
    if isinstance(value, str):
        offset = re.fullmatch(r"([+-]\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
        if offset:
            moment = timedelta(seconds=float(offset[1]) * UNITS[offset[2]])
            if abs(moment) > FARTHEST:
                raise ValueError(f"too far away: {value!r}")
            return moment
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"no moment: {value!r}")  # noqa: TRY004 - one kind of error for the one caller
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
