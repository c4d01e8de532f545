"""What callers of Optimove wrote, read field by field; what is wrong with it becomes Optimove's own error."""

import re
from collections.abc import Mapping
from typing import Any

from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request


class Fields:
    """One JSON object of a body; names of fields are matched without regard to case.

    A public connector in production sends CustomerId where the documentation has CustomerID.
    """

    def __init__(self, body: Any) -> None:
        if not isinstance(body, Mapping):
            raise Refused("The request is invalid: a JSON object is expected.")
        self._values = {name.lower(): value for name, value in body.items()}

    def number(self, name: str) -> int:
        """A whole number from 0: https://developer.optimove.com/docs/general-information."""
        value = self._values.get(name.lower())
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Refused(f"{name} is missing or is no whole number.")
        return value

    def number_or_none(self, name: str) -> int | None:
        """A whole number from 0, or None when it is null or left out."""
        return None if self._values.get(name.lower()) is None else self.number(name)

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self._values.get(name.lower())
        if not isinstance(value, str) or not value:
            raise Refused(f"{name} is missing or is no text.")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A text, or None when it is null or left out."""
        return None if self._values.get(name.lower()) is None else self.text(name)

    def value(self, name: str) -> Any:
        """Whatever it is; None where it is left out."""
        return self._values.get(name.lower())

    def truth(self, name: str) -> bool:
        """True or false."""
        value = self._values.get(name.lower())
        if not isinstance(value, bool):
            raise Refused(f"{name} is missing or is no boolean.")
        return value

    def rows(self, name: str, most: int) -> list["Fields"]:
        """An array of objects, at most so many."""
        return [Fields(row) for row in read_array(self._values.get(name.lower()), most, f"entries of {name}")]

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self._values.get(name.lower())
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise Refused(f"{name} is missing or is no array of texts.")
        return value


def read_array(body: Any, most: int, what: str) -> list[Any]:
    """A body that is an array of at most so many."""
    if not isinstance(body, list):
        raise Refused("The request is invalid: a JSON array is expected.")
    if len(body) > most:
        raise Refused(f"A call takes at most {most} {what}.")
    return body


def read_flag(request: Request, name: str) -> bool:
    """A truth value from the query; false when it is left out."""
    text = (request.param(name) or "false").lower()
    if text not in ("true", "false"):
        raise Refused(f"{name} is no boolean.")
    return text == "true"


def read_text(request: Request, name: str) -> str:
    """A text from the query that is not empty."""
    text = request.param(name)
    if not text:
        raise Refused(f"{name} is missing.")
    return text


def read_number(request: Request, name: str, default: int | None = None) -> int:
    """A whole number from the query, needed when there is no default."""
    text = request.param(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused(f"{name} is missing or is no whole number.")
    return int(text)
