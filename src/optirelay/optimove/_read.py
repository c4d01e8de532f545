"""Tolerant reading: keys in any case, ids as numbers or text, booleans as text, times with or without seconds."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MAX_ID = 2**63 - 1
BOM = b"\xef\xbb\xbf"
TIME = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)


DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Unreadable(ValueError):
    """An answer, a row or a field that is not what was promised.

    The text says why without quoting personal data; `quote` is what the other side said, when it was meant for us.
    """

    def __init__(self, why: str, *, quote: str = "") -> None:
        super().__init__(why)
        self.quote = quote


def read_json(body: bytes) -> Any:
    """Any JSON but a text: Optimove writes its errors as JSON texts, also in a 2xx. Unreadable for anything else."""
    try:
        value = msgspec.json.decode(body.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        page = body.lstrip()[:1] == b"<"  # some firewall's page; anything else could hold personal data
        raise Unreadable("is not JSON", quote=body[:2000].decode(errors="replace") if page else "") from error
    if isinstance(value, str):
        raise Unreadable("carries an error", quote=value)
    return value


def read_nothing(body: bytes) -> None:
    """Nothing is promised: empty, or an object that tells of no error, such as {"ResponseCode":200}."""
    if not body.removeprefix(BOM).strip():
        return
    value = read_json(body)
    if value is False:
        raise Unreadable("says false")
    if isinstance(value, dict):
        said = fold(value)
        if said.get("error") or said.get("errors") or not _is_success(said.get("responsecode", 200)):
            raise Unreadable("carries an error", quote=msgspec.json.encode(value).decode())


def read_saved(body: bytes) -> None:
    """What answers saveEvent: nothing, or objects that tell of no error, such as {"status":"success","message":"<id>"}.

    The answer of this call is not documented; this is that of a sibling, which answers an error with "status":"error".
    """
    if not body.removeprefix(BOM).strip():
        return
    value = read_json(body)
    for part in value if isinstance(value, list) else [value]:
        said = fold(part) if isinstance(part, dict) else {}
        failed = str(said.get("status") or "success").lower() in ("error", "fail", "failed", "failure")
        if part is False or failed or said.get("error") or said.get("errors"):
            raise Unreadable("carries an error", quote=msgspec.json.encode(part).decode())


def read_list(read: Callable[[Mapping[str, Any]], T]) -> Callable[[bytes], list[T]]:
    """A reader of a JSON array of objects, whose keys `read` gets in lower case. An empty answer has none of them.

    One row that cannot be read spoils the answer; the message says which.
    """

    def read_body(body: bytes) -> list[T]:
        rows = read_json(body) if body.strip() not in (b"", b"null") else []
        if not isinstance(rows, list):
            raise Unreadable("is not a list")
        return [*_read_rows(rows, read)]

    return read_body


def _read_rows(rows: list[object], read: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    for number, row in enumerate(rows, 1):
        try:
            yield read(fold(row))
        except Unreadable as error:
            raise Unreadable(f"row {number}: {error}") from error


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object, its keys in lower case. Unreadable for anything else."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise Unreadable("is not an object")
    return fold(value)


def fold(row: object) -> dict[str, Any]:
    """The object with its keys in lower case: Optimove writes CustomerID, CustomerId and customerID."""
    if not isinstance(row, dict):
        raise Unreadable("The row is not an object")
    return {key.lower(): value for key, value in row.items()}


def read_id(value: object, field: str) -> int:
    """An id: a whole number from 0 to MAX_ID, or the same as text. Unreadable, naming the field, for anything else."""
    if isinstance(value, str) and len(value) < 40:
        digits = value.strip()
        value = int(digits) if digits.isascii() and digits.isdecimal() else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ID:
        raise Unreadable(f"{field} is not a number we can use: {_shown(value)}")
    return value


def read_optional_id(value: object, field: str) -> int | None:
    """As `read_id`; None for a missing one, null or empty text."""
    return None if value is None or value == "" else read_id(value, field)


def read_text(value: object, field: str) -> str:
    """A text with something in it, and nothing that is no text (NUL, half a surrogate pair)."""
    if not isinstance(value, str):
        raise Unreadable(f"{field} is {'missing' if value is None else 'not a text'}")
    if not value.strip():
        raise Unreadable(f"{field} is empty")
    if not is_clean(value):
        raise Unreadable(f"{field} holds characters that are no text")
    return value


def read_note(value: object, field: str) -> str:
    """A text that may be missing, null or empty: "". A number is the text of it."""
    if value is None or value == "":
        return ""
    return str(value) if isinstance(value, int | float) else read_text(value, field) if str(value).strip() else ""


def read_bool(value: object, field: str) -> bool | None:
    """True or false as JSON, as text in any case, as 1 or 0; None for a missing one, null or empty text."""
    if value is None or value == "":
        return None
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise Unreadable(f"{field} is neither true nor false: {_shown(value)}")
    return word in ("true", "1")


def read_date(text: object, field: str) -> date:
    """ "2031-04-02"; of a time its date. Unreadable for anything else."""
    if isinstance(text, str) and DATE.fullmatch(text):
        with contextlib.suppress(ValueError):
            return date.fromisoformat(text)
    return read_time(text, field).date()


def is_clean(text: str) -> bool:
    """No NUL and no lone surrogate: what every store and every channel can carry."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


def read_time(text: object, field: str = "The time") -> datetime:
    """Optimove writes UTC without saying so: "2016-08-30 10:00:00", at times without seconds.

    "T" for the space, a fraction (cut at microseconds) and an offset are read, too. Unreadable, a ValueError, for
    anything else, a date alone among it.
    """
    if isinstance(text, str) and TIME.fullmatch(text):
        with contextlib.suppress(ValueError, OverflowError):  # the 31st of June; the year 1 in another zone
            time = datetime.fromisoformat(text)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    raise Unreadable(f"{field} is not a time we can read: {_shown(text)}")


def _is_success(code: object) -> bool:
    try:
        return 200 <= read_id(code, "ResponseCode") <= 299
    except Unreadable:
        return False


def _shown(value: object) -> str:
    """Short, and plain ASCII whatever it holds, so that every log and store takes it."""
    return "missing" if value is None else ascii(value)[:40]
