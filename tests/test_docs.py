"""What the documents say is what the program has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from optirelay import __version__
from optirelay.cli.main import app
from optirelay.model import ProblemKind, Refusal, Skip

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
DOCUMENTS = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + [*ROOT.glob("docs/**/*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with the words that call it."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    context = typer.Context(command)
    for word in command.list_commands(context):  # some are loaded when they are asked for
        inner = command.get_command(context, word)
        assert inner is not None, word
        if not inner.hidden:
            yield from commands(inner, f"{name} {word}".strip())


COMMANDS: dict[str, Any] = dict(commands(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """The sections of the commands' reference by the command in their heading."""
    text = (REFERENCE / "commands.md").read_text()
    _, *parts = re.split(r"^## `([^`]+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_command_has_its_section_and_every_section_its_command(sections: dict[str, str]) -> None:
    assert {" ".join(word for word in heading.split() if word.islower()) for heading in sections} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_its_section(name: str, sections: dict[str, str]) -> None:
    (text,) = (
        heading + body for heading, body in sections.items() if heading == name or heading.startswith(f"{name} ")
    )
    options = {
        option
        for parameter in COMMANDS[name].params
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
        if option.startswith("--")
    }
    everywhere = {"--config", "--help", "--json", "--tenant"}  # of which the introduction speaks
    missing = [option for option in sorted(options - everywhere) if f"`{option}" not in text]
    assert not missing


@pytest.mark.parametrize("word", [*ProblemKind, *Skip, *Refusal])
def test_every_problem_and_reason_has_its_row(word: str) -> None:
    assert re.search(rf"^\| `{word}` \| [^|]+ \| [^|]+ \|$", (REFERENCE / "problems.md").read_text(), re.MULTILINE)


def test_the_change_log_starts_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(document.read_text()) if "://" not in link]
    missing = [link for link in links if link and not (document.parent / link).exists()]
    assert not missing
