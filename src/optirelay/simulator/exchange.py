"""A request that was read and an answer to be written."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def param(self, name: str) -> str | None:
        """A query parameter, its name without regard to case."""
        return next((value for key, value in self.query.items() if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body as JSON; ValueError when it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    value: Any = None  # what the body says, when it is JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False  # after the first half of the body


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, to_json(value), JSON, value)


def to_json(value: Any) -> bytes:
    """A value as JSON, the same bytes for the same value."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, given to try what it does
        return json.dumps(value, separators=(",", ":")).encode()


def read_query(raw: bytes) -> dict[str, str]:
    """Names as they were sent; the last of a name counts."""
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))
