"""What is old enough goes, a few rows at a time, and nobody who looks or sends trips over it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio
import time_machine
from tests.by_hand import accepted, fetched, gather_all, sent
from tests.conftest import MakeSettings
from tests.events import called_back, sids_of
from tests.flows.test_opt_outs import states
from tests.house import ACME, NOBODY_YET, House, open_house
from tests.triggers import CAMPAIGN, TRIGGERED_ID, body

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import operate
from optirelay.engine.aging import every, forget_by_age
from optirelay.engine.dispatch import put_due_reports
from optirelay.model import Accepted, CampaignId, CustomerId, Doubtful, Refusal, Refused
from optirelay.store.looks import MessageRow

PEOPLE = [{"customer_id": n, "EMAIL": f"{n}@example.com", "FIRST_NAME": n} for n in "abc"]
CHANNEL = {"callback_secret": "c" * 32}


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel=CHANNEL) as opened:
        await opened.people(*PEOPLE)
        await opened.push(17)
        yield opened
        await opened.audit()


async def value(house: House, query: str) -> Any:
    async with house.ctx.store.pool.connection() as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    return None if row is None else row[0]


async def personal(house: House) -> int:
    """How many messages have an address, and whatever else is personal."""
    parts = (
        *("message where address is not null", "personalization", "attempt where detail <> ''"),
        "outcome where provider_id is not null",
    )
    return int(await value(house, f"select {' + '.join(f'(select count(*) from {part})' for part in parts)}"))


async def requests(house: House) -> tuple[int, int]:
    """How many requests are known, and how many of them with what they said."""
    query = "select {} from (select body from notification union all select body from callback) r"
    return await value(house, query.format("count(*)")), await value(house, query.format("count(nullif(body, ''))"))


async def reported(house: House, *campaigns: str) -> None:
    """Optimove was told of them for the last time."""
    with time_machine.travel(utc_now() + timedelta(days=8)):
        await put_due_reports(house.ctx)
        for campaign_id in campaigns:
            await pipeline.report.run(house.ctx, ACME, campaign=(await house.campaign(campaign_id)).id)


async def test_what_is_personal_goes_after_a_while_and_counts_and_states_stay(house: House) -> None:
    first = await sent(house, Accepted("a provider's id"))
    refused = await sent(house, Refused(Refusal.REJECTED, "550 no box a@example.com"))
    await sent(house, Doubtful("cut off"))
    await called_back(house, {"id": (await sids_of(house, first))["a"], "event": "delivered"})
    await fetched(house, send_at=["+3000000s"])
    before, personal_before = await operate.campaigns(house.ctx), await personal(house)
    kept = await requests(house)
    await forget_by_age(house.ctx)
    assert (await personal(house), await requests(house)) == (personal_before, kept)

    async with house.ctx.store.tenant(ACME).transaction() as held:  # somebody is at one of them: it is not waited for
        await held.connection.execute("select from batch where campaign = 2 for update")
        with time_machine.travel(utc_now() + timedelta(days=31)):
            await forget_by_age(house.ctx)
        assert await value(house, "select array_agg(campaign order by campaign) from batch where not forgotten") == [
            2,
            3,
            4,
        ]
    with time_machine.travel(utc_now() + timedelta(days=31)):
        await forget_by_age(house.ctx)
    assert await value(house, "select array_agg(campaign order by campaign) from batch where not forgotten") == [3, 4]
    assert await value(house, "select array_agg(distinct campaign) from message where address is not null") == [3, 4]
    assert await personal(house) == 3 * 2 + 3 * 2 + 3  # what is in doubt, with why, and what is not sent yet
    assert await requests(house) == (0, 0)
    assert await operate.campaigns(house.ctx) == before
    [shape] = await operate.messages(house.ctx, "acme", refused, "a")
    assert (shape["state"], shape["attempts"][0]["outcome"], shape["attempts"][0]["detail"]) == (
        "refused",
        "rejected",
        "",
    )
    rows = [row async for row in operate.export(house.ctx, "acme", first, "newsletter", addresses=True)]
    assert [row[operate.EXPORT_COLUMNS.index("customer_id")] for row in rows] == ["a", "b", "c"]
    assert {row["to"] for row in await operate.doubts(house.ctx)} == {f"{name}…@example.com" for name in "abc"}


async def test_a_request_is_known_by_its_key_for_seven_days_also_where_what_it_says_goes_sooner(
    make_settings: MakeSettings,
) -> None:
    async with open_house(
        make_settings, scenario=NOBODY_YET, workers=0, channel=CHANNEL, service={"keep_personal": "1d"}
    ) as house:
        await house.people(*PEOPLE)
        await house.push(17)
        sids = await sids_of(house, await sent(house))
        await called_back(house, {"id": sids["a"], "event": "delivered"})
        known, _ = await requests(house)
        with time_machine.travel(utc_now() + timedelta(days=2)):
            await forget_by_age(house.ctx)
        assert await requests(house) == (known, 0)
        await called_back(house, {"id": sids["a"], "event": "delivered"})
        assert await requests(house) == (known, 0)
        with time_machine.travel(utc_now() + timedelta(days=8)):
            await forget_by_age(house.ctx)
        assert await requests(house) == (0, 0)


async def test_whole_campaigns_go_and_nobody_sees_half_of_one(house: House) -> None:
    gone = await sent(house)
    await called_back(house, {"id": (await sids_of(house, gone))["a"], "event": "delivered"})
    doubtful = await sent(house, Doubtful("cut off"))
    await reported(house, gone, doubtful)
    untold = await sent(house)
    with time_machine.travel(utc_now() + timedelta(days=401)):
        async with house.ctx.store.transaction() as everyone:  # then the worker ends
            assert await everyone.aging.let_campaigns_go(utc_now() - timedelta(days=400)) == 1
        assert [shape["campaign_id"] for shape in await operate.campaigns(house.ctx)] == [doubtful, untold]
        async with house.ctx.store.transaction() as everyone:
            assert await everyone.aging.drop_batches() == 1
        await house.audit()
        assert await operate.messages(house.ctx, "acme", gone, "a") == []
        await forget_by_age(house.ctx)
    assert [shape["campaign_id"] for shape in await operate.campaigns(house.ctx)] == [doubtful, untold]
    left = {
        table: await value(house, f"select count(*) from {table}")
        for table in ("campaign", "pass", "batch", "message", "outcome", "event", "delivery_event", "counted_event")
    }
    assert left == {"campaign": 2, "pass": 2, "batch": 2, "message": 6, "outcome": 6, "event": 0, "delivery_event": 0,
                    "counted_event": 0}  # fmt: skip
    assert await value(house, "select count(*) from page g where not exists (select from pass where id = g.pass)") == 0
    assert (
        await value(house, "select count(*) from report_batch r where campaign not in (select id from campaign)") == 0
    )


async def test_a_worker_forgets_beside_its_other_work_and_one_is_enough(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=2, service={"keep_personal": "1s"}) as house:
        await house.push(17)
        for _ in range(2):
            campaign_id = await house.plan()
            await house.fire(campaign_id)
            counts = await house.until_state(campaign_id, "complete")
            assert counts.total == 5000

        async def forgotten() -> bool:
            return await personal(house) == 0

        await house.until(forgotten)


def test_it_is_looked_for_often_enough() -> None:
    assert every(timedelta(days=30)) == timedelta(hours=1)
    assert every(timedelta(minutes=10)) == timedelta(minutes=1)
    assert every(timedelta(seconds=1)) == timedelta(seconds=1)


async def test_somebody_whose_erasure_has_only_begun_is_no_new_recipient_when_they_come_again(
    make_settings: MakeSettings,
) -> None:
    triggered = {"triggered_id": TRIGGERED_ID, **CHANNEL}
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, channel=triggered) as house:
        await house.people(*PEOPLE)
        await house.push(17)
        scheduled = await sent(house)
        told = body(customerID="a", personalization={"EMAIL": "a@example.com", "FIRST_NAME": "a"})
        assert await house.notify(told) == 200
        await pipeline.accept(house.ctx)
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            erased = (await ledger.forgetting.remember(CustomerId("a"))).customer_id

        await accepted(house, await house.fire(scheduled))
        await gather_all(house)
        assert await states(house, scheduled) == {erased: "accepted", "b": "accepted", "c": "accepted"}
        assert await house.notify(told + b" ") == 200
        await pipeline.accept(house.ctx)
        assert [row.customer_id for row in await messages_of(house, CAMPAIGN, erased)] == [erased]
        assert (
            await value(house, "select count(*) from notification where body <> '' and position('\"a\"' in body) > 0")
            == 1
        )

        did = await operate.erase(house.ctx, "acme", "a")
        assert (did.messages, did.skipped, did.notifications) == (2, 1, 1)
        assert [row.customer_id for row in await messages_of(house, CAMPAIGN, CustomerId("a"))] == [erased]
        await house.audit()


async def test_an_address_that_is_told_of_while_its_person_is_erased_is_suppressed_by_its_hash_alone(
    house: House,
) -> None:
    campaign_id = await sent(house)
    sid = (await sids_of(house, campaign_id))["a"]
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        erased = (await ledger.forgetting.remember(CustomerId("a"))).customer_id
        days = await ledger.forgetting.campaigns_of(CustomerId("a"))
        assert await ledger.forgetting.rename(days, {CustomerId("a"): erased}) == 1  # its address is still there
    await called_back(house, {"event_id": "e", "id": sid, "event": "bounced", "permanent": True})
    (row,) = await operate.suppressions(house.ctx, "acme", None, addresses=True)
    assert row["address"].startswith("erased:")
    assert await operate.unsuppress(house.ctx, "acme", "a@example.com", None) == ["newsletter"]


async def messages_of(house: House, campaign_id: str, customer_id: CustomerId) -> list[MessageRow]:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        return await ledger.looks.messages(CampaignId(campaign_id), customer_id, None)
