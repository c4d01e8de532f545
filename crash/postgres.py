"""A PostgreSQL of this run's own, over TCP, that can be killed and is started again."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from crash.small_disk import SmallDisk
from optirelay.store._account import ENVIRONMENT, account_for, must_reach, run
from optirelay.store._binaries import binaries_for

START_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
}


class CannotStart(Exception):
    """The database did not come up; the text is the end of its log."""


class Postgres:
    """One server. `settings` are put over the usual ones."""

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, disk: SmallDisk | None = None
    ) -> None:
        self.port = free_port()
        self.kills = 0
        self._account = account_for(folder / "postgres")
        must_reach(self._account, folder)
        self._binaries = binaries_for(self._account, folder)
        self._disk = disk or SmallDisk(folder, folder)
        self._data = self._disk.inside / "postgres"
        self._log = folder / "postgres.log"
        self._password = secrets.token_hex(16)
        self._settings = {**SETTINGS, "port": str(self.port), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, port: int | None = None) -> str:
        """Its address; through a proxy where that port is given."""
        return f"postgresql://optirelay:{self._password}@127.0.0.1:{port or self.port}/optirelay"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Postgres"]:
        """Made, started, and stopped at the end."""
        await asyncio.to_thread(self._create)
        try:
            await self.start()
            async with await psycopg.AsyncConnection.connect(self._of("postgres"), autocommit=True) as connection:
                await connection.execute("create database optirelay")
            yield self
        finally:
            await self._end(signal.SIGQUIT)

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers; again where a killed one's processes are still ending."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self._process is None or self._process.poll() is not None:
                    self._launch()
                if await self._answers():
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as `pg_ctl stop -m immediate` does, without a checkpoint; the next start recovers."""
        self.kills += 1
        await self._end(signal.SIGQUIT)

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while process.poll() is None:
                    await asyncio.sleep(0.01)
        if process.poll() is None:
            process.kill()

    async def _answers(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self._of("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _of(self, database: str) -> str:
        return self.url().rpartition("/")[0] + f"/{database}"

    def _create(self) -> None:
        made = self._disk.outside / "postgres"
        made.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(made, self._account.uid, self._account.gid)
        with tempfile.NamedTemporaryFile(dir=self._log.parent) as password, self._log.open("ab") as log:
            password.write(self._password.encode())
            password.flush()
            if os.geteuid() == 0:
                os.chown(password.name, self._account.uid, self._account.gid)
            done = run(
                self._account,
                *(
                    *self._disk.prefix,
                    str(self._binaries.folder / "initdb"),
                    f"--pgdata={self._data}",
                    "--username=optirelay",
                ),
                *("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={password.name}"),
                output=log,
                errors=log,
            )
        if done.returncode != 0:
            raise CannotStart(self._log.read_text(errors="replace")[-2000:])

    def _launch(self) -> None:
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        switch: dict[str, Any] = {}
        if os.geteuid() == 0:
            switch = {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._disk.prefix, str(self._binaries.folder / "postgres"), "-D", str(self._data), *options],
                cwd="/",
                env=ENVIRONMENT,
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **switch,
            )


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
