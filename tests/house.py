"""A whole house for flow tests: the simulator, our web and workers over real HTTP and a real database."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn

from optirelay.engine import operate, runtime
from optirelay.engine.context import Context
from optirelay.engine.offering import keep_template
from optirelay.model import CampaignId, ChannelName, TemplateContent, TemplateId, TenantId
from optirelay.settings import Settings
from optirelay.simulator import Simulator
from optirelay.store.campaigns import CampaignCounts
from optirelay.store.looks import MessageRow
from optirelay.store.reports import Reported
from optirelay.web.ingest import WebApp
from tests.conftest import LISTENER_SECRET

ACME = TenantId("acme")
NEWSLETTER = ChannelName("newsletter")
SOON = 60.0  # seconds; nothing here takes longer, on a busy machine neither


def free_port() -> int:
    """A port of this machine that nobody listens at, nor a moment ago sent from."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@dataclass
class House:
    """What a flow test does and looks at."""

    ctx: Context
    optimove: httpx2.AsyncClient  # speaks to the simulator's /_sim
    web_url: str
    stops: list[asyncio.Event]

    async def push(self, *template_ids: int, html: str = "<p>Hello {{ FIRST_NAME }}</p>") -> None:
        """Have these templates in the store."""
        async with self.ctx.store.tenant(ACME).transaction() as ledger:
            for number in template_ids:
                content = TemplateContent("Hello {{ FIRST_NAME }}", html)
                await keep_template(
                    ledger, NEWSLETTER, TemplateId(number), key=f"t{number}", name=f"Template {number}", content=content
                )

    async def plan(self, **campaign: Any) -> str:
        """Make a campaign known to the simulator; its id."""
        entry = {"tenant": 7001, "channel": 504, "templates": [17], "send_at": ["+0s"], "events": [13], **campaign}
        answer = await self.optimove.post("/_sim/campaigns", json=entry)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def fire(self, campaign_id: str, **how: Any) -> int:
        """Have the simulator announce it; how many notifications are on their way."""
        answer = await self.optimove.post(f"/_sim/campaigns/{campaign_id}/fire", json=how)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["listeners"])

    async def cancel(self, campaign_id: str) -> None:
        """Have the simulator cancel it."""
        assert (await self.optimove.post(f"/_sim/campaigns/{campaign_id}/cancel")).status_code == 200

    async def fault(self, call: str, fault: str, times: int = 1) -> None:
        """Have the next calls of that name go wrong."""
        answer = await self.optimove.post("/_sim/faults", json={"call": call, "fault": fault, "times": times})
        assert answer.status_code == 200, answer.text

    async def people(self, *people: Mapping[str, str]) -> None:
        """Have the simulator's tenant have these customers."""
        answer = await self.optimove.post("/_sim/customers", json={"tenant": 7001, "customers": people})
        assert answer.status_code == 200, answer.text

    async def sim(self, what: str) -> list[dict[str, Any]]:
        """What the simulator was told."""
        return list((await self.optimove.get(f"/_sim/{what}")).json())

    async def notify(self, body: bytes, *, secret: str = LISTENER_SECRET, tenant: str = "acme") -> int:
        """POST a notification of our own; the status of the answer."""
        async with httpx2.AsyncClient() as client:
            return (await client.post(f"{self.web_url}/optimove/{tenant}/{secret}", content=body)).status_code

    async def campaign(self, campaign_id: str) -> CampaignCounts:
        """A campaign in numbers."""
        async with self.ctx.store.tenant(ACME).transaction() as ledger:
            (counts,) = await ledger.campaigns.counts(CampaignId(campaign_id))
            return counts

    async def reported(self, campaign_id: str) -> Reported:
        """What Optimove answered for."""
        counts = await self.campaign(campaign_id)
        async with self.ctx.store.tenant(ACME).transaction() as ledger:
            return await ledger.reports.reported(*counts.days)

    async def message(self, campaign_id: str, customer_id: str) -> MessageRow:
        """The one message to a customer."""
        async with self.ctx.store.tenant(ACME).transaction() as ledger:
            (row,) = await ledger.looks.messages(CampaignId(campaign_id), customer_id, None)  # type: ignore[arg-type]
            return row

    async def problems(self) -> set[str]:
        """Kinds of problems that the operator is told."""
        return {row.kind for row in await self.ctx.store.problems()}

    async def until(self, happened: Callable[[], Awaitable[Any]], seconds: float = SOON) -> None:
        """Wait until something is so; AssertionError where it does not come."""
        async with asyncio.timeout(seconds):
            while not await happened():
                await asyncio.sleep(0.05)

    async def until_reported(self, campaign_id: str) -> None:
        """Wait until Optimove was told of everybody accepted, and no call is left to make."""

        async def told() -> bool:
            reported = await self.reported(campaign_id)
            return reported.accepted == (await self.campaign(campaign_id)).accepted and not reported.open

        await self.until(told)

    async def until_state(self, campaign_id: str, *states: str, seconds: float = SOON) -> CampaignCounts:
        """Wait until the campaign is open, complete or cancelled, and nothing of it is under way."""

        async def over() -> bool:
            async with self.ctx.store.tenant(ACME).transaction() as ledger:
                found = await ledger.campaigns.counts(CampaignId(campaign_id))
            return bool(found) and found[0].state in states and not found[0].open

        await self.until(over, seconds)
        return await self.campaign(campaign_id)

    async def audit(self) -> None:
        """Two counts that can disagree, and must not: rows against batch counters and pages."""
        for shape in await operate.campaigns(self.ctx):
            assert await operate.audit(self.ctx, shape["tenant"], shape) == []

    async def stop(self) -> None:
        """Tell all workers to end."""
        for stop in self.stops:
            stop.set()


@asynccontextmanager
async def open_house(
    make_settings: Callable[..., Settings],
    *,
    scenario: Mapping[str, Any] | None = None,
    workers: int = 1,
    channel: Mapping[str, Any] = {},
    tenant: Mapping[str, Any] = {},
    service: Mapping[str, Any] = {},
    registers: bool = True,
    conninfo: str | None = None,
) -> AsyncIterator[House]:
    """Everything started and listeners registered; everything ended, and audited, at the end.

    `conninfo`: the address of an embedded database that runs.
    """
    async with Simulator("127.0.0.1:0", scenario=scenario) as simulator, AsyncClientAt(simulator.url) as optimove:
        listening = _socket()
        web_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = make_settings(
            service={"public_url": web_url, **service}, tenant={"api_url": simulator.url, **tenant}, channel=channel
        )
        at = conninfo or settings.service.database
        async with runtime.open_context(settings, at) as ctx:
            web = _Web(uvicorn.Config(WebApp(settings, ctx.store), lifespan="off", log_config=None))
            serving = asyncio.create_task(web.serve(sockets=[listening]))
            stops = [asyncio.Event() for _ in range(workers)]
            working = [asyncio.create_task(runtime.work(settings, at, stop)) for stop in stops]
            house = House(ctx, optimove, web_url, stops)
            try:
                if workers and registers:
                    await house.until(lambda: _registered(house))
                yield house
                await house.stop()
                await asyncio.gather(*working)
                if workers:
                    await house.audit()
            finally:
                await house.stop()
                await asyncio.gather(*working, return_exceptions=True)
                web.should_exit = True
                await serving


async def _registered(house: House) -> bool:
    return len(await house.sim("listeners")) >= 2


class _Web(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


def _socket() -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return listening


def AsyncClientAt(url: str) -> httpx2.AsyncClient:  # noqa: N802 - reads as the class it makes
    """A client of the simulator."""
    return httpx2.AsyncClient(base_url=url, timeout=30)


NOBODY_YET = {"tenants": [{"id": 7001, "key": "demo-key", "channels": {"504": "Mail", "604": "Now"}, "customers": 0}]}
"""A scenario whose tenant has no customers but those that a test adds."""
