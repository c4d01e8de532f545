"""Thousands of notifications with something wrong, against the service as processes: nobody else has harm from them."""

import asyncio
import io
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import psycopg
import pytest
from tests.channels.webhook_receivers import SECRET, Receiver
from tests.conftest import LISTENER_SECRET
from tests.triggers import CAMPAIGN, TRIGGERED_ID, body
from tests.web.mutants import PATH, Mutant, mutants

from optirelay.engine import operate, runtime
from optirelay.engine.offering import keep_template
from optirelay.model import ChannelName, TemplateContent, TemplateId, TenantId
from optirelay.settings import Settings, load
from optirelay.simulator import Simulator

LONG = "OPTIRELAY_MALFORMED"  # so many instead: `OPTIRELAY_MALFORMED=20000 scripts/test tests/web -k malformed`
COUNT = int(os.environ.get(LONG, "2400"))
WARM_UP = COUNT // 4  # more of them before memory is looked at
AT_ONCE = 8  # connections
BETWEEN = 49  # of them before each good one
SOON = 60.0  # seconds, from the answer to a good one to its arrival; it takes a hundredth of one
MOST_GROWN = 20_000_000 if COUNT >= 20_000 else 60_000_000  # octets: 1 kB of each would be seen, of many of them

SETTINGS = """
[service]
database = "{database}"
data_dir = "{folder}"
listen = "127.0.0.1:{listen}"
workers = 1
allow_networks = ["127.0.0.0/8"]

[tenants.acme]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{listener_secret}"

[tenants.acme.channels.newsletter]
kind = "email"
scheduled_id = 504
triggered_id = {triggered_id}
from = "Acme <news@acme.example>"
provider = "webhook"

[tenants.acme.channels.newsletter.webhook]
url = "{receiver}"
secret = "{secret}"
"""


class Service:
    """`optirelay serve` with one worker, as processes."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings = settings
        self.url = f"http://{settings.service.listen}"
        self._log = log
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        command = ("-m", "optirelay", "serve", "--config", str(self.settings.path))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=log, stderr=log)
        await until(self._ready)

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as client, client.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self._process.wait(), SOON) == 0

    def memory(self) -> list[int]:
        """Of web and worker, in octets."""
        web = psutil.Process(self._process.pid)
        return [process.memory_info().rss for process in (web, *web.children(recursive=True))]

    @property
    def log(self) -> str:
        return self._log.read_text()


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await happened():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(database: str, folder: Path, receiver: Receiver) -> AsyncIterator[Service]:
    """Everything started, template 17 there; everything ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = free.getsockname()[1]
    async with Simulator("127.0.0.1:0") as simulator:
        config = folder / "optirelay.toml"
        values = {"optimove": simulator.url, "receiver": receiver.url, "secret": SECRET, "triggered_id": TRIGGERED_ID}
        config.write_text(
            SETTINGS.format(database=database, folder=folder, listen=listen, listener_secret=LISTENER_SECRET, **values)
        )
        service = Service(load(config), folder / "serve.log")
        async with (
            runtime.open_context(service.settings, database) as ctx,
            ctx.store.tenant(TenantId("acme")).transaction() as ledger,
        ):
            content = TemplateContent("Hello {{ FIRST_NAME }}", "<p>{{ FIRST_NAME }}: {{ promo_codes[0] }}</p>")
            await keep_template(ledger, ChannelName("newsletter"), TemplateId(17), key="t", name="T", content=content)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


class Arrivals:
    """What the receiver got, by customer."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._read = 0
        self.count: Counter[str | None] = Counter()
        self.html: dict[str, str] = {}

    def of(self, customer_id: str) -> int:
        """How many this customer got by now."""
        requests = self._receiver.requests
        for request in requests[self._read :]:
            for message in request.messages():
                self.count[message["customer_id"]] += 1
                self.html[message["customer_id"]] = message["html"]
        self._read = len(requests)
        return self.count[customer_id]


async def post(client: aiohttp.ClientSession, mutant: Mutant) -> int:
    async def in_parts() -> AsyncIterator[bytes]:
        for at in range(0, len(mutant.body), 1 + len(mutant.body) // 3):
            yield mutant.body[at : at + 1 + len(mutant.body) // 3]

    data = in_parts() if mutant.chunked else io.BytesIO(mutant.body)
    try:
        async with client.post(mutant.path, data=data, headers={"Content-Type": mutant.content_type}) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:  # it was answered, and hung up on, before all of it was written
        assert len(mutant.body) > 1024 * 1024
        return 413


class Sender:
    """Posts mutants, and a good one after each 49, which has to arrive before the next."""

    def __init__(self, service: Service, arrivals: Arrivals) -> None:
        self._url = service.url
        self._arrivals = arrivals
        self._mutants = mutants(random.Random(11))
        self.good: list[str] = []

    async def send(self, count: int) -> None:
        """So many mutants, over all connections."""
        async with aiohttp.ClientSession(self._url) as client:
            rounds = iter(range(count // (BETWEEN * AT_ONCE) * AT_ONCE))
            await asyncio.gather(*(self._some(client, rounds) for _ in range(AT_ONCE)))

    async def _some(self, client: aiohttp.ClientSession, rounds: Iterator[int]) -> None:
        for _ in rounds:
            for _ in range(BETWEEN):
                mutant = next(self._mutants)
                status = await post(client, mutant)
                assert status in mutant.answers, (status, mutant.body[:500])
            await self._good(client)

    async def _good(self, client: aiohttp.ClientSession) -> None:
        customer_id = f"good-{len(self.good)}"
        self.good.append(customer_id)
        async with client.post(PATH, data=body(customerID=customer_id)) as answer:
            assert answer.status == 200

        async def arrived() -> bool:
            return self._arrivals.of(customer_id) > 0

        await until(arrived)


@pytest.mark.timeout(0 if LONG in os.environ else 180)
async def test_thousands_of_malformed_notifications_harm_nobody(database: str, tmp_path: Path) -> None:
    """No 5xx, no traceback, nothing that the ledger refuses, no memory that grows; good ones arrive once, and soon."""
    async with Receiver().running() as receiver, serving(database, tmp_path, receiver) as service:
        arrivals = Arrivals(receiver)
        sender = Sender(service, arrivals)
        await sender.send(WARM_UP)
        before = service.memory()
        await sender.send(COUNT)
        grown = [after - earlier for after, earlier in zip(service.memory(), before, strict=True)]
        assert await refused(database) == []
        assert "Traceback" not in service.log
        assert max(grown) < MOST_GROWN, (grown, before)
        for customer_id in sender.good:
            assert arrivals.of(customer_id) == 1
            assert arrivals.html[customer_id] == "<p>Ana: LOAN5</p>"
        async with runtime.open_context(service.settings, database) as ctx:
            good = len(sender.good)

            async def answers_written() -> bool:
                (shape,) = await operate.campaigns(ctx, campaign_id=CAMPAIGN)
                assert shape["handed_over"] == good
                return bool(shape["accepted"] == good)

            await until(answers_written)


async def refused(database: str) -> list[bytes]:
    """What the ledger refused of all that was told, once all is read."""
    with psycopg.connect(database, autocommit=True) as sql:

        async def all_read() -> bool:
            return sql.execute("select from notification where state = 'new' limit 1").fetchone() is None

        await until(all_read)
        rows = sql.execute("select substr(body, 1, 500) from notification where state not in ('new', 'done')")
        return [body for (body,) in rows.fetchall()]
