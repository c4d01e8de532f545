"""JSON that others send: an object, and how deep it may be nested."""

from typing import Any

import msgspec

DEEPEST = 32


class NoObject(ValueError):
    """A body is not what it has to be; the text says why, and nothing of what it holds."""


def read_object(body: bytes) -> dict[str, Any]:
    """What a body holds, which may begin with a byte order mark; of a repeated key the last counts.

    NoObject where it is empty, not UTF-8, no JSON object, or nested deeper than 32.
    """
    try:
        value = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoObject("the body is no JSON") from error
    if not isinstance(value, dict):
        raise NoObject("the body is no JSON object")
    if body.count(b"{") + body.count(b"[") > DEEPEST and is_too_deep(value):
        raise NoObject(f"the body is nested deeper than {DEEPEST}")
    return value


def is_too_deep(value: Any, levels: int = DEEPEST) -> bool:
    """Whether lists and objects lie more than so many levels inside each other."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value
    return any(is_too_deep(item, levels - 1) for item in inner)
