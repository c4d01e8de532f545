"""A customer meets a trigger: one notification is one message, at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.channels.webhook_receivers import Receiver
from tests.conftest import MakeSettings
from tests.house import ACME, House
from tests.triggers import CAMPAIGN, HTML, STAMP, body, open_triggered, shape_of, told, until_handed_over

from optirelay.engine import operate

PASCAL = {
    "EventTypeID": "11",
    "TimeStamp": "2031-04-02T12:44:09Z",
    "CustomerID": "C-004711",
    "CampaignID": 58831,
    "ActionID": "214",
    "ChannelID": "604",
    "TemplateID": "17",
    "PromoCode": "LOAN5",
    "first_name": "Ana",
    "Email": "ana@example.com",
    "PAGE_TITLE": "Loans",
    "visits": 3,
}
"""The same message in the other spelling, its parameters beside it."""


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().running() as running:
        yield running


def arrived(receiver: Receiver) -> list[dict[str, Any]]:
    return [message for request in receiver.posts for message in request.messages()]


async def test_what_a_trigger_told_arrives_at_once_and_once(make_settings: MakeSettings, receiver: Receiver) -> None:
    async with open_triggered(make_settings, receiver) as house:
        again = json.dumps(PASCAL).encode()
        a_minute_later = body(timeStamp="2031-04-02 12:45:09")
        await told(house, body(), body(), again, a_minute_later)
        shape = await until_handed_over(house, 2)
        assert (shape["state"], shape["accepted"], shape["templates"]) == ("complete", 2, {"17": {"accepted": 2}})
        first, second = arrived(receiver)
        assert {
            name: first[name] for name in ("campaign_id", "trigger", "action_id", "customer_id", "template_id")
        } == {
            "campaign_id": CAMPAIGN,
            "trigger": "Viewed loans page three times",
            "action_id": "214",
            "customer_id": "C-004711",
            "template_id": 17,
        }
        assert (first["to"], first["promo_codes"]) == ("ana@example.com", ["LOAN5"])
        assert first["personalization"] == {"FIRST_NAME": "Ana", "EMAIL": "ana@example.com", "page_title": "Loans"}
        assert first["html"] == second["html"] == "<p>Hello Ana, Loans: LOAN5</p>"
        received = await rows(house, "select sum(received)::int, sum(new)::int, sum(known)::int from page")
        assert received == [(3, 2, 1)]  # the same bytes are no second notification


async def test_names_do_not_go_by_case_and_stand_inside_or_beside(
    make_settings: MakeSettings, receiver: Receiver
) -> None:
    async with open_triggered(make_settings, receiver) as house:
        both = {**PASCAL, "personalization": {"PAGE_Title": "Cars", "Email": " NULL ", "first_name": ""}}
        await told(house, json.dumps(both).encode())
        await until_handed_over(house, 1)
        (message,) = arrived(receiver)
        assert (message["html"], message["trigger"]) == ("<p>Hello Ana, Cars: LOAN5</p>", None)
        assert message["personalization"] == {
            "first_name": "Ana",
            "Email": "ana@example.com",
            "visits": "3",
            "PAGE_Title": "Cars",
        }


async def test_who_cannot_be_written_to_is_skipped_for_it(make_settings: MakeSettings, receiver: Receiver) -> None:
    async with open_triggered(make_settings, receiver, only_to=["*@example.com"]) as house:
        nobody: dict[str, Any] = {"customerID": None, "personalization": {"FIRST_NAME": "Ana"}}
        await told(
            house,
            body(customerID="no-address", personalization={"FIRST_NAME": "Ana", "EMAIL": "NULL"}),
            body(customerID="bad-address", personalization={"EMAIL": "ana at example"}),
            body(customerID="not-allowed", personalization={"EMAIL": "ana@example.org"}),
            body(customerID="control", actionID=1),
            body(**nobody),
            body(customerID="unreadable", templateID="seventeen"),
            body(customerID="unreadable", templateID=17, triggerName="\0"),
            body(customerID=None),  # an anonymous visitor whose address comes along
            body(customerID=None, timeStamp="2031-04-02T12:44:09"),  # and comes again
        )
        shape = await until_handed_over(house, 8)
        assert (shape["accepted"], shape["skipped"]) == (
            1,
            {
                "bad_address": 1,
                "control_group": 1,
                "no_address": 1,
                "no_customer": 1,
                "not_allowed": 1,
                "unreadable": 2,
            },
        )
        (message,) = arrived(receiver)
        assert (message["customer_id"], message["to"]) == (None, "ana@example.com")
        assert await house.problems() == {"unreadable_notification"}


async def test_a_notification_that_is_nobodys_is_kept_and_told(make_settings: MakeSettings, receiver: Receiver) -> None:
    async with open_triggered(make_settings, receiver) as house:
        await told(house, body(channelID=504), body(campaignID=None), body(channelID=None))

        async def both_told() -> bool:
            return await house.problems() == {"unknown_channel_id", "unreadable_notification"}

        await house.until(both_told)
        await operate.sync_listeners(house.ctx)
        assert await both_told()  # 504 is another kind of channel id: a listener of it mends nothing

        async def all_read() -> bool:
            return await rows(house, "select count(*)::int from notification where state = 'done'") == [(3,)]

        await house.until(all_read)
        assert (await operate.campaigns(house.ctx), receiver.posts) == ([], [])


async def test_a_template_that_is_not_ours_yet_is_waited_for(make_settings: MakeSettings, receiver: Receiver) -> None:
    async with open_triggered(make_settings, receiver) as house:
        await told(house, body(templateID=18), body(customerID="C-2"))

        async def one_went() -> bool:
            shape = await shape_of(house)
            return bool(shape) and (shape["accepted"], shape["planned"], shape["state"]) == (1, 1, "held")

        await house.until(one_went)
        assert await house.problems() == {"unknown_template"}
        await house.push(18, html=HTML)
        assert (await until_handed_over(house, 2))["accepted"] == 2


async def test_nobody_who_said_no_is_written_to_and_nothing_of_a_cancelled_campaign_leaves(
    make_settings: MakeSettings, receiver: Receiver
) -> None:
    async with open_triggered(make_settings, receiver, callback_secret="callback-secret") as house:
        await told(house, body(), body(customerID="C-2", personalization={"EMAIL": "Bea@example.com"}))
        await until_handed_over(house, 2)
        await operate.suppress(house.ctx, "acme", "bea@example.com", "newsletter", "asked by phone")
        ana = next(message for message in arrived(receiver) if message["customer_id"] == "C-004711")
        await unsubscribed(house, ana["unsubscribe_url"])
        later = {"timeStamp": "2031-04-02 13:00:00"}
        await told(house, body(**later), body(customerID="C-2", personalization={"EMAIL": "bea@example.com"}, **later))
        shape = await until_handed_over(house, 4)
        assert (shape["accepted"], shape["skipped"]) == (2, {"opted_out": 1, "suppressed": 1})
        cancel = json.dumps({"EventTypeID": 4, "TimeStamp": STAMP, "CampaignID": 58831}).encode()
        await told(house, cancel)

        async def cancelled() -> bool:
            return bool((await shape_of(house))["state"] == "cancelled")

        await house.until(cancelled)
        await told(house, body(customerID="C-3"), body(customerID="C-4", timeStamp="2031-04-03 09:00:00"))
        assert (await until_handed_over(house, 6))["skipped"]["cancelled"] == 2
        assert len(arrived(receiver)) == 2


async def test_a_rate_is_shared_and_a_trigger_is_not_behind_a_large_campaign(
    make_settings: MakeSettings, receiver: Receiver
) -> None:
    async with open_triggered(make_settings, receiver, rate="40/s") as house:
        campaign_id = await house.plan(customers=400)
        await house.fire(campaign_id)

        async def some(number: int) -> bool:
            return len(arrived(receiver)) >= number

        await house.until(lambda: some(20))
        before = len(arrived(receiver))
        await told(house, *(body(customerID=f"T-{n}") for n in range(80)))
        await until_handed_over(house, 80)
        after = [message["customer_id"].startswith("T-") for message in arrived(receiver)[before:]]
        assert after.index(True) < 40  # within a second of the rate, and not behind 350
        last = len(after) - after[::-1].index(True)
        assert sum(not fired for fired in after[:last]) >= 35  # others had their part


async def test_a_worker_that_is_told_to_end_hands_over_what_it_started(
    make_settings: MakeSettings, receiver: Receiver
) -> None:
    receiver.answers_after = 0.02
    async with open_triggered(make_settings, receiver, workers=2) as house:
        for number in range(0, 300, 20):
            await asyncio.gather(*(told(house, body(customerID=f"C-{n}")) for n in range(number, number + 20)))
            if number == 100:
                house.stops[0].set()
        shape = await until_handed_over(house, 300)
        assert (shape["accepted"], shape["in_doubt"]) == (300, 0)
        assert len({message["id"] for message in arrived(receiver)}) == len(arrived(receiver)) == 300


async def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(query.encode())
        return list(await cursor.fetchall())


async def unsubscribed(house: House, link: str) -> None:
    token = link.rpartition("/")[2]
    answer = await house.optimove.post(f"{house.web_url}/u/{token}", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200, answer.text
