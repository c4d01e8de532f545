"""The page on the simulator: what it shows is run."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.pages import blocks, page

PAGE = page("simulator")
OPTIMOVE = "http://127.0.0.1:8500"  # as the page has it


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    """The command as the page shows it, on a free port; where it listens."""
    (tmp_path / "scenario.toml").write_text(blocks("toml", PAGE)[0])
    command = re.findall(r"^optirelay (simulate --scenario .*) --listen", PAGE, re.MULTILINE)[0].split()
    whole = [sys.executable, "-m", "optirelay", *command, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(whole, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        started = re.fullmatch(r"Optimove is simulated on (\S+)\n", process.stdout.readline())
        assert started
        yield started[1]
        process.terminate()
    assert process.returncode == 0


def test_the_scenario_and_the_requests_shown_work(running: str) -> None:
    scenario = tomllib.loads(blocks("toml", PAGE)[0])
    state = httpx2.get(f"{running}/_sim/state").json()
    assert [one["id"] for one in state["campaigns"]] == [one["id"] for one in scenario["campaigns"]]
    assert [one["campaign"] for one in state["triggers"]] == [one["campaign"] for one in scenario["triggers"]]
    assert (state["tenants"][0]["customers"], state["quirks"]["page_cap"]) == (250, 100)
    answers = [request(line, running) for line in commands(blocks("sh", PAGE)[0])]
    assert [answer.status_code for answer in answers] == [200] * 9
    assert [answer.text for answer in answers[1:5]] == [
        '{"id":90212}',
        '{"listeners":1}',
        '{"listeners":0}',
        '{"notifications":0}',
    ]
    assert [call["call"] for call in answers[7].json()] == ["RegisterEventListener"]
    assert answers[8].json() == json.loads(blocks("json", PAGE)[0])


def commands(shown: str) -> list[list[str]]:
    return [shlex.split(line) for line in shown.replace("\\\n", "").splitlines()]


def request(words: list[str], running: str) -> httpx2.Response:
    """What curl does with these words."""
    assert words.pop(0) == "curl"
    headers: dict[str, str] = {}
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "-X"):
            found[word] = words.pop(0)
        else:
            found["url"] = word.replace(OPTIMOVE, running)
    method = found.get("-X", "POST" if "-d" in found else "GET")
    return httpx2.request(method, found["url"], headers=headers, content=found.get("-d"))


def test_the_tests_shown_pass(tmp_path: Path) -> None:
    python = blocks("python", PAGE)
    (tmp_path / "test_shown.py").write_text("\n".join(python))
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(block.count('def test_') for block in python)} passed" in done.stdout
