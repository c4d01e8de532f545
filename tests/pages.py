"""The how-to pages as their readers have them: what is shown is taken out, to be run."""

import re
from pathlib import Path
from typing import Any

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to"


def page(name: str) -> str:
    return (HOW_TO / f"{name}.md").read_text(encoding="utf-8")


def blocks(language: str, page: str) -> list[str]:
    """What is shown in this language; "" for what names none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block for named, block in found if named == language]


def run_python(page: str) -> dict[str, Any]:
    """All that the page's Python defines."""
    names: dict[str, Any] = {"__name__": "shown"}
    for block in blocks("python", page):
        exec(compile(block, "a page", "exec"), names)  # our own page
    return names
