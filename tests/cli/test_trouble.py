"""What a command line must survive: being interrupted, what should not happen, a campaign that several have."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests import by_hand
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, House, open_house

from optirelay.cli.main import run_command

SERVICE = """\
[service]
database = "{database}"
public_url = "http://127.0.0.1:8400"
"""
TENANT = """\
[tenants.{tenant}]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"
[tenants.{tenant}.channels.newsletter]
scheduled_id = 504
provider = "null"
"""


def write(folder: Path, database: str, optimove: str, *tenants: str) -> str:
    """A settings file; its name."""
    file = folder / "optirelay.toml"
    tables = [TENANT.format(tenant=name, optimove=optimove, secret=LISTENER_SECRET) for name in tenants]
    file.write_text("".join([SERVICE.format(database=database), *tables]))
    return str(file)


def test_ctrl_c_ends_a_command_with_130_and_without_a_word(database: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes a connection and never answers
        silent.settimeout(30)
        config = write(tmp_path, database, f"http://127.0.0.1:{silent.getsockname()[1]}", "acme")
        command = [sys.executable, "-m", "optirelay", "listeners", "list", "--config", config]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            connection, _ = silent.accept()
            with connection:
                running.send_signal(signal.SIGINT)
                assert running.communicate(timeout=20) == (b"", b"")
    assert running.returncode == 130


def test_what_should_not_happen_is_a_sentence_and_a_traceback_only_when_asked_for(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path, database, "http://127.0.0.1:1", "acme")
    unexpected = ("campaigns", "show", "no shell can pass\0this", "--config", config)
    assert run_command(unexpected) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "optirelay: an error that should not happen (DataError); this is a bug. "
        "`optirelay --debug …` shows where it comes from\n"
    )
    assert run_command(["--debug", *unexpected]) == 1
    assert "Traceback" in capsys.readouterr().err


async def test_a_campaign_that_several_tenants_have_needs_its_tenant_named(
    make_settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_house(make_settings, workers=0) as house:
        acme = house.ctx.settings.tenants["acme"]
        config = write(tmp_path, house.ctx.settings.service.database, acme.api_url, "acme", "globex")
        campaign_id = await by_hand.announced(house)
        await asyncio.to_thread(run_command, ["problems", "list", "--config", config])  # makes globex known
        await have_globex_know(house)
        for command in (
            ("campaigns", "show", campaign_id),
            ("messages", "show", "--campaign", campaign_id, "--customer", "C-1"),
            ("report", "now", "--campaign", campaign_id),
            ("campaigns", "pause", campaign_id),
            ("doubts", "resolve", "--sent", "--reason", "x", "--campaign", campaign_id),
        ):
            capsys.readouterr()
            assert await asyncio.to_thread(run_command, [*command, "--config", config]) == 2
            several = f"several tenants have a campaign {campaign_id}; name one: --tenant acme or --tenant globex\n"
            assert capsys.readouterr() == ("", several)
        show = ["campaigns", "show", campaign_id, "--tenant", "globex", "--config", config]
        assert await asyncio.to_thread(run_command, show) == 0
        assert "globex" in capsys.readouterr().out


async def have_globex_know(house: House) -> None:
    """The same campaign, with another tenant."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.connection.execute(
            "insert into campaign (tenant, channel, kind, campaign_id, planned_on) "
            "select t.id, c.channel, c.kind, c.campaign_id, c.planned_on from campaign c, tenant t "
            "where t.name = 'globex'"
        )
