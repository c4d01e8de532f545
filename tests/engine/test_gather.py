"""From notifications to rows in the ledger, step by step: who announced it, what of its pages moves or never ends."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.by_hand import accepted, announced, fetched, gather_all
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay import pipeline
from optirelay.engine import operate

CALL = "GetCustomerSendDetailsByChannel"
CHANNEL = {"kind": "email", "provider": "null"}
TWO_CHANNELS = {
    "newsletter": CHANNEL | {"scheduled_id": 504, "personalization": ["FIRST_NAME"]},
    "offers": CHANNEL | {"scheduled_id": 604},
    "now": CHANNEL | {"triggered_id": 605},
}


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    tenant = {"listen_also": [1, 2, 3, 5], "channels": TWO_CHANNELS, "rate_limit": "1000/s"}
    channels = {"504": "News", "604": "Offers", "605": "Now"}
    optimove = {"id": 7001, "key": "demo-key", "channels": channels, "customers": 5000}
    scenario = {"tenants": [optimove], "quirks": {"calls": "1000/1s"}}
    async with open_house(make_settings, workers=0, tenant=tenant, scenario=scenario) as opened:
        await opened.push(17)
        yield opened
        await opened.audit()


async def tell(house: House, event_type: int, campaign_id: str, at: str = "06:12:02", **more: Any) -> None:
    """A notification of our own, accepted, and all that it asks for gathered."""
    fields = {"EventTypeID": event_type, "CampaignID": campaign_id, "TimeStamp": f"2031-04-02 {at}", **more}
    body = "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}"
    assert await house.notify(body.encode()) == 200
    await accepted(house)
    await gather_all(house)


async def shown(house: House) -> dict[str, tuple[str, int]]:
    """The campaigns that an operator sees, by channel: state and how many were handed over."""
    return {shape["channel"]: (shape["state"], shape["handed_over"]) for shape in await operate.campaigns(house.ctx)}


async def reads(house: House) -> int:
    return len([call for call in await house.sim("calls") if call["call"] == CALL])


async def quirks(house: House, **changed: Any) -> None:
    assert (await house.optimove.post("/_sim/quirks", json=changed)).status_code == 200


async def number(house: House, sql: str) -> int:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        row = await (await ledger.connection.execute(sql)).fetchone()
    assert row is not None
    return int(row[0])


# --- who announced it -------------------------------------------------------------------------------------------------


async def test_a_1_reads_every_scheduled_channel_and_is_no_campaign_where_there_are_no_rows(house: House) -> None:
    campaign_id = await announced(house, customers=30, events=[1])
    assert await shown(house) == {}
    await gather_all(house)
    assert await shown(house) == {"newsletter": ("sending", 30)}
    assert await number(house, "select count(*) from campaign where channel = 'offers' and state = 'complete'") == 1
    assert await number(house, "select count(*) from procrastinate_jobs where task_name = 'report'") == 0
    await tell(house, 13, campaign_id, ChannelID=604)
    assert await shown(house) == {"newsletter": ("sending", 30), "offers": ("complete", 0)}


async def test_a_1_and_a_13_in_any_order_with_any_time_stamp_double_nobody(house: House) -> None:
    campaign_id = await fetched(house, customers=30, events=[13, 1])
    for event_type, at in ((1, "06:12:02"), (13, "06:12:02"), (1, "01:00:00"), (13, "06:12:02Z"), (13, "23:00:00")):
        await tell(house, event_type, campaign_id, at, ChannelID=504)
    assert await shown(house) == {"newsletter": ("sending", 30)}
    assert await number(house, "select count(*) from message") == 30
    occasions = "select count(*) from pass join campaign c on c.id = pass.campaign where c.channel = 'newsletter'"
    assert await number(house, occasions) == 6  # both as fired, and of ours each but the one in another spelling


async def test_what_a_1_found_too_early_the_13_of_the_same_time_stamp_finds(house: House) -> None:
    campaign_id = await house.plan(customers=30)
    await tell(house, 1, campaign_id)
    assert await shown(house) == {}
    await house.fire(campaign_id, events=[])
    await tell(house, 13, campaign_id, ChannelID=504)
    assert await shown(house) == {"newsletter": ("sending", 30)}


async def test_on_hold_and_at_the_end_of_the_day_nothing_is_fetched(house: House) -> None:
    await announced(house, customers=30, events=[2, 3, 5])
    assert await number(house, "select count(*) from notification where state = 'done'") == 3
    assert (await reads(house), await shown(house), await house.problems()) == (0, {}, set())
    ok = [(row["event_type"], row["channel_id"]) for row in await operate.listeners(house.ctx) if row["state"] == "ok"]
    assert ok == [(13, 504), (13, 604), (11, 605), (4, None), (1, None), (2, None), (3, None), (5, None)]


async def test_a_cancel_before_its_campaign_is_remembered_on_every_channel(house: House) -> None:
    campaign_id = await house.plan(customers=30)
    await house.fire(campaign_id, events=[])
    await tell(house, 4, campaign_id, "09:00:00")
    cancelled = {"newsletter": ("cancelled", 0), "offers": ("cancelled", 0)}
    assert await shown(house) == cancelled
    await tell(house, 1, campaign_id, "06:00:00")
    assert [row["channel"] for row in await operate.problems(house.ctx)] == [None]
    await tell(house, 13, campaign_id, "06:00:00", ChannelID=604)
    assert [row["channel"] for row in await operate.problems(house.ctx)] == [None, "offers"]
    assert (await shown(house), await reads(house), await house.problems()) == (cancelled, 0, {"told_after_cancel"})


async def test_a_cancel_of_what_only_a_1_named_is_shown(house: House) -> None:
    campaign_id = await house.plan(customers=30)
    await tell(house, 1, campaign_id)
    await tell(house, 4, campaign_id)
    assert await shown(house) == {"newsletter": ("cancelled", 0), "offers": ("cancelled", 0)}


async def test_a_cancel_counts_on_channels_that_are_heard_of_later(house: House) -> None:
    campaign_id = await fetched(house, customers=30)
    await tell(house, 4, campaign_id)
    before = await reads(house)
    await tell(house, 13, campaign_id, ChannelID=604)
    await tell(house, 1, campaign_id)
    assert (await reads(house), await house.problems()) == (before, {"told_after_cancel"})
    assert (await shown(house))["newsletter"] == ("cancelled", 30)


# --- pages that move or never end -------------------------------------------------------------------------------------


async def test_rows_that_shift_while_they_are_read_lose_and_double_nobody(house: House) -> None:
    await quirks(house, paging="shifting", page_cap=20)
    campaign_id = await fetched(house, customers=95)
    assert (await house.campaign(campaign_id)).handed_over == 95
    assert await number(house, "select count(distinct customer_id) from message") == 95
    assert await number(house, "select reading from pass") == 3
    assert await house.problems() == set()


async def test_the_same_page_for_ever_ends_is_told_and_doubles_nobody(house: House) -> None:
    await quirks(house, paging="endless", page_cap=20)
    campaign_id = await fetched(house, customers=50)
    assert await reads(house) == 6  # thrice the same is enough, and once more from the start
    assert await shown(house) == {"newsletter": ("sending", 20)}
    (problem,) = await operate.problems(house.ctx)
    assert (problem["kind"], problem["campaign_id"]) == ("batch_set_aside", campaign_id)
    assert "$skip" in problem["mend"]
    await tell(house, 13, campaign_id, "07:00:00", ChannelID=504)
    assert await reads(house) == 9
    await quirks(house, paging="stable")
    await tell(house, 13, campaign_id, "08:00:00", ChannelID=504)
    assert await shown(house) == {"newsletter": ("sending", 50)}
    assert await house.problems() == set()


async def test_pages_that_begin_anew_past_the_end_end_all_the_same(house: House) -> None:
    await quirks(house, paging="wrapping", page_cap=7)
    campaign_id = await fetched(house, customers=20)
    assert (await house.campaign(campaign_id)).handed_over == 20
    assert await reads(house) < 40
    assert await house.problems() == {"batch_set_aside"}


async def test_a_reading_that_was_cut_off_goes_on_where_it_was(house: House) -> None:
    await quirks(house, page_cap=20)
    campaign_id = await announced(house, customers=50)
    (pass_,) = [await number(house, "select id from pass")]
    await pipeline.gather.run(house.ctx, ACME, pass_=pass_, skip=0)
    for skip in (0, 20, 20):  # whoever died before it said so is asked again
        await pipeline.gather.run(house.ctx, ACME, pass_=pass_, skip=skip)
    assert (await shown(house), await reads(house)) == ({"newsletter": ("fetching", 40)}, 2)
    await gather_all(house)
    assert (await house.campaign(campaign_id)).handed_over == 50


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_recipient_groups_are_kept_and_the_control_group_is_never_planned(house: House) -> None:
    await quirks(house, control_group="rows", recipient_groups="rows", ids="strings")
    campaign_id = await fetched(house, customers=100)
    (skipped,) = [row for row in (await house.campaign(campaign_id)).skipped if row]
    assert skipped["control_group"] == 10
    assert await number(house, "select count(*) from message where recipient_group = 2") == 50
    assert await number(house, "select count(*) from message where recipient_group is null") == 50
    addresses = "select count(address) from message join outcome o on o.message = id and o.reason = 'control_group'"
    assert await number(house, addresses) == 0


async def test_rows_that_have_no_room_in_the_ledger_stop_nobody(house: House) -> None:
    usual = {"CustomerID": "C-1", "TemplateID": 17, "ScheduledTime": "2031-04-02 10:00:00"}
    address = "ana@example.com"
    odd: list[dict[str, Any]] = [
        {"CustomerAttributes": [address, "x" * 2 * 2**20]},
        {"CustomerAttributes": ["x" * 2 * 2**20, "Ana"]},
        {"CustomerID": "x" * 2 * 2**20},
        {"TemplateID": 2**31},
        {"ScheduledTime": "9999-12-31 23:59:59"},
        {"RecipientGroupID": 2**40, "CustomerAttributes": [address, "Ana"]},
    ]
    campaign_id = await fetched(house, customers=30, rows=[usual | row for row in odd])
    counts = await house.campaign(campaign_id)
    assert counts.handed_over == 36
    assert sum(row.get("unreadable", 0) for row in counts.skipped) == 5
    assert (await house.message(campaign_id, "C-1")).state == "planned"


async def test_a_template_keeps_its_version_for_what_was_planned_before_it_changed(house: House) -> None:
    old = await fetched(house, customers=5)
    await house.push(17, html="<p>Now for {{ FIRST_NAME }}</p>")
    new = await fetched(house, customers=5)
    versions = "select max(template_version) from batch join campaign c on c.id = campaign where c.campaign_id = '{}'"
    assert [await number(house, versions.format(campaign_id)) for campaign_id in (old, new)] == [1, 2]
