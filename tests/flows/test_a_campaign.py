"""A campaign from its notification to its report."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from tests.conftest import MakeSettings
from tests.house import NOBODY_YET, House, open_house


async def sent_customers(house: House) -> list[str]:
    """Everybody whom Optimove was told of as sent, as often as it was told."""
    return [
        c
        for call in await house.sim("interactions")
        if call["body"]["EventID"] == 0
        for c in call["body"]["CustomerIDs"]
    ]


async def test_a_campaign_travels_from_its_notification_to_its_report(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17, 18, 19)
        campaign_id = await house.plan(templates=[17, 18, 19], send_at=["+0s", "+1s"], customers=3000)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.handed_over == 3000
        await house.until_reported(campaign_id)
        told = Counter(await sent_customers(house))
        assert len(told) == counts.accepted
        assert set(told.values()) == {1}
        metrics = {m["TemplateID"]: m["MetricValue"] for call in await house.sim("metrics") for m in call["body"]}
        assert sum(metrics.values()) == counts.accepted
        assert {m["MetricID"] for call in await house.sim("metrics") for m in call["body"]} == {0}


async def test_a_campaign_told_twice_is_sent_once(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=200)
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        first = await house.campaign(campaign_id)
        await house.fire(campaign_id)  # with a newer time stamp: its pages are read again
        await house.until(lambda: reads(house, 4))
        again = await house.until_state(campaign_id, "complete")
        assert (again.handed_over, again.accepted) == (first.handed_over, first.accepted)
        await house.until_reported(campaign_id)
        assert max(Counter(await sent_customers(house)).values()) == 1


async def reads(house: House, times: int) -> bool:
    calls = await house.sim("calls")
    return len([c for c in calls if c["call"] == "GetCustomerSendDetailsByChannel"]) >= times


async def test_pages_capped_below_what_was_asked_lose_nobody(make_settings: MakeSettings) -> None:
    scenario = {"quirks": {"page_cap": 70, "calls": "1000/10s"}}
    async with open_house(make_settings, scenario=scenario, tenant={"rate_limit": "1000/10s"}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=500)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.handed_over == 500


async def test_a_later_pass_adds_only_customers_that_are_new(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET) as house:
        await house.push(17)
        people = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "FIRST_NAME": "Ana"} for n in range(3)]
        await house.people(*people)
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        await house.notify(body_13(campaign_id, "2031-04-02 06:12:03"))
        await house.until(lambda: reads(house, 4))
        counts = await house.until_state(campaign_id, "complete")
        assert (counts.handed_over, counts.accepted) == (3, 3)


def body_13(campaign_id: str, time_stamp: str) -> bytes:
    return f'{{"EventTypeID":13,"TimeStamp":"{time_stamp}","CampaignID":{campaign_id},"ChannelID":504}}'.encode()


async def test_a_cancel_stops_what_has_not_left(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, channel={"rate": "100/s"}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=1000)
        await house.fire(campaign_id)

        async def some() -> bool:
            async with house.ctx.store.tenant("acme").transaction() as ledger:  # type: ignore[arg-type]
                return any(counts.accepted > 20 for counts in await ledger.campaigns.counts())

        await house.until(some)
        await house.cancel(campaign_id)
        counts = await house.until_state(campaign_id, "cancelled")
        skipped = sum(reasons.get("cancelled", 0) for reasons in counts.skipped)
        assert counts.handed_over == 1000
        assert 0 < counts.accepted < 500 < skipped
        await asyncio.sleep(0.5)
        assert (await house.campaign(campaign_id)).accepted == counts.accepted
        await house.until_reported(campaign_id)


async def test_a_cancel_that_comes_first_is_remembered(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        assert await house.notify(b'{"EventTypeID":4,"TimeStamp":"2031-04-02 07:02:13","CampaignID":90211}') == 200
        counts = await house.until_state("90211", "cancelled")
        assert await house.notify(body_13("90211", "2031-04-02 06:12:02")) == 200

        async def told() -> bool:
            return "told_after_cancel" in await house.problems()

        await house.until(told)
        counts = await house.campaign("90211")
        assert (counts.state, counts.handed_over) == ("cancelled", 0)
        assert not await reads(house, 1)


async def test_messages_of_an_unknown_template_wait_until_it_is_pushed(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(templates=[17, 18], customers=200)
        await house.fire(campaign_id)

        async def half() -> bool:
            return "unknown_template" in await house.problems() and (await house.campaign(campaign_id)).accepted > 0

        await house.until(half)
        assert (await house.campaign(campaign_id)).held > 0
        await house.push(18)
        counts = await house.until_state(campaign_id, "complete")
        assert sum(sum(reasons.values()) for reasons in counts.skipped) + counts.accepted == 200
        assert "unknown_template" not in await house.problems()


async def test_at_expiry_they_are_skipped(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, channel={"expire_after": "2s"}) as house:
        await house.push(17)
        campaign_id = await house.plan(templates=[17, 18], customers=200)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert sum(reasons.get("unknown_template", 0) for reasons in counts.skipped) > 80
        assert counts.accepted > 80


async def test_a_message_that_comes_too_late_expires(make_settings: MakeSettings) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=50, send_at=[long_ago])
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted == 0
        assert sum(reasons.get("expired", 0) for reasons in counts.skipped) > 40


async def test_only_those_named_by_only_to_are_written_to(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET, channel={"only_to": ["*@acme.example"]}) as house:
        await house.push(17)
        people = [{"customer_id": "in", "EMAIL": "Ana@Acme.example"}, {"customer_id": "out", "EMAIL": "bo@example.com"}]
        await house.people(*people)
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        assert (await house.message(campaign_id, "in")).state == "accepted"
        assert (await house.message(campaign_id, "out")).reason == "not_allowed"


async def test_rows_that_cannot_be_read_are_counted_and_stop_nobody(make_settings: MakeSettings) -> None:
    broken = [{"CustomerID": "C-1"}, "text", {"CustomerID": "C-2", "TemplateID": "x", "ScheduledTime": "soon"}, None]
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=100, rows=broken)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.handed_over == 104
        assert sum(reasons.get("unreadable", 0) for reasons in counts.skipped) == 4


async def test_two_workers_share_the_work_and_send_each_message_once(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=2, tenant={"page_size": 400}) as house:
        await house.push(17, 18)
        campaign_id = await house.plan(templates=[17, 18], customers=4000)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        await house.until_reported(campaign_id)
        told = Counter(await sent_customers(house))
        assert len(told) == counts.accepted
        assert set(told.values()) == {1}


async def test_the_rate_is_kept_over_all_workers(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=2, channel={"rate": "200/s"}, tenant={"page_size": 150}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=600)
        loop = asyncio.get_running_loop()
        await house.fire(campaign_id)
        started_at = loop.time()
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted / (loop.time() - started_at) < 205
