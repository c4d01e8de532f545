"""The program as an operator runs it: what it prints where, and its exit status.

Each command is a process of its own. Most are forked from one that has imported the program already, which takes longer
than all that they do; those that start others are started as anybody would start them.
"""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
from tests.channels.smtp_servers import Act, ScriptedServer
from tests.conftest import LISTENER_SECRET, TEMPLATE, MakeSettings, at_database
from tests.house import free_port, open_house

from optirelay import __version__
from optirelay.cli.later import LATER
from optirelay.simulator import Simulator

NOWHERE = "http://127.0.0.1:1"
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/optirelay"
PROGRAM = (sys.executable, "-m", "optirelay")
SOON = 30.0  # seconds

KEYS = {
    "campaign": "tenant channel campaign_id kind state found_by handed_over planned sending accepted skipped refused "
    "in_doubt balanced events templates reported",
    "message": "sid tenant channel campaign_id kind customer_id template_id app_id trigger action_id send_at state "
    "reason attempts events",
    "attempt": "at outcome detail",
    "doubt": "sid tenant channel campaign_id kind customer_id to since contract",
    "report in doubt": "id tenant campaign_id kind call customers since",
    "listener": "tenant channel event_type channel_id url state",
    "template": "tenant channel template_id name key app state",
    "difference": "tenant channel channel_id template_id ours optimove app sync",
    "preview": "from subject text html",
    "fault": "key problem mend",
    "problem": "kind tenant channel campaign_id since problem mend",
}
"""What people script against, key by key, in order."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

READ_SETTINGS = (
    ("check",),
    ("serve",),
    ("work",),
    ("channels", "list"),
    ("listeners", "list"),
    ("listeners", "sync"),
    ("templates", "push", "."),
    ("templates", "list"),
    ("templates", "diff"),
    ("templates", "sync"),
    ("templates", "preview", "17"),
    ("campaigns", "list"),
    ("campaigns", "show", "90211"),
    ("campaigns", "export", "90211"),
    ("messages", "show", "--campaign", "90211", "--customer", "C-1"),
    ("doubts", "list"),
    ("doubts", "list", "--reports"),
    ("report", "now"),
    ("problems", "list"),
    ("suppressions", "add", "ann@example.com"),
    ("suppressions", "list"),
    ("suppressions", "remove", "ann@example.com"),
    ("optins", "show", "C-1"),
)
"""Every command that reads the settings."""
NEED_DATABASE = READ_SETTINGS[3:]
ASK_OPTIMOVE = (("listeners", "list"), ("listeners", "sync"), ("templates", "list"), ("templates", "diff"))


# --- a terminal -------------------------------------------------------------------------------------------------------

FORKS = """\
import gc, json, os, sys
from importlib import import_module
from optirelay.cli import main as program
for module in ("cli.setup", *(f"cli.{group}" for group in program.GROUPS), "logs"):
    import_module(f"optirelay.{module}")
gc.freeze()  # what is imported is not looked through again when a command ends
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate((request["out"], request["err"]), 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        sys.argv[:] = ["optirelay", *request["arguments"]]
        program.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


class Terminal:
    """Runs commands in a folder, one after the other."""

    def __init__(self, forks: "subprocess.Popen[str]", folder: Path) -> None:
        self._forks = forks
        self.folder = folder
        self.config = folder / "optirelay.toml"

    def run(self, *arguments: str, environment: Mapping[str, str] = {}) -> Ran:
        """`optirelay ARGUMENTS`, to its end."""
        out, err = self.folder / ".stdout", self.folder / ".stderr"
        request = {"arguments": arguments, "environment": dict(environment), "folder": str(self.folder)}
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
        self._forks.stdin.flush()
        ran = Ran(int(self._forks.stdout.readline()), out.read_text(), err.read_text())
        assert "Traceback" not in ran.out + ran.err
        return ran

    def json(self, *arguments: str) -> Any:
        """What a command that works prints with --json; nothing else is printed."""
        ran = self.run(*arguments, "--json")
        assert (ran.status, ran.err) == (0, "")
        return ran.document

    def write(self, settings: str) -> None:
        self.config.write_text(settings)


@pytest.fixture(scope="module")
def forks() -> "Iterator[subprocess.Popen[str]]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPTIRELAY_", "ACME_"))}
    with subprocess.Popen(
        [sys.executable, "-c", FORKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as running:
        yield running
        os.killpg(running.pid, signal.SIGKILL)  # also a command that never ended


@pytest.fixture
def terminal(forks: "subprocess.Popen[str]", tmp_path: Path) -> Terminal:
    return Terminal(forks, tmp_path)


def settings(
    *,
    database: str = NO_DATABASE,
    optimove: str = NOWHERE,
    port: int = 8400,
    public_url: str = "https://relay.example.com",
    workers: int = 1,
    key: str = "demo-key",
    provider: str = "null",
    more: str = "",
) -> str:
    """A settings file for tenant `acme` with one channel."""
    return f"""\
[service]
database = "{database}"
listen = "127.0.0.1:{port}"
public_url = "{public_url}"
workers = {workers}
takeover_after = "2s"

[tenants.acme]
api_url = "{optimove}"
api_key = "{key}"
listener_secret = "{LISTENER_SECRET}"
timezone = "Europe/Paris"

[tenants.acme.channels.newsletter]
scheduled_id = 504
provider = "{provider}"
personalization = ["FIRST_NAME"]
rate = "5000/min"
{more}
"""


ANOTHER_TENANT = f"""
[tenants.zenith]
api_url = "{NOWHERE}"
api_key = "another-key"
listener_secret = "{LISTENER_SECRET}"
"""

BROKEN = """\
[service]
workers = 100
colour = "red"
keep_messages = "for ever"
[tenants.acme]
api_url = "https://api5.optimove.net"
api_key = { env = "ACME_API_KEY" }
listener_secret = "too short"
[tenants.acme.channels.newsletter]
scheduled_id = 504
rate = "fast"
"""
FAULTY_KEYS = [
    "service.colour",
    "service.keep_messages",
    "service.workers",
    "tenants.acme.api_key",
    "tenants.acme.channels.newsletter.rate",
    "tenants.acme.listener_secret",
]


def shape_of(entry: Mapping[str, Any]) -> str | None:
    """Which of the promised shapes it has, all keys and no other."""
    return next((name for name, keys in KEYS.items() if keys.split() == list(entry)), None)


# --- a first settings file --------------------------------------------------------------------------------------------


def test_init_writes_a_file_that_only_this_account_can_read(terminal: Terminal) -> None:
    ran = terminal.run("init")
    assert (ran.status, ran.err) == (0, "")
    assert "optirelay.toml is written" in ran.out
    assert stat.S_IMODE(terminal.config.stat().st_mode) == 0o600
    assert terminal.run("check", environment={"ACME_API_KEY": "key"}).status == 0


def test_init_leaves_a_file_that_is_there_alone(terminal: Terminal) -> None:
    terminal.write("mine")
    ran = terminal.run("init")
    assert (ran.status, ran.out) == (1, "")
    assert "is there already" in ran.err
    assert terminal.config.read_text() == "mine"


def test_init_replaces_a_file_where_it_is_told_to_and_locks_it_up(terminal: Terminal) -> None:
    terminal.write("mine")
    terminal.config.chmod(0o644)
    assert terminal.run("init", "--force", "--tenant", "zenith").status == 0
    assert "[tenants.zenith]" in terminal.config.read_text()
    assert stat.S_IMODE(terminal.config.stat().st_mode) == 0o600


def test_init_says_where_it_cannot_write(terminal: Terminal) -> None:
    ran = terminal.run("init", "no/such/folder/optirelay.toml")
    assert ran.status == 1
    assert "cannot be written: No such file or directory" in ran.err


@pytest.mark.parametrize("name", ["Acme Ltd", "a.b", 'a"b', ""])
def test_init_refuses_a_name_that_no_tenant_can_have(name: str, terminal: Terminal) -> None:
    assert terminal.run("init", "--tenant", name).status == 2
    assert not terminal.config.exists()


# --- settings ---------------------------------------------------------------------------------------------------------


def test_check_tells_every_fault_at_once(terminal: Terminal) -> None:
    terminal.write(BROKEN)
    ran = terminal.run("check")
    assert (ran.status, ran.out) == (1, "")
    assert [line.split(":")[0] for line in ran.err.splitlines()] == FAULTY_KEYS
    assert "service.colour: unknown setting" in ran.err
    assert 'service.keep_messages: "for ever" is no duration' in ran.err
    assert "ACME_API_KEY" in ran.err
    assert "too short" not in ran.err.replace("is too short", "")  # a secret's value is never told


def test_check_tells_every_fault_as_json(terminal: Terminal) -> None:
    terminal.write(BROKEN)
    ran = terminal.run("check", "--json")
    assert (ran.status, ran.err) == (1, "")
    assert [fault["key"] for fault in ran.document] == FAULTY_KEYS
    assert all(shape_of(fault) == "fault" and all(fault.values()) for fault in ran.document)


def test_check_of_good_settings_says_so(terminal: Terminal) -> None:
    terminal.write(settings())
    assert terminal.run("check").out == "Nothing is wrong.\n"
    assert terminal.json("check") == []


def test_every_command_tells_bad_settings_the_same_way(terminal: Terminal) -> None:
    terminal.write(BROKEN)
    told = {" ".join(command): terminal.run(*command) for command in READ_SETTINGS}
    assert told == dict.fromkeys(told, Ran(1, "", told["check"].err))


def test_a_settings_file_that_is_missing_leads_to_init(terminal: Terminal) -> None:
    told = {" ".join(command): terminal.run(*command) for command in READ_SETTINGS}
    sentence = "optirelay.toml: there is no such file. `optirelay init` writes one\n"
    assert told == dict.fromkeys(told, Ran(1, "", sentence))


def test_the_settings_file_is_named_before_or_after_the_command_or_by_the_environment(terminal: Terminal) -> None:
    (terminal.folder / "other.toml").write_text(settings())
    assert terminal.run("--config", "other.toml", "check").status == 0
    assert terminal.run("check", "--config", "other.toml").status == 0
    assert terminal.run("--config", "missing.toml", "check", "--config", "other.toml").status == 0
    assert terminal.run("check", environment={"OPTIRELAY_CONFIG": "other.toml"}).status == 0
    ran = terminal.run("check", "--config", "missing.toml", environment={"OPTIRELAY_CONFIG": "other.toml"})
    assert (ran.status, ran.err.split(":")[0]) == (1, "missing.toml")
    ran = terminal.run("check", environment={"OPTIRELAY_CONFIG": "missing.toml"})
    assert (ran.status, "named by OPTIRELAY_CONFIG" in ran.err) == (1, True)


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("check", "--colour"),
        ("check", "too", "much"),
        ("campaigns", "show"),
        ("messages", "show", "--campaign", "90211"),
        ("templates", "push"),
        ("demo", "--recipients", "0"),
        ("demo", "--recipients", "many"),
        ("report",),
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_2_and_told_on_standard_error(arguments: tuple[str, ...], terminal: Terminal) -> None:
    ran = terminal.run(*arguments)
    assert ran.status == 2
    assert ran.err or "Usage" in ran.out


@pytest.mark.parametrize("name", [f"{noun} {verb}".strip() for noun, verbs in LATER.items() for verb in verbs])
def test_a_name_of_a_later_version_says_that_it_is_not_built_yet(name: str, terminal: Terminal) -> None:
    ran = terminal.run(*name.split(), "C-1", "--reason", "none", "--all")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"`optirelay {name}` is not built yet in this version\n"


def test_a_tenant_that_is_not_in_the_settings_is_told_with_those_that_are(terminal: Terminal, database: str) -> None:
    terminal.write(settings(database=database))
    ran = terminal.run("campaigns", "list", "--tenant", "nobody")
    assert ran.status == 1
    assert "nobody" in ran.err
    assert "acme" in ran.err


def test_the_program_is_started_as_a_module_and_by_its_name() -> None:
    for program in (PROGRAM, (str(Path(sys.executable).parent / "optirelay"),)):
        done = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_nobody_reading_on_is_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m optirelay providers --json | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


# --- what is set up ---------------------------------------------------------------------------------------------------


def test_providers_are_listed_with_what_a_repeat_does_there(terminal: Terminal) -> None:
    rows = {row["provider"]: row for row in terminal.json("providers")}
    assert {"console", "null", "smtp", "webhook"} <= rows.keys()
    assert rows["webhook"] == {"provider": "webhook", "contract": "keyed or hold", "reported": True}
    assert rows["smtp"] == {"provider": "smtp", "contract": "hold", "reported": True}
    assert rows["console"]["reported"] is False
    assert "smtp" in terminal.run("providers").out


def test_channels_are_listed_as_the_settings_have_them(terminal: Terminal, database: str) -> None:
    terminal.write(settings(database=database))
    (row,) = terminal.json("channels", "list")
    assert row == {
        "tenant": "acme",
        "channel": "newsletter",
        "kind": "email",
        "provider": "null",
        "scheduled_id": 504,
        "triggered_id": None,
        "rate": "5000/min",
        "state": "ok",
        "waits_until": None,
    }
    assert "newsletter" in terminal.run("channels", "list").out


# --- somebody does not answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", NEED_DATABASE, ids=" ".join)
def test_a_database_that_does_not_answer_is_a_sentence(command: tuple[str, ...], terminal: Terminal) -> None:
    terminal.write(settings())
    write_templates(terminal.folder, welcome=template())
    ran = terminal.run(*command)
    assert (ran.status, ran.out) == (1, "")
    assert "the database does not answer" in ran.err
    assert "check [service] database" in ran.err


@pytest.mark.parametrize("command", ["serve", "work"])
def test_no_service_starts_without_its_database(command: str, terminal: Terminal) -> None:
    terminal.write(settings(port=free_port()))
    ran = terminal.run(command)
    assert ran.status == 1
    assert "the database does not answer" in ran.err


def test_check_online_tells_a_database_that_does_not_answer(terminal: Terminal) -> None:
    terminal.write(settings())
    ran = terminal.run("check", "--online", "--json")
    assert ran.status == 1
    assert [fault["key"] for fault in ran.document] == ["service.database"]


@pytest.mark.parametrize("command", ASK_OPTIMOVE, ids=" ".join)
def test_an_optimove_that_does_not_answer_is_a_sentence(
    command: tuple[str, ...], terminal: Terminal, database: str
) -> None:
    terminal.write(settings(database=database))
    ran = terminal.run(*command)
    assert (ran.status, ran.out) == (1, "")
    assert "acme" in ran.err
    assert terminal.run("problems", "list").out.count("optimove_silent") == 1


def test_check_online_tells_what_is_wrong_at_optimove(terminal: Terminal, database: str) -> None:
    terminal.write(settings(database=database))
    ran = terminal.run("check", "--online", "--json")
    assert ran.status == 1
    assert [fault["key"] for fault in ran.document] == ["service.public_url", "tenants.acme.api_url"]
    with Simulator(scenario=scenario()) as optimove:
        terminal.write(settings(database=database, optimove=optimove.url, key="wrong"))
        ran = terminal.run("check", "--online", "--json")
        assert [fault["key"] for fault in ran.document] == ["service.public_url", "tenants.acme.api_key"]
        terminal.write(settings(database=database, optimove=optimove.url))
        ran = terminal.run("check", "--online", "--json")
        assert {fault["key"] for fault in ran.document} == {"service.public_url"}
        assert terminal.run("listeners", "sync").status == 0
        ran = terminal.run("check", "--online", "--json")  # nothing runs at public_url
        assert [fault["problem"].partition(":")[0] for fault in ran.document] == ["Nobody answers at public_url"]


# --- listeners and templates ------------------------------------------------------------------------------------------


def scenario(**channels: str) -> dict[str, Any]:
    """One tenant without customers."""
    return {
        "tenants": [{"id": 7001, "key": "demo-key", "channels": {"504": "Mail", **channels}, "customers": 0}],
        "quirks": {"calls": "1000/10s"},
    }


@contextmanager
def optimove_for(terminal: Terminal, database: str, **how: Any) -> "Iterator[httpx2.Client]":
    """A simulator that the terminal's settings lead to, and a client that speaks to it."""
    with Simulator(scenario=scenario()) as optimove:
        terminal.write(settings(database=database, optimove=optimove.url, **how))
        with httpx2.Client(base_url=optimove.url, headers={"x-api-key": "demo-key"}, trust_env=False) as client:
            yield client


def states(rows: list[dict[str, Any]], key: str) -> dict[Any, str]:
    return {row[key]: row["state"] for row in rows}


def test_listeners_are_registered_once_and_their_secret_is_never_shown(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database) as optimove:
        rows = terminal.json("listeners", "list")
        assert [shape_of(row) for row in rows] == ["listener"] * 2
        assert states(rows, "event_type") == {13: "missing", 4: "missing"}
        assert states(terminal.json("listeners", "sync"), "event_type") == {13: "ok", 4: "ok"}
        assert states(terminal.json("listeners", "sync"), "event_type") == {13: "ok", 4: "ok"}
        assert len(optimove.get("/_sim/listeners").json()) == 2
        shown = terminal.run("listeners", "list")
        for text in (shown.out + shown.err, json.dumps(terminal.json("listeners", "list"))):
            assert "/optimove/acme/" in text
            assert LISTENER_SECRET not in text


def test_a_listener_that_leads_elsewhere_is_moved_back_and_a_foreign_one_left_alone(
    terminal: Terminal, database: str
) -> None:
    with optimove_for(terminal, database) as optimove:
        theirs = "https://somebody.example/else"
        for body in (
            {"EventTypeID": 13, "ChannelID": 504, "ListenerURL": "https://old.example/optimove/acme/old-secret"},
            {"EventTypeID": 4, "ListenerURL": theirs},
        ):
            assert optimove.post("/current/general/RegisterEventListener", json=body).status_code == 200
        rows = terminal.json("listeners", "list")
        assert [(row["event_type"], row["state"]) for row in rows] == [(13, "moved"), (4, "missing"), (4, "foreign")]
        assert "old-secret" not in json.dumps(rows)
        rows = terminal.json("listeners", "sync")
        assert (rows[0]["state"], rows[0]["url"]) == ("ok", "https://relay.example.com/optimove/acme/…")


def test_listeners_sync_with_a_key_that_is_refused_is_exit_1(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database, key="wrong"):
        ran = terminal.run("listeners", "sync")
        assert (ran.status, ran.out) == (1, "")
        assert "401" in ran.err


def template(number: int = 17, *, channel: str = "newsletter", body: str = "<p>Hello {{ FIRST_NAME }}</p>") -> str:
    front = f"id: {number}\nname: Template {number}\nchannel: {channel}\nsubject: Hello {{{{ FIRST_NAME }}}}"
    return f"---\n{front}\n---\n{body}\n"


def write_templates(folder: Path, **files: str) -> None:
    for name, content in files.items():
        (folder / f"{name}.liquid").write_text(content)


def test_templates_are_stored_and_offered_to_marketers(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database):
        write_templates(terminal.folder, welcome=template(17), weekend=template(18))
        ran = terminal.run("templates", "push", ".")
        assert (ran.status, ran.err) == (0, "")
        assert "2 templates stored, 0 unchanged" in ran.out
        assert "0 templates stored, 2 unchanged" in terminal.run("templates", "push", ".").out
        rows = terminal.json("templates", "list")
        assert [shape_of(row) for row in rows] == ["template"] * 2
        assert rows[0] == {
            "tenant": "acme",
            "channel": "newsletter",
            "template_id": 17,
            "name": "Template 17",
            "key": "welcome",
            "app": None,
            "state": "ok",
        }
        assert "weekend" in terminal.run("templates", "list").out


def test_templates_are_listed_as_they_stand_at_optimove(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database) as optimove:
        write_templates(terminal.folder, welcome=template(17), weekend=template(18))
        assert terminal.run("templates", "push", ".").status == 0
        theirs = [{"TemplateID": number, "TemplateName": "Theirs"} for number in (18, 99)]
        path = "/current/integrations/AddChannelTemplates"
        assert optimove.post(path, params={"ChannelID": 504}, json=theirs).status_code == 200
        rows = terminal.json("templates", "list")
        assert states(rows, "template_id") == {17: "ok", 18: "renamed", 99: "foreign"}
        assert next(row["key"] for row in rows if row["template_id"] == 99) is None


def test_templates_are_compared_pruned_and_brought_in_step(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database) as optimove:
        write_templates(terminal.folder, welcome=template(17), weekend=template(18))
        assert terminal.run("templates", "push", ".").status == 0
        assert terminal.run("templates", "diff").out == "Nothing differs.\n"
        theirs = [{"TemplateID": number, "TemplateName": "Theirs"} for number in (18, 99)]
        optimove.post("/current/integrations/AddChannelTemplates", params={"ChannelID": 504}, json=theirs)
        rows = terminal.json("templates", "diff")
        assert [shape_of(row) for row in rows] == ["difference"] * 2
        assert [(row["ours"], row["optimove"], row["sync"]) for row in rows] == [
            ("Template 18", "Theirs", "rename"),
            (None, "Theirs", "leave alone"),
        ]
        shown = terminal.run("templates", "diff").out
        assert ("Template 18" in shown, "leave alone" in shown) == (True, True)
        assert terminal.run("templates", "sync").status == 0
        assert states(terminal.json("templates", "list"), "template_id") == {17: "ok", 18: "ok", 99: "foreign"}
        ran = terminal.run("templates", "sync", "--prune")
        assert (ran.status, ran.out, ran.err) == (0, "Optimove's list holds them all.\n", "")
        (terminal.folder / "weekend.liquid").unlink()
        assert "0 templates stored, 1 unchanged, 1 dropped." in terminal.run("templates", "push", ".", "--prune").out
        assert states(terminal.json("templates", "list"), "template_id") == {17: "ok"}


def test_a_template_is_previewed_from_its_file_or_from_the_store(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database):
        write_templates(terminal.folder, welcome=template(17, body="<p>Hello {{ FIRST_NAME }} &amp; all</p>"))
        ran = terminal.run("templates", "preview", "welcome.liquid", "--value", "FIRST_NAME=Ana")
        assert ran.status == 0
        assert ran.out.startswith("From: ")
        assert ran.out.endswith("\n\nHello Ana & all\n")
        assert "there is no template 17" in terminal.run("templates", "preview", "17").err
        assert terminal.run("templates", "push", ".").status == 0
        shown = terminal.json("templates", "preview", "welcome")
        assert shape_of(shown) == "preview"
        assert "<p>Hello FIRST_NAME &amp; all</p>" in terminal.run("templates", "preview", "17", "--html").out
        for wrong in (("--customer", "C-1"), ("--value", "FIRST_NAME")):
            assert terminal.run("templates", "preview", "17", *wrong).status == 2
        assert "name a *.liquid file" in terminal.run("templates", "preview", "missing.liquid").err


def test_a_name_that_the_channel_does_not_have_is_a_warning(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database):
        write_templates(terminal.folder, welcome=template(body="<p>{{ FRIST_NAME }}</p>"))
        ran = terminal.run("templates", "push", ".")
        assert ran.status == 0
        assert ran.err.startswith("warning: welcome.liquid: FRIST_NAME")


BAD_TEMPLATES = {
    "elsewhere": template(21, channel="newslettr"),
    "unclosed": template(25, body="{% if FIRST_NAME %}never ended"),
    "lacking": "---\nid: 23\n---\n<p>Hello</p>\n",
    "nothing": "no front matter",
    "strange": template(24, body="{{ FIRST_NAME | shout }}"),
}


def test_every_fault_of_every_template_is_told_and_nothing_is_stored(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database):
        write_templates(terminal.folder, good=template(17), **BAD_TEMPLATES)
        ran = terminal.run("templates", "push", ".")
        assert (ran.status, ran.out) == (1, "")
        assert {line.split(".liquid")[0] for line in ran.err.splitlines()} == BAD_TEMPLATES.keys()
        assert 'the tenant has no channel "newslettr"' in ran.err
        assert "newsletter" in ran.err
        assert terminal.json("templates", "list") == []


def test_a_folder_without_templates_is_a_sentence(terminal: Terminal) -> None:
    terminal.write(settings())
    assert "has no *.liquid file" in terminal.run("templates", "push", ".").err
    ran = terminal.run("templates", "push", "missing")
    assert (ran.status, "missing is no folder" in ran.err) == (1, True)


def test_templates_push_with_a_key_that_is_refused_is_exit_1(terminal: Terminal, database: str) -> None:
    with optimove_for(terminal, database, key="wrong"):
        write_templates(terminal.folder, welcome=template())
        ran = terminal.run("templates", "push", ".")
        assert ran.status == 1
        assert "1 templates stored" in ran.out
        assert "401" in ran.err
        assert "key_refused" in terminal.run("problems", "list").out


def test_templates_push_asks_for_the_tenant_where_there_are_several(terminal: Terminal, database: str) -> None:
    terminal.write(settings(database=database) + ANOTHER_TENANT)
    ran = terminal.run("templates", "push", ".")
    assert ran.status == 2
    assert "--tenant acme or --tenant zenith" in ran.err


# --- after campaigns --------------------------------------------------------------------------------------------------

LETTERS = """
[tenants.acme.channels.letters]
scheduled_id = 505
provider = "smtp"
from = "Acme <news@acme.example>"
[tenants.acme.channels.letters.smtp]
host = "127.0.0.1"
port = {port}
security = "none"
"""
PEOPLE = [
    {"customer_id": "C-1", "EMAIL": "ann@example.com", "FIRST_NAME": "Ann"},
    {"customer_id": "C-2", "EMAIL": "bob@example.com", "FIRST_NAME": "Bob"},
    {"customer_id": "C-3", "EMAIL": "no address", "FIRST_NAME": "Cy"},
    {"customer_id": "C-4", "FIRST_NAME": "Di"},
]
SENT, IN_DOUBT, HELD, CANCELLED = "90211", "90212", "90213", "90214"


@contextmanager
def smtp_that_never_answers() -> Iterator[int]:
    """A mail server that takes a mail and closes the connection; its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = ScriptedServer(always={"DOT": Act.CUT}).running()
    try:
        server = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(SOON)
        yield server.port
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(SOON)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def program(*arguments: str, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that runs until it is told to stop."""
    with (folder / f"{arguments[0]}-{time.monotonic_ns()}.log").open("wb") as log:
        running = subprocess.Popen([*PROGRAM, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(40)
        finally:
            running.kill()


def until(happened: Callable[[], Any], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def announce(optimove: "httpx2.Client", campaign: str, *, channel: int = 504, template_id: int = 17) -> None:
    """Have the simulator announce a campaign to everybody it has."""
    entry = {"tenant": 7001, "id": int(campaign), "channel": channel, "templates": [template_id], "events": [13]}
    for path, body in (("/_sim/campaigns", {**entry, "send_at": ["+0s"]}), (f"/_sim/campaigns/{campaign}/fire", {})):
        answer = optimove.post(path, json=body)
        assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Delivered:
    """A service that has delivered campaigns, and still runs."""

    terminal: Terminal
    database: str

    def state(self, campaign: str) -> Any:
        ran = self.terminal.run("campaigns", "show", campaign, "--json")
        return ran.document["state"] if ran.status == 0 else None


@pytest.fixture(scope="module")
def delivered(
    forks: "subprocess.Popen[str]", server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Delivered]:
    """Four campaigns: one sent, one in doubt, one waiting for its template, one cancelled before it was heard of."""
    name, port = f"t_cli_{os.getpid()}", free_port()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
    house = Delivered(Terminal(forks, tmp_path_factory.mktemp("delivered")), at_database(server, name))
    with (
        smtp_that_never_answers() as smtp,
        Simulator(scenario=scenario(**{"505": "Letters"})) as simulator,
        httpx2.Client(base_url=simulator.url, trust_env=False) as optimove,
    ):
        web = f"http://127.0.0.1:{port}"
        house.terminal.write(
            settings(
                database=house.database,
                optimove=simulator.url,
                port=port,
                public_url=web,
                more=LETTERS.format(port=smtp),
            )
        )
        write_templates(house.terminal.folder, welcome=template(channel="[newsletter, letters]"))
        assert house.terminal.run("templates", "push", ".").status == 0
        assert optimove.post("/_sim/customers", json={"tenant": 7001, "customers": PEOPLE}).status_code == 200
        with program("serve", folder=house.terminal.folder):
            until(lambda: is_ready(port))
            until(lambda: len(optimove.get("/_sim/listeners").json()) == 3)
            announce(optimove, SENT)
            announce(optimove, IN_DOUBT, channel=505)
            announce(optimove, HELD, template_id=99)
            cancel = {"EventTypeID": 4, "CampaignID": int(CANCELLED), "TimeStamp": "2031-04-02 07:02:13"}
            assert httpx2.post(f"{web}/optimove/acme/{LISTENER_SECRET}", json=cancel).status_code == 200
            until(lambda: house.state(SENT) == house.state(IN_DOUBT) == "complete" and house.state(HELD) == "held")
            until(lambda: house.terminal.json("campaigns", "show", SENT)["reported"]["accepted"] == 2)
            yield house


def test_campaigns_are_listed_in_numbers(delivered: Delivered) -> None:
    rows = delivered.terminal.json("campaigns", "list")
    assert [shape_of(row) for row in rows] == ["campaign"] * 5
    assert {(row["campaign_id"], row["channel"], row["state"]) for row in rows} == {
        (SENT, "newsletter", "complete"),
        (IN_DOUBT, "letters", "complete"),
        (HELD, "newsletter", "held"),
        (CANCELLED, "newsletter", "cancelled"),
        (CANCELLED, "letters", "cancelled"),
    }
    table = delivered.terminal.run("campaigns", "list").out
    assert all(campaign in table for campaign in (SENT, IN_DOUBT, HELD, CANCELLED))


def test_a_campaign_is_shown_with_what_became_of_everybody(delivered: Delivered) -> None:
    shape = delivered.terminal.json("campaigns", "show", SENT)
    times = [shape["reported"].pop(which) for which in ("last_at", "next_at")]
    assert all(TIME.fullmatch(moment) for moment in times)
    assert shape == {
        "tenant": "acme",
        "channel": "newsletter",
        "campaign_id": SENT,
        "kind": "scheduled",
        "state": "complete",
        "found_by": "notification",
        "handed_over": 4,
        "planned": 0,
        "sending": 0,
        "accepted": 2,
        "skipped": {"bad_address": 1, "no_address": 1},
        "refused": {},
        "in_doubt": 0,
        "balanced": True,
        "events": dict.fromkeys(("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"), 0),
        "templates": {"17": {"accepted": 2}},
        "reported": {"accepted": 2, "in_doubt_batches": 0, "too_late": 0},
    }
    assert shape_of(shape) == "campaign"


def test_a_campaign_is_shown_to_people_with_times_in_their_zone(delivered: Delivered) -> None:
    ran = delivered.terminal.run("campaigns", "show", SENT)
    assert (ran.status, ran.err) == (0, "")
    assert "bad_address 1, no_address 1" in ran.out
    assert re.search(r"last_at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T", ran.out)


def test_an_audit_of_every_campaign_finds_nothing(delivered: Delivered) -> None:
    for campaign in (SENT, IN_DOUBT, HELD):
        ran = delivered.terminal.run("campaigns", "show", campaign, "--audit")
        assert (ran.status, ran.err) == (0, "")
        assert "The rows agree" in ran.out
        assert delivered.terminal.json("campaigns", "show", campaign, "--audit")["campaign_id"] == campaign


def test_an_audit_tells_each_number_that_differs(delivered: Delivered) -> None:
    batch = "update batch set accepted = accepted {} 1 where accepted > 0"
    with psycopg.connect(delivered.database, autocommit=True) as connection:
        connection.execute(batch.format("+"))
        try:
            ran = delivered.terminal.run("campaigns", "show", SENT, "--audit", "--json")
        finally:
            connection.execute(batch.format("-"))
    assert ran.status == 1
    assert ran.document["accepted"] == 3
    assert "accepted: 2 by rows, 3 by counters and pages" in ran.err


def test_a_campaign_that_is_not_there_is_exit_1(delivered: Delivered) -> None:
    for command in (("campaigns", "show", "4711"), ("messages", "show", "--campaign", "4711", "--customer", "C-1")):
        ran = delivered.terminal.run(*command)
        assert (ran.status, ran.out) == (1, "")
        assert "there is no campaign 4711" in ran.err


def test_a_campaign_on_several_channels_is_exit_2_until_one_is_named(delivered: Delivered) -> None:
    ran = delivered.terminal.run("campaigns", "show", CANCELLED)
    assert (ran.status, ran.out) == (2, "")
    assert "--channel newsletter or --channel letters" in ran.err
    shape = delivered.terminal.json("campaigns", "show", CANCELLED, "--channel", "letters")
    assert (shape["channel"], shape["state"], shape["handed_over"]) == ("letters", "cancelled", 0)


def test_messages_are_shown_with_each_try(delivered: Delivered) -> None:
    (row,) = delivered.terminal.json("messages", "show", "--campaign", SENT, "--customer", "C-1")
    assert shape_of(row) == "message"
    assert (row["state"], row["reason"], row["template_id"], row["events"]) == ("accepted", None, 17, [])
    assert TIME.fullmatch(row["send_at"])
    (attempt,) = row["attempts"]
    assert shape_of(attempt) == "attempt"
    assert attempt["outcome"] == "accepted"
    table = delivered.terminal.run("messages", "show", "--campaign", SENT, "--customer", "C-1").out
    assert row["sid"] in table


def test_a_message_that_was_skipped_says_why(delivered: Delivered) -> None:
    (row,) = delivered.terminal.json("messages", "show", "--campaign", SENT, "--customer", "C-4")
    assert (row["state"], row["reason"], row["attempts"]) == ("skipped", "no_address", [])


def test_a_customer_without_a_message_is_exit_1(delivered: Delivered) -> None:
    ran = delivered.terminal.run("messages", "show", "--campaign", SENT, "--customer", "C-99", "--json")
    assert (ran.status, ran.document) == (1, [])
    assert "no message to customer C-99" in ran.err


def test_doubts_are_listed_with_their_address_masked(delivered: Delivered) -> None:
    rows = delivered.terminal.json("doubts", "list")
    assert [shape_of(row) for row in rows] == ["doubt"] * 2
    assert {(row["customer_id"], row["to"]) for row in rows} == {("C-1", "a…@example.com"), ("C-2", "b…@example.com")}
    assert {(row["campaign_id"], row["channel"], row["contract"]) for row in rows} == {(IN_DOUBT, "letters", "hold")}
    assert "ann@example.com" not in delivered.terminal.run("doubts", "list").out
    assert delivered.terminal.json("doubts", "list", "--reports") == []
    assert delivered.terminal.run("doubts", "list", "--reports").out == "Nothing is in doubt.\n"


def test_problems_are_listed_with_their_mend(delivered: Delivered) -> None:
    rows = delivered.terminal.json("problems", "list")
    assert all(shape_of(row) == "problem" for row in rows)
    kinds = {row["kind"]: row for row in rows}
    assert {"message_in_doubt", "unknown_template"} <= kinds.keys()
    waiting = kinds["unknown_template"]
    assert (waiting["tenant"], waiting["channel"], waiting["campaign_id"]) == ("acme", "newsletter", None)
    assert "template 99" in waiting["problem"]
    assert "templates push" in waiting["mend"]
    assert TIME.fullmatch(waiting["since"])
    assert "unknown_template" in delivered.terminal.run("problems", "list").out


def test_report_now_has_nothing_to_do_beside_a_worker(delivered: Delivered) -> None:
    for arguments in ((), ("--campaign", SENT)):
        ran = delivered.terminal.run("report", "now", *arguments)
        assert (ran.status, ran.out, ran.err) == (0, "Optimove was told everything.\n", "")


async def test_report_now_tells_what_no_worker_told(terminal: Terminal, make_settings: MakeSettings) -> None:
    dry_run = {"provider": "console"}  # of which Optimove is told nothing by itself
    async with open_house(make_settings, channel=dry_run) as house:
        await house.push(17)

        async def now() -> Ran:
            campaign = await house.plan(customers=20)
            await house.fire(campaign)
            await house.until_state(campaign, "complete")
            return await asyncio.to_thread(terminal.run, "report", "now", "--campaign", campaign)

        service = house.ctx.settings.service
        (tenant,) = house.ctx.settings.tenants.values()
        terminal.write(settings(database=service.database, optimove=tenant.api_url, public_url=house.web_url))
        ran = await now()
        assert (ran.status, ran.err) == (0, "")
        assert len(await house.sim("interactions")) == 1
        await house.fault("UpdateCampaignInteractions", "cut_after")
        ran = await now()
        assert (ran.status, ran.out) == (1, "")
        assert "optirelay doubts list --reports" in ran.err
        (doubt,) = await asyncio.to_thread(terminal.json, "doubts", "list", "--reports")
        assert shape_of(doubt) == "report in doubt"
        assert (doubt["call"], doubt["tenant"]) == ("UpdateCampaignInteractions", "acme")


# --- what runs until it is told to stop -------------------------------------------------------------------------------


def test_serve_on_a_port_that_is_taken_is_a_sentence(terminal: Terminal, database: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        terminal.write(settings(database=database, port=port))
        ran = terminal.run("serve")
    assert (ran.status, ran.out) == (1, "")
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert "[service] listen" in ran.err


def test_simulate_on_a_port_that_is_taken_is_a_sentence(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = terminal.run("simulate", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (ran.status, ran.out) == (1, "")
    assert "Cannot listen" in ran.err


def test_simulate_tells_its_address_at_once_also_through_a_pipe() -> None:
    with subprocess.Popen([*PROGRAM, "simulate", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        told = running.stdout.readline().decode()
        running.terminate()
    assert re.fullmatch(r"Optimove is simulated on http://127\.0\.0\.1:\d+\n", told)


def test_serve_becomes_ready_and_ends_with_all_that_it_started(terminal: Terminal, database: str) -> None:
    port = free_port()
    terminal.write(settings(database=database, port=port, workers=2))
    with program("serve", folder=terminal.folder) as serving:
        until(lambda: is_ready(port))
        family = psutil.Process(serving.pid).children(recursive=True)
        assert len(family) == 2
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) == 0
        assert not psutil.wait_procs(family, timeout=1)[1]


def test_workers_of_their_own_deliver_what_serve_takes_in(terminal: Terminal, database: str) -> None:
    port = free_port()
    with optimove_for(terminal, database, port=port, workers=0, public_url=f"http://127.0.0.1:{port}") as optimove:
        write_templates(terminal.folder, welcome=template())
        assert terminal.run("templates", "push", ".").status == 0
        optimove.post("/_sim/customers", json={"tenant": 7001, "customers": PEOPLE})
        with (
            program("serve", folder=terminal.folder),
            program("work", folder=terminal.folder) as first,
            program("work", folder=terminal.folder) as second,
        ):
            until(lambda: is_ready(port) and len(optimove.get("/_sim/listeners").json()) == 2)
            until(lambda: len(list(terminal.folder.rglob("*.journal"))) == 2)  # both work
            announce(optimove, SENT)
            until(lambda: terminal.run("campaigns", "show", SENT).status == 0)
            until(lambda: terminal.json("campaigns", "show", SENT)["reported"]["accepted"] == 2)
            for worker in (first, second):
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(30) == 0
        assert terminal.json("campaigns", "show", SENT, "--audit")["balanced"]
