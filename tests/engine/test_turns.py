"""Optimove's budget of a key: exact over all workers, in fair parts, and without harm where Optimove refuses calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import pytest
from tests.conftest import MakeSettings
from tests.house import ACME, SOON, AsyncClientAt, House, open_house

from optirelay import pipeline
from optirelay.engine import runtime
from optirelay.engine.context import Context, ask
from optirelay.engine.ending import end
from optirelay.engine.turns import TooManyCalls, Turns
from optirelay.errors import TryLater
from optirelay.model import TenantId
from optirelay.optimove import (
    CampaignMetric,
    get_channel_templates,
    get_customer_send_details_by_channel,
    update_campaign_metrics,
)
from optirelay.simulator import Simulator

BRAVO = TenantId("bravo")
TEMPLATES = get_channel_templates(504)
TOTALS = update_campaign_metrics([CampaignMetric(90211, 504, 17, 0, 5)])


@asynccontextmanager
async def house_with(make_settings: MakeSettings, rate: str) -> AsyncIterator[House]:
    """No worker; our budget and Optimove's are the same."""
    async with open_house(make_settings, workers=0, tenant={"rate_limit": rate}) as house:
        assert (await house.optimove.post("/_sim/quirks", json={"calls": rate})).status_code == 200
        yield house


async def statuses(house: House) -> list[int]:
    return [call["status"] for call in await house.sim("calls")]


async def change(house: House, statement: Any) -> None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.connection.execute(statement)


async def test_two_processes_with_one_key_get_no_call_refused(make_settings: MakeSettings) -> None:
    async with (
        house_with(make_settings, "10/1s") as house,
        runtime.open_context(house.ctx.settings, house.ctx.settings.service.database) as other,
    ):
        await asyncio.gather(*(ask(ctx, ACME, TEMPLATES) for ctx in (house.ctx, other) for _ in range(20)))
        assert await statuses(house) == [200] * 40


async def test_two_workers_read_and_report_several_campaigns_within_the_budget(make_settings: MakeSettings) -> None:
    tenant = {"rate_limit": "20/1s", "page_size": 1}
    async with open_house(make_settings, workers=2, tenant=tenant) as house:
        await house.optimove.post("/_sim/quirks", json={"calls": "20/1s"})
        await house.push(17)
        campaigns = [await house.plan(customers=15) for _ in range(3)]
        for campaign_id in campaigns:
            await house.fire(campaign_id)
        for campaign_id in campaigns:
            assert (await house.until_state(campaign_id, "complete")).handed_over == 15
            await house.until_reported(campaign_id)
        assert set(await statuses(house)) == {200}
        assert await house.problems() == set()


async def test_a_report_is_next_however_many_want_pages(make_settings: MakeSettings) -> None:
    async with house_with(make_settings, "10/1s") as house:
        places = count()

        async def read() -> None:
            while True:
                call = get_customer_send_details_by_channel(
                    campaign_id=90211, channel_id=504, attributes=(), skip=next(places), top=1
                )
                await ask(house.ctx, ACME, call)

        reading = [asyncio.create_task(read()) for _ in range(30)]
        try:
            for number in range(1, 4):

                async def full(made: int = 10 * number) -> bool:
                    return len(await house.sim("calls")) >= made

                await house.until(full)
                before = len(await house.sim("calls"))
                await ask(house.ctx, ACME, TOTALS)
                names = [call["call"] for call in await house.sim("calls")]
                assert "UpdateCampaignMetrics" in names[before : before + 10]
        finally:
            await end(reading)
        assert 429 not in await statuses(house)


async def test_refused_calls_pause_every_worker_and_one_tries_for_all(make_settings: MakeSettings) -> None:
    async with (
        house_with(make_settings, "100/1s") as house,
        runtime.open_context(house.ctx.settings, house.ctx.settings.service.database) as other,
    ):
        await house.fault("GetChannelTemplates", "rate_limited", times=2)
        first = asyncio.create_task(ask(house.ctx, ACME, TEMPLATES))

        async def refused() -> bool:
            return 429 in await statuses(house)

        await house.until(refused)
        await asyncio.gather(first, *(ask(other, ACME, TEMPLATES) for _ in range(5)))
        assert await statuses(house) == [429, 429] + [200] * 6
        assert await house.problems() == set()


async def test_refused_calls_are_told_only_where_that_lasts(make_settings: MakeSettings) -> None:
    async with house_with(make_settings, "100/1s") as house:
        turns = Turns(house.ctx.store.tenant(ACME), house.ctx.settings.tenants[ACME].rate_limit, TEMPLATES.name)
        number = await turns.next()
        await turns.refused(number, TooManyCalls("Optimove has had too many calls"))
        assert await house.problems() == set()
        await change(house, "update budget set refused_since = refused_since - interval '1 minute'")
        await turns.refused(number, TooManyCalls("Optimove has had too many calls"))
        assert await house.problems() == {"optimove_silent"}
        await ask(house.ctx, ACME, TEMPLATES)
        assert await house.problems() == set()


async def test_a_long_pause_is_not_waited_for(make_settings: MakeSettings) -> None:
    async with house_with(make_settings, "100/1s") as house:
        await ask(house.ctx, ACME, TEMPLATES)
        await change(house, "update budget set refusals = 1, waits_until = clock_timestamp() + interval '1 hour'")
        with pytest.raises(TryLater) as caught:
            await ask(house.ctx, ACME, TEMPLATES)
        assert caught.value.after is not None
        assert 3500 < caught.value.after.total_seconds() <= 3600
        assert await statuses(house) == [200]


async def test_who_died_while_waiting_or_calling_holds_nobody_up(make_settings: MakeSettings) -> None:
    async with house_with(make_settings, "1/1s") as house:
        await change(
            house,
            "insert into key_call (tenant, share, seen_at, made_at) select id, 'other', at, made from tenant, (values "
            "(clock_timestamp() - interval '6 s', null), (clock_timestamp(), clock_timestamp() - interval '62 s')) "
            "as dead (at, made)",
        )
        await ask(house.ctx, ACME, TEMPLATES)
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            cursor = await ledger.connection.execute("select count(*) from key_call")
            assert await cursor.fetchone() == (1,)


@asynccontextmanager
async def two_tenants(
    make_settings: MakeSettings, rate: str
) -> AsyncIterator[tuple[Context, httpx2.AsyncClient, httpx2.AsyncClient]]:
    """Each with an Optimove of its own: how to speak to that of acme, which has this rate, and to that of bravo."""
    async with AsyncExitStack() as stack:
        settings, clients = [], []
        for rate_limit in (rate, "1000/1s"):
            simulator = await stack.enter_async_context(Simulator("127.0.0.1:0"))
            clients.append(await stack.enter_async_context(AsyncClientAt(simulator.url)))
            settings.append(make_settings(tenant={"api_url": simulator.url, "rate_limit": rate_limit}))
        acme, bravo = (each.tenants[ACME] for each in settings)
        both = settings[0].model_copy(update={"tenants": {ACME: acme, BRAVO: bravo}})
        ctx = await stack.enter_async_context(runtime.open_context(both, both.service.database))
        yield ctx, clients[0], clients[1]


async def test_a_tenant_without_calls_left_slows_no_other(make_settings: MakeSettings) -> None:
    async with two_tenants(make_settings, "3/100s") as (ctx, acme, _):
        for _ in range(3):
            await ask(ctx, ACME, TEMPLATES)
        with pytest.raises(TryLater, match="no calls left"):
            await ask(ctx, ACME, TEMPLATES)
        await asyncio.gather(*(ask(ctx, BRAVO, TEMPLATES) for _ in range(5)))
        assert len((await acme.get("/_sim/calls")).json()) == 3


async def test_a_tenant_with_a_slow_optimove_slows_no_other(make_settings: MakeSettings) -> None:
    async with two_tenants(make_settings, "1000/1s") as (ctx, acme, bravo):
        slow = {"call": "GetRegisteredEventListeners", "fault": "slow", "times": 50, "seconds": 1}
        assert (await acme.post("/_sim/faults", json=slow)).status_code == 200
        for tenant in (*[ACME] * 30, BRAVO):
            async with ctx.store.tenant(tenant).transaction() as ledger:
                await pipeline.sync.put(ledger)
        stop = asyncio.Event()
        working = asyncio.create_task(runtime.work(ctx.settings, ctx.settings.service.database, stop))
        try:
            async with asyncio.timeout(SOON):
                while not (await bravo.get("/_sim/listeners")).json():
                    await asyncio.sleep(0.05)
            assert len((await acme.get("/_sim/calls")).json()) < 15
        finally:
            stop.set()
            await working
