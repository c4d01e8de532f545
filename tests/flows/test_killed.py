"""Everything is killed, in the middle, and started again: nobody is lost, nobody is written to twice."""

import asyncio
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
from tests.channels.smtp_servers import ScriptedServer
from tests.conftest import LISTENER_SECRET

from optirelay.engine import operate, runtime
from optirelay.engine.offering import keep_template
from optirelay.model import CampaignId, ChannelName, TemplateContent, TemplateId, TenantId
from optirelay.settings import Settings, load
from optirelay.simulator import Simulator
from optirelay.store.campaigns import CampaignCounts

ACME = TenantId("acme")
CUSTOMERS = 5000
CONNECTIONS = 10
PATIENCE = 90.0

SETTINGS = """
[service]
database = "embedded"
data_dir = "data"
listen = "127.0.0.1:{listen}"
workers = 1
takeover_after = "10m"

[tenants.acme]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"

[tenants.acme.channels.newsletter]
kind = "email"
scheduled_id = 504
provider = "smtp"
from = "Acme <news@acme.example>"
personalization = ["FIRST_NAME"]

[tenants.acme.channels.newsletter.smtp]
host = "127.0.0.1"
port = {smtp}
security = "none"
connections = 10
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the embedded database can reach, also as root."""
    made = Path(tempfile.mkdtemp(prefix="optirelay-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


class Service:
    """`optirelay serve` as a process, with all that it starts."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        log = (self._config.parent / "serve.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "optirelay", "serve", "--config", str(self._config)), stderr=log, stdout=log
        )
        log.close()

    def kill_everything(self) -> None:
        """kill -9 of the web process, its workers and its database, at one instant."""
        assert self._process is not None
        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for process in family:
            process.suspend()
        for process in family:
            process.kill()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        assert self._process is not None
        assert await asyncio.wait_for(self._process.wait(), 40) == 0

    async def gone(self) -> None:
        assert self._process is not None
        await self._process.wait()


async def until(happened: Callable[[], Awaitable[Any]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await happened():
            await asyncio.sleep(0.02)


async def push_templates(settings: Settings) -> None:
    with runtime.database(settings) as conninfo:
        async with (
            runtime.open_context(settings, conninfo) as ctx,
            ctx.store.tenant(ACME).transaction() as ledger,
        ):
            for number in (17, 18, 19):
                content = TemplateContent("Hello {{ FIRST_NAME }}", "<p>Hello {{ FIRST_NAME }}</p>")
                await keep_template(
                    ledger, ChannelName("newsletter"), TemplateId(number), key=f"t{number}", name="T", content=content
                )


async def look(settings: Settings) -> CampaignCounts | None:
    """The campaign in numbers; None while there is none, or no database."""
    try:
        with runtime.database(settings) as conninfo, psycopg.connect(conninfo):
            async with (
                runtime.open_context(settings, conninfo) as ctx,
                ctx.store.tenant(ACME).transaction() as ledger,
            ):
                found = await ledger.campaigns.counts(CampaignId("90211"))
                for shape in await operate.campaigns(ctx):
                    assert await operate.audit(ctx, shape["tenant"], shape) == []
                return found[0] if found else None
    except psycopg.OperationalError:
        return None


@asynccontextmanager
async def campaign_under_way(
    folder: Path, server: ScriptedServer, second_half: str
) -> AsyncIterator[tuple[Settings, Service, Any]]:
    """Service and simulator running, a campaign of 5,000 in small pages announced twice."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = free.getsockname()[1]
    scenario = {"quirks": {"page_cap": 700, "notifications": "twice"}}
    async with (
        Simulator("127.0.0.1:0", scenario=scenario) as simulator,
        httpx2.AsyncClient(base_url=simulator.url, timeout=30) as optimove,
    ):
        config = folder / "optirelay.toml"
        config.write_text(
            SETTINGS.format(listen=listen, optimove=simulator.url, secret=LISTENER_SECRET, smtp=server.port)
        )
        settings = load(config)
        await push_templates(settings)
        service = Service(config)
        await service.start()

        async def registered() -> bool:
            return len((await optimove.get("/_sim/listeners")).json()) >= 2

        await until(registered)
        plan = {"tenant": 7001, "id": 90211, "channel": 504, "templates": [17, 18, 19], "send_at": ["+0s", second_half]}
        await optimove.post("/_sim/campaigns", json={**plan, "customers": CUSTOMERS, "events": [13]})
        await optimove.post("/_sim/campaigns/90211/fire")
        try:
            yield settings, service, optimove
        finally:
            await service.stop()


async def pages_read(optimove: httpx2.AsyncClient) -> int:
    calls = (await optimove.get("/_sim/calls")).json()
    return len([call for call in calls if call["call"] == "GetCustomerSendDetailsByChannel"])


@pytest.mark.parametrize("cancelled", [False, True], ids=["to its end", "cancelled half-way"])
async def test_killed_in_gather_and_in_send_nobody_is_lost_or_doubled(folder: Path, *, cancelled: bool) -> None:
    async with (
        ScriptedServer().running() as server,
        campaign_under_way(folder, server, "+1h" if cancelled else "+6s") as (settings, service, optimove),
    ):

        async def in_gather() -> bool:
            return await pages_read(optimove) >= 2

        await until(in_gather)
        service.kill_everything()
        await service.gone()
        await service.start()

        async def in_send() -> bool:
            return len(server.taken) > 1000

        await until(in_send)
        service.kill_everything()
        await service.gone()
        await service.start()
        if cancelled:  # all are handed over, part of the first half is on its way, the second has not reached its time

            async def half_way() -> bool:
                counts = await look(settings)
                return counts is not None and counts.handed_over == CUSTOMERS and len(server.taken) > CUSTOMERS * 0.3

            await until(half_way)
            await optimove.post("/_sim/campaigns/90211/cancel")

        async def over() -> bool:
            counts = await look(settings)
            return counts is not None and counts.state != "open" and not counts.open

        await until(over)
        counts = await look(settings)
        assert counts is not None
        skipped = sum(sum(reasons.values()) for reasons in counts.skipped)
        assert counts.handed_over == CUSTOMERS == counts.accepted + counts.in_doubt + skipped
        sids = Counter(server.sids())
        assert max(sids.values()) == 1
        assert counts.accepted <= len(sids) <= counts.accepted + counts.in_doubt
        assert counts.in_doubt <= 2 * CONNECTIONS  # what was on the wire when it was killed, and no more
        assert counts.state == ("cancelled" if cancelled else "complete")
        assert (sum(reasons.get("cancelled", 0) for reasons in counts.skipped) >= CUSTOMERS / 2) == cancelled
        await compare_sides(optimove, server, counts)


async def compare_sides(optimove: httpx2.AsyncClient, server: ScriptedServer, counts: CampaignCounts) -> None:
    """Sink, ledger and simulator, row by row: who was reported was sent to, once."""
    rows = (await optimove.get("/_sim/customers", params={"tenant": 7001, "campaign": 90211})).json()
    address = {row["CustomerID"]: row["CustomerAttributes"]["EMAIL"] for row in rows}

    async def all_reported() -> bool:
        told = (await optimove.get("/_sim/interactions")).json()
        return sum(len(call["body"]["CustomerIDs"]) for call in told) >= counts.accepted

    await until(all_reported)
    told = (await optimove.get("/_sim/interactions")).json()
    reported = Counter(customer for call in told for customer in call["body"]["CustomerIDs"])
    assert sum(reported.values()) == counts.accepted
    assert max(reported.values()) == 1
    received = Counter(re.findall(rb"(?m)^To: (\S+)\r$", mail)[0].decode() for mail in server.taken)
    sent_to = Counter(address[customer].strip() for customer in reported)
    assert not sent_to - received
