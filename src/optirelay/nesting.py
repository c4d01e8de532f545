"""How deep JSON that others send may be nested."""

from typing import Any

DEEPEST = 32


def is_too_deep(value: Any, levels: int = DEEPEST) -> bool:
    """Whether lists and objects lie more than so many levels inside each other."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value
    return any(is_too_deep(item, levels - 1) for item in inner)
