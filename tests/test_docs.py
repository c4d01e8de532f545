"""What the documents say is what the program has."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer.main
from typer.core import TyperGroup

from optirelay import __version__, optimove
from optirelay.cli.main import app
from optirelay.model import ProblemKind, Refusal, Skip
from optirelay.simulator import BadEntry, Simulator, calls, faults

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
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


def build(source: Path, to: Path) -> subprocess.CompletedProcess[str]:
    """As scripts/docs does it."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", str(source), str(to)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_documentation_builds_without_a_warning_and_the_links_into_it_lead_somewhere(tmp_path: Path) -> None:
    built = build(ROOT / "docs", tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    for document in ("README.md", "CONTRIBUTING.md"):  # the others are part of it
        for link in LINK.findall((ROOT / document).read_text()):
            path, _, anchor = link.partition("#")
            if "://" in link:
                continue
            assert (ROOT / path).exists(), f"{document}: {link}"
            page = tmp_path / Path(path).relative_to("docs").with_suffix(".html") if anchor else None
            assert not page or f'id="{anchor}"' in page.read_text(), f"{document}: {link}"


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text())
    (tmp_path / "other.md").write_text("---\norphan: true\n---\n# Other\n\n## Here\n")
    broken = ("missing.md", "other.md#missing", "#missing")
    links = " ".join(f"[text]({link})" for link in ("other.md", "other.md#here", "#index", *broken))
    (tmp_path / "index.md").write_text(f"# Index\n\n{links}\n")
    built = build(tmp_path, tmp_path / "built")
    assert (built.returncode, built.stderr.count("WARNING")) == (1, len(broken))


def test_every_name_of_the_client_is_once_in_its_reference() -> None:
    text = (REFERENCE / "client.md").read_text()
    assert sorted(re.findall(r"^\.\. auto(?!module)\w+:: (\w+)", text, re.MULTILINE)) == sorted(optimove.__all__)


def test_the_tree_of_errors_is_the_one_there_is() -> None:
    def tree(kind: type[Exception], depth: int = 0) -> Iterator[str]:
        yield "  " * depth + kind.__name__
        for inner in kind.__subclasses__():
            yield from tree(inner, depth + 1)

    text = (REFERENCE / "client.md").read_text()
    shown = text.split("```text\nOptimoveError\n")[1].split("ValueError\n")[0]
    assert sorted(shown.splitlines()) == sorted(line for line in tree(optimove.OptimoveError) if line.startswith(" "))


SIMULATOR = (REFERENCE / "simulator.md").read_text()
NEEDED: dict[str, dict[str, Any]] = {
    "tenants": {"id": 1, "key": "a", "channels": {"504": "Mail"}},
    "campaigns": {"channel": 504, "templates": [17]},
    "triggers": {"channel": 604, "templates": [17]},
    "faults": {"call": "saveEvent", "fault": "slow"},
}


@pytest.mark.parametrize("kind", NEEDED)
def test_each_key_of_a_scenario_has_its_row_and_each_row_its_key(kind: str) -> None:
    with pytest.raises(BadEntry) as complaint:
        Simulator(scenario={kind: [NEEDED[kind] | {"nonsense": 1}]})
    keys = str(complaint.value).partition("there are ")[2].split(", ")
    section = SIMULATOR.partition(f"\n### {kind}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    assert sorted(word for row in rows for word in re.findall(r"`(\w+)`", row)) == sorted(keys)


def test_each_fault_has_its_row_and_each_call_is_named() -> None:
    page = (ROOT / "docs" / "how-to" / "simulator.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \| .* \| .* \|$", page, re.MULTILINE)
    assert sorted(word for row in rows for word in re.findall(r"`(\w+)`", row)) == sorted(faults.FAULTS)
    named = re.findall(r"`(\w+)`", SIMULATOR.partition("| area | calls |")[2])
    areas = {call.area for call in calls.CALLS}
    assert sorted(set(named) - areas) == sorted(call.name for call in calls.CALLS)


async def test_each_url_of_the_simulator_has_its_row_and_each_row_its_url() -> None:
    gets, posts = SIMULATOR.partition("| GET |")[2].split("| POST |")
    async with Simulator() as optimove, httpx2.AsyncClient(base_url=optimove.url) as client:
        for method, section in (("GET", gets), ("POST", posts.partition("\n## ")[0])):
            error = (await client.request(method, "/_sim/nonsense")).json()["error"]
            there = {*error.partition("there are ")[2].split(", ")}
            shown = {url for url in re.findall(r"`(/_sim/[a-z_/]+)", section) if not url.startswith("/_sim/campaigns/")}
            assert shown == there
