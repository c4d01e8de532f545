"""What every test can ask for: a fresh database on a real PostgreSQL, and settings for one tenant."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from optirelay.settings import Settings, read
from optirelay.store._migrate import migrate
from optirelay.store.embedded import EmbeddedPostgres

os.environ.pop("PYTHONUNBUFFERED", None)  # programs that tests start write as they do for everybody

LONG = (
    *("test_ledger_model.py", "test_crash.py", "test_killed.py", "test_events_in_any_order.py", "test_demo.py"),
    "test_malformed_notifications.py",
)
"""Where single tests take from ten seconds to two minutes; the longest first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests begin first, on two workers, so that nobody waits for the last of them at the end."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    long = sorted((i for i in items if i.path.name in LONG), key=lambda item: LONG.index(item.path.name))
    short = [item for item in items if item.path.name not in LONG]
    size = -(-len(items) // workers)
    ordered: list[pytest.Item] = []
    for worker in range(workers):  # each gets a run of the list, of this size
        first = long[worker::2] if worker < 2 and workers > 1 else ([] if workers > 1 else long)
        rest = size - len(first)
        ordered += [*first, *short[:rest]]
        short = short[rest:]
    items[:] = ordered + short


TEMPLATE = "optirelay_template"
LISTENER_SECRET = "a-listener-secret-of-32-characters"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server of this test process's own, with a migrated template database."""
    folder = Path(tempfile.mkdtemp(prefix="optirelay-test-"))
    folder.chmod(0o711)  # as root the server runs as an account that must pass
    try:
        with EmbeddedPostgres(folder / "data") as conninfo:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                # Tests kill processes, never the machine: the disk need not be waited for.
                connection.execute("alter system set fsync = off")
                connection.execute("select pg_reload_conf()")
                connection.execute(f"create database {TEMPLATE}")
            migrate(at_database(conninfo, TEMPLATE))
            yield conninfo
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def at_database(conninfo: str, name: str) -> str:
    """The same server, another database."""
    head, _, query = conninfo.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The address of an empty database with our tables."""
    name = f"t_{os.getpid()}_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
    yield at_database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(database: str, tmp_path: Path) -> MakeSettings:
    """Settings for tenant `acme` with channel `newsletter` (null), on the test's database; keywords change them."""

    def make(
        *, service: Mapping[str, Any] = {}, tenant: Mapping[str, Any] = {}, channel: Mapping[str, Any] = {}
    ) -> Settings:
        newsletter = {"kind": "email", "scheduled_id": 504, "provider": "null", "personalization": ["FIRST_NAME"]}
        document = {
            "service": {"database": database, "data_dir": str(tmp_path), "takeover_after": "2s", **service},
            "tenants": {
                "acme": {
                    "api_url": "http://127.0.0.1:1",
                    "api_key": "demo-key",
                    "listener_secret": LISTENER_SECRET,
                    "channels": {"newsletter": {**newsletter, **channel}},
                    **tenant,
                }
            },
        }
        return read(document, path=tmp_path / "optirelay.toml")

    return make


@pytest_asyncio.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser. Where the machine has none, a skip that says so, and in CI a failure."""
    unpacked = Path(".venv/chromium/run").resolve()
    found = shutil.which("chromium") or (unpacked if unpacked.exists() else None)
    if found is None:
        missing = "chromium is missing, and scripts/test could not get it: install it, on Debian with apt"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    async with async_playwright() as playwright:
        # Pages of our own alone: no sandbox, which containers refuse; their /dev/shm is too small, too.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        await browser.close()
