"""Processes and signals: what was started is stopped, whenever the signal comes."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.house import free_port

SETTINGS = """
[service]
data_dir = "data"
listen = "127.0.0.1:{port}"

[tenants.acme]
api_url = "http://127.0.0.1:9"
api_key = "key"
listener_secret = "a-listener-secret-of-32-characters"

[tenants.acme.channels.newsletter]
scheduled_id = 504
"""


@pytest.fixture
def config() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="optirelay-test-"))
    folder.chmod(0o711)
    (folder / "optirelay.toml").write_text(SETTINGS.format(port=free_port()))
    yield folder / "optirelay.toml"
    shutil.rmtree(folder, ignore_errors=True)


def using(folder: Path) -> list[psutil.Process]:
    """Every process whose command names the folder: the service, its workers, its database."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.mark.parametrize("command", ["serve", "work"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_database_starts_leaves_nothing_running(command: str, number: int, config: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "optirelay", command, "--config", str(config)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(using(config.parent)) < 2 and time.monotonic() < deadline:  # until initdb or the server runs
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode in (0, 130), said
    assert process.returncode == 0 or number == signal.SIGINT
    _, alive = psutil.wait_procs(using(config.parent), timeout=20)
    assert not alive
