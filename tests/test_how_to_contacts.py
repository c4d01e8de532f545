"""The page on contacts: what it shows is run."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from optirelay.settings import read
from tests.cli.test_deciding import Terminal
from tests.cli.test_suppressions import SETTINGS
from tests.pages import blocks, page

PAGE = page("contacts")


async def test_the_files_and_commands_shown_do_what_is_shown(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "optirelay.toml"
    config.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    monkeypatch.chdir(tmp_path)
    for name, language in (("people.csv", "text"), ("more.jsonl", "json")):
        (text,) = blocks(language, PAGE)
        Path(name).write_text(text)
    terminal = Terminal(str(config), capsys)
    (shown,) = blocks("console", PAGE)
    _, *steps = re.split(r"^\$ optirelay ", shown, flags=re.MULTILINE)
    for step in steps:
        command, _, answer = step.partition("\n")
        status, out, err = await terminal.type(*shlex.split(command))
        at = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T")
        assert (status, at.sub("AT", out).split(), err) == (0, at.sub("AT", answer).split(), "")
    assert Path("people.csv.rejected.csv").read_text().splitlines() == [
        "line,reason,customer_id,email,phone,push_token,TIER",
        "4,bad_address,C-004713,cleo at example,,,lead",
    ]


def test_the_settings_shown_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_GATEWAY_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
    (toml,) = blocks("toml", PAGE)
    document = tomllib.loads(toml)
    document["tenants"]["acme"] |= {
        "api_url": "https://api5.optimove.net",
        "api_key": "key",
        "listener_secret": "a-listener-secret-0",
    }
    channels = read(document, path=Path("x.toml")).tenants["acme"].channels
    found = {name: (channel.address_attribute, channel.match_attribute) for name, channel in channels.items()}
    assert found == {"newsletter": (None, None), "texts": (None, "EMAIL")}
