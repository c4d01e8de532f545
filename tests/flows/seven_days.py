"""Several tenants, each with a simulated Optimove of its own, and time that a test moves; steps are taken by hand."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import time_machine
from tests.conftest import LISTENER_SECRET
from tests.house import NEWSLETTER, AsyncClientAt

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import dispatch, operate, runtime
from optirelay.engine.context import Context
from optirelay.engine.offering import keep_template
from optirelay.engine.settle import Known
from optirelay.errors import OptirelayError
from optirelay.model import Answer, TemplateContent, TemplateId, TenantId
from optirelay.settings import read
from optirelay.simulator import Simulator

CAMPAIGN = "90211"
HOUR = timedelta(hours=1)


@dataclass
class Tenants:
    """What a test does and looks at."""

    ctx: Context
    clock: time_machine.Traveller
    optimove: Mapping[TenantId, httpx2.AsyncClient]

    async def fetch(self, tenant: TenantId, customers: Mapping[str, int]) -> None:
        """The campaign is announced and its people, each with their template, are in the ledger."""
        now = utc_now().strftime("%Y-%m-%d %H:%M:%S")
        rows = [
            {"CustomerID": c, "TemplateID": t, "ScheduledTime": now, "CustomerAttributes": [f"{c}@example.com", "Ana"]}
            for c, t in customers.items()
        ]
        await self.fetch_plan(tenant, {"templates": [17], "customers": [], "rows": rows})

    async def fetch_plan(self, tenant: TenantId, plan: Mapping[str, Any], events: Sequence[int] = (13,)) -> None:
        """A campaign as the simulator makes it is announced like this, and its people are in the ledger."""
        await self.sim(tenant, "campaigns", {"id": int(CAMPAIGN), "channel": 504, "events": [], **plan})
        await self.sim(tenant, f"campaigns/{CAMPAIGN}/fire", {"events": []})
        now = utc_now().strftime("%Y-%m-%d %H:%M:%S")
        for event in events:
            body = f'{{"EventTypeID":{event},"TimeStamp":"{now}","CampaignID":{CAMPAIGN},"ChannelID":504}}'
            await self.ctx.store.keep_notifications([(tenant, body.encode())])
        while await pipeline.accept(self.ctx):
            pass
        while jobs := await self.jobs("gather"):
            for ids in jobs:
                await pipeline.gather.run(self.ctx, tenant, pass_=ids["pass_"], skip=ids["skip"])

    async def sim(self, tenant: TenantId, what: str, entry: Mapping[str, Any]) -> None:
        """Have the tenant's Optimove do something."""
        answer = await self.optimove[tenant].post(f"/_sim/{what}", json=entry)
        assert answer.status_code == 200, answer.text

    async def told(self, tenant: TenantId, what: str) -> list[Any]:
        """The bodies of what the tenant's Optimove was told."""
        return [entry["body"] for entry in (await self.optimove[tenant].get(f"/_sim/{what}")).json()]

    async def calls(self, tenant: TenantId) -> int:
        """How many calls of reports reached the tenant's Optimove."""
        known = (await self.optimove[tenant].get("/_sim/calls")).json()
        return len(
            [c for c in known if c["call"] in ("UpdateCampaignMetrics", "UpdateCampaignInteractions", "saveEvent")]
        )

    async def send(self, tenant: TenantId, answers: Mapping[str, Answer], *, most: int = 1000) -> None:
        """The next group of each due batch begins, and is answered like this."""
        while taken := await pipeline.take(self.ctx, tenant, NEWSLETTER):
            begun = await pipeline.begin(self.ctx, tenant, taken, {}, most=most)
            known = Known({message.number: answers[message.customer_id] for message in begun.start})
            await pipeline.write_answers(self.ctx, tenant, {taken: known})
            if most < 1000:
                await pipeline.free(self.ctx, tenant, taken, utc_now())
                return

    async def jobs(self, name: str) -> list[dict[str, Any]]:
        """The arguments of jobs that were put, which then are gone."""
        async with self.ctx.store.pool.connection() as connection:
            cursor = await connection.execute(
                "with gone as (delete from procrastinate_jobs where task_name = %s returning id, args) "
                "select args from gone order by id",
                (name,),
            )
            return [row[0] for row in await cursor.fetchall()]

    async def report(self) -> list[TenantId]:
        """Whose reports were put, by now or before; each is carried out."""
        await dispatch.put_due_reports(self.ctx)
        jobs = await self.jobs("report")
        for ids in jobs:
            try:
                await pipeline.report.run(self.ctx, ids["tenant"], campaign=ids["campaign"])
            except OptirelayError:
                async with self.ctx.store.tenant(ids["tenant"]).transaction() as ledger:
                    await pipeline.report.put(ledger, campaign=ids["campaign"])
        return [ids["tenant"] for ids in jobs]

    async def pass_by(self, time: timedelta, step: timedelta = HOUR) -> int:
        """Time passes, step by step; how many reports there were."""
        reports = 0
        for _ in range(-(-time // step)):
            self.clock.shift(step)
            reports += len(await self.report())
        return reports

    async def shape(self, tenant: TenantId) -> dict[str, Any]:
        """The campaign, as the operator sees it."""
        (shape,) = await operate.campaigns(self.ctx, tenant=tenant, campaign_id=CAMPAIGN)
        assert await operate.audit(self.ctx, tenant, shape) == []
        return shape

    async def doubt_of(self, tenant: TenantId, customer: str) -> str:
        """The sid of what is in doubt."""
        return next(str(d["sid"]) for d in await operate.doubts(self.ctx, tenant) if d["customer_id"] == customer)

    async def ledger(self, tenant: TenantId) -> list[tuple[str, int, int, str]]:
        """State, template, recipient group and customer of every message."""
        async with self.ctx.store.tenant(tenant).transaction() as ledger:
            cursor = await ledger.connection.execute(
                "select v.state, m.template_id, coalesce(m.recipient_group, 1), m.customer_id from message m "
                "join message_state v on v.tenant = m.tenant and v.planned_on = m.planned_on and v.id = m.id "
                "where m.tenant = %s",
                (self.ctx.store.number_of(tenant),),
            )
            return await cursor.fetchall()

    async def sql(self, statement: str, *values: Any) -> None:
        """Change the ledger behind everybody's back."""
        async with self.ctx.store.pool.connection() as connection:
            await connection.execute(statement, values)

    async def metrics(self, tenant: TenantId) -> dict[tuple[int, int], int]:
        """What a marketer sees: counts by template and metric."""
        (campaign,) = (await self.optimove[tenant].get("/_sim/state")).json()["campaigns"]
        return {(m["TemplateID"], m["MetricID"]): m["MetricValue"] for m in campaign["metrics"] if m["MetricValue"]}

    async def people(self, tenant: TenantId) -> Counter[tuple[str, int, int, str]]:
        """What a marketer sees: what was told of whom, by event, template and recipient group; as often as told."""
        seen: Counter[tuple[str, int, int, str]] = Counter()
        for body in await self.told(tenant, "interactions"):
            event = {0: "sent", 5: "dropped"}[body["EventID"]]
            seen.update((event, body["TemplateID"], body["RecipientGroupID"], c) for c in body["CustomerIDs"])
        for body in await self.told(tenant, "events"):
            for event in body:
                context = event["context"]
                group = context.get("recipient_group_id", 1)
                seen[event["event"], context["template_id"], group, event["customer"]] += 1
        return seen


@asynccontextmanager
async def open_tenants(database: str, folder: Path, **tenants: Mapping[str, Any]) -> AsyncIterator[Tenants]:
    """Tenants with these settings, each with its own key, token and host; `quirks` are those of its Optimove."""
    async with AsyncExitStack() as stack:
        clock = stack.enter_context(time_machine.travel(utc_now(), tick=True))
        optimove: dict[TenantId, httpx2.AsyncClient] = {}
        document: dict[str, Any] = {"service": {"database": database, "data_dir": str(folder)}, "tenants": {}}
        for place, (name, how) in enumerate(tenants.items()):
            known = {
                "id": 7001 + place,
                "key": f"{name}-key",
                "metrics_token": f"{name}-tökèn",
                "channels": {"504": "Mail"},
                "customers": how.get("customers", 0),
            }
            quirks = {"calls": "10000/1s", **how.get("quirks", {})}
            simulator = await stack.enter_async_context(Simulator(scenario={"tenants": [known], "quirks": quirks}))
            optimove[TenantId(name)] = await stack.enter_async_context(AsyncClientAt(simulator.url))
            document["tenants"][name] = {
                "api_url": simulator.url,
                "api_key": known["key"],
                "metrics_url": f"{simulator.url}/of/{name}/api/saveEvent",
                "metrics_token": known["metrics_token"],
                "listener_secret": LISTENER_SECRET,
                "rate_limit": "10000/1s",
                "channels": {"newsletter": _CHANNEL},
                **{key: value for key, value in how.items() if key not in ("quirks", "customers")},
            }
        settings = read(document, path=folder / "optirelay.toml")
        ctx = await stack.enter_async_context(runtime.open_context(settings, database))
        for tenant in optimove:
            await _push(ctx, tenant, (17, 18))
        yield Tenants(ctx, clock, optimove)


_CHANNEL = {"scheduled_id": 504, "provider": "null", "personalization": ["FIRST_NAME"], "expire_after": "30d"}


async def _push(ctx: Context, tenant: TenantId, template_ids: Sequence[int]) -> None:
    async with ctx.store.tenant(tenant).transaction() as ledger:
        for number in template_ids:
            content = TemplateContent("Hello", "<p>Hello</p>")
            await keep_template(ledger, NEWSLETTER, TemplateId(number), key=f"t{number}", name="x", content=content)
