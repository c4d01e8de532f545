"""Everything that a run needs, as processes: database, Optimove, receiver, our web and workers, and what cuts between.

Every process of ours reaches database, Optimove and receiver through a proxy of its own; the operator and we do not.
"""

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from crash.errors import Failed
from crash.postgres import Postgres, free_port
from crash.processes import Kept, environment, start_helper
from crash.proxy import Fault, Proxy
from crash.receipts import ReceiverLog
from crash.small_disk import SmallDisk
from optirelay.store.embedded import reachable

TENANT = 7001
CHANNEL = 504  # of scheduled campaigns
TRIGGERED_CHANNEL = 604
TEMPLATES = (17, 18, 19)
CONNECTIONS = 10
CONTRACTS = {"smtp": ("hold",), "webhook": ("keyed", "hold")}
"""Of each channel, its usual one first: what its receiver makes of the same message again."""
WEB, WORKERS = "web", ("worker 1", "worker 2")
DATABASE, OPTIMOVE, RECEIVER = "database", "optimove", "receiver"

SETTINGS = """\
[service]
database = "{database}"
data_dir = "data"
listen = "127.0.0.1:{listen}"
workers = 0
takeover_after = "{takeover_after}"
allow_networks = ["127.0.0.0/8"]

[tenants.acme]
api_url = "http://127.0.0.1:{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"

[tenants.acme.channels.newsletter]
kind = "email"
scheduled_id = 504
triggered_id = 604
from = "Acme <news@acme.example>"
personalization = ["FIRST_NAME", "COUNTRY"]
provider = "{channel}"

[tenants.acme.channels.newsletter.{channel}]
"""
CHANNEL_SETTINGS = {
    "smtp": """\
host = "127.0.0.1"
port = {receiver}
security = "none"
connections = 10
""",
    "webhook": """\
url = "http://127.0.0.1:{receiver}/send"
secret = "{signing_secret}"
contract = "{contract}"
concurrency = 10
""",
}
SCENARIO = """\
[[tenants]]
id = 7001
key = "demo-key"
channels = {{ 504 = "Mail scheduled", 604 = "Mail triggered" }}
customers = {customers}
[quirks]
page_cap = {page_cap}
notifications = "twice"
"""
TEMPLATE = """\
---
id: {number}
name: Template {number}
channel: newsletter
subject: Template {number}
---
<p>Hello {{{{ FIRST_NAME | default: "there" }}}}, greetings to {{{{ COUNTRY }}}}.</p>
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What house is wanted."""

    channel: str = "smtp"
    contract: str = "hold"
    customers: int
    page_cap: int = 2000
    takeover_after: str = "5s"
    postgres: Mapping[str, str] = field(default_factory=dict)  # settings over the usual ones
    disk: SmallDisk | None = None  # for PostgreSQL's data
    say: Callable[[str], None] = print


class House:
    """What a run does, and what it looks at."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.folder = folder
        self.wanted = wanted
        self.say = wanted.say
        self.processes: dict[str, Kept] = {}
        self.proxies: dict[tuple[str, str], Proxy] = {}
        self.listen = free_port()
        self.secret = secrets.token_hex(16)
        self._signing_secret = f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"
        self.postgres: Postgres
        self.receiver: ReceiverLog
        self.optimove: httpx2.AsyncClient  # straight to the simulator

    # --- looking ------------------------------------------------------------------------------------------------------

    async def rows(self, query: str, *values: Any, patience: float = 60.0) -> list[tuple[Any, ...]]:
        """Ask the ledger itself, again while the database is away."""
        deadline = time.monotonic() + patience
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.postgres.url(),
                    connect_timeout=3,
                    options="-c enable_nestloop=off",  # a killed server has forgotten how large its tables are
                ) as connection:
                    cursor = await connection.execute(query.encode(), values)
                    return await cursor.fetchall()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise Failed(f"the database did not come back: {error}") from error
                await asyncio.sleep(0.1)

    async def told(self, what: str, **query: Any) -> Any:
        """What the simulator shows under /_sim."""
        answer = await self.optimove.get(f"/_sim/{what}", params=query)
        answer.raise_for_status()
        return answer.json()

    async def tell(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Have the simulator do something."""
        answer = await self.optimove.post(f"/_sim/{what}", json=dict(body or {}))
        answer.raise_for_status()
        return answer.json()

    async def until(self, happened: Callable[[], Awaitable[Any]], why: str, *, seconds: float = 60.0) -> None:
        """Wait until something is so. Failed where it does not come."""
        deadline = time.monotonic() + seconds
        while not await happened():
            if time.monotonic() > deadline:
                raise Failed(f"{why} within {seconds:.0f} seconds")
            await asyncio.sleep(0.1)

    # --- doing --------------------------------------------------------------------------------------------------------

    async def command(self, *words: str) -> tuple[int, str, str]:
        """Run `optirelay …` as an operator would: exit status, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "optirelay", "--config", str(self.folder / "operator.toml"), *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
        out, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()

    async def listed(self, *words: str) -> Any:
        """A command's JSON. Failed where it exits with another status than 0."""
        status, out, errors = await self.command(*words, "--json")
        if status != 0:
            raise Failed(f"`optirelay {' '.join(words)}` exits {status}: {errors.strip()[-500:]}")
        return json.loads(out)

    async def restart_postgres(self, *, down_seconds: float) -> None:
        """Kill PostgreSQL (`immediate`) and start it again after a moment."""
        await self.postgres.kill()
        await asyncio.sleep(down_seconds)
        await self.postgres.start()

    def start(self, *names: str) -> None:
        """Have these processes run."""
        for name in names:
            self.processes[name].start()

    async def ready(self) -> None:
        """Wait until our listeners are registered and the web process answers."""

        async def registered() -> bool:
            if len(await self.told("listeners")) < 2:
                return False
            with suppress(httpx2.TransportError):
                return (await self.optimove.get(f"http://127.0.0.1:{self.listen}/healthz")).status_code == 200
            return False

        await self.until(registered, "optirelay was not ready")

    # --- opening ------------------------------------------------------------------------------------------------------

    async def open(self, stack: AsyncExitStack) -> None:
        """Start all but our own processes, and push the templates."""
        self.receiver = await ReceiverLog.start(
            stack,
            self.folder / "receipts.tsv",
            channel=self.wanted.channel,
            contract=self.wanted.contract,
            secret=self._signing_secret,
            doors=len(WORKERS),
        )
        simulator = await self._start_simulator(stack)
        self.postgres = await stack.enter_async_context(
            Postgres(self.folder, settings=self.wanted.postgres, disk=self.wanted.disk).running()
        )
        self.optimove = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{simulator}", timeout=120)
        )
        for process in (WEB, *WORKERS):
            door = max(0, WORKERS.index(process)) if process in WORKERS else 0
            behind = {DATABASE: self.postgres.port, OPTIMOVE: simulator, RECEIVER: self.receiver.ports[door]}
            for towards, port in behind.items():
                proxy = Proxy(f"{process} to {towards}", port, on_fault=self._say_fault)
                self.proxies[process, towards] = await stack.enter_async_context(proxy.running())
            self._write_settings(process, {towards: self.proxies[process, towards].port for towards in behind})
            self._prepare(process)
        straight = {DATABASE: self.postgres.port, OPTIMOVE: simulator, RECEIVER: self.receiver.ports[0]}
        self._write_settings("operator", straight)
        await self._push_templates()

    async def close(self) -> None:
        """End our own processes."""
        await asyncio.gather(*(process.end() for process in self.processes.values()))

    def _say_fault(self, name: str, fault: Fault) -> None:
        self.say(f"{name}: {fault.cut.value}" + (f" by {fault.seconds:.1f} s" if fault.seconds else ""))

    def _prepare(self, process: str) -> None:
        name = process.replace(" ", "-")
        command = "serve" if process == WEB else "work"
        self.processes[process] = Kept(
            process,
            (
                sys.executable,
                "-m",
                "optirelay",
                "--config",
                str(self.folder / f"{name}.toml"),
                command,
                "--with-parent",
            ),
            log=self.folder / f"{name}.log",
            environment=environment(),
        )

    def _write_settings(self, process: str, ports: Mapping[str, int]) -> None:
        text = SETTINGS + CHANNEL_SETTINGS[self.wanted.channel]
        config = self.folder / f"{process.replace(' ', '-')}.toml"
        config.write_text(
            text.format(
                database=self.postgres.url(ports[DATABASE]),
                listen=self.listen,
                optimove=ports[OPTIMOVE],
                receiver=ports[RECEIVER],
                secret=self.secret,
                channel=self.wanted.channel,
                contract=self.wanted.contract,
                signing_secret=self._signing_secret,
                takeover_after=self.wanted.takeover_after,
            )
        )
        config.chmod(0o600)

    async def _push_templates(self) -> None:
        folder = self.folder / "templates"
        folder.mkdir()
        for number in TEMPLATES:
            (folder / f"template-{number}.liquid").write_text(TEMPLATE.format(number=number))
        status, _, errors = await self.command("templates", "push", str(folder))
        if status != 0:
            raise Failed(f"the templates could not be pushed: {errors.strip()[-500:]}")

    async def _start_simulator(self, stack: AsyncExitStack) -> int:
        scenario = self.folder / "scenario.toml"
        scenario.write_text(SCENARIO.format(customers=self.wanted.customers, page_cap=self.wanted.page_cap))
        words = ("-m", "optirelay", "simulate", "--listen", "127.0.0.1:0", "--scenario", str(scenario))
        line = await start_helper(stack, words, self.folder / "simulator.log")
        return int(line.strip().rpartition(":")[2])


@asynccontextmanager
async def open_house(folder: Path, wanted: Wanted) -> AsyncIterator[House]:
    """A house in an empty folder: all started but our own processes; all of it ended at the end."""
    async with AsyncExitStack() as stack:
        house = House(folder, wanted)
        await house.open(stack)
        try:
            yield house
        finally:
            await house.close()


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can pass. It stays where `kept` is written in it."""
    usual = Path(tempfile.gettempdir())
    place = next((place for place in (usual, Path("/tmp"), Path("/var/tmp")) if reachable(place)), usual)
    folder = Path(tempfile.mkdtemp(prefix="optirelay-crash-", dir=place))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if not (folder / "kept").exists():
            shutil.rmtree(folder, ignore_errors=True)
