"""Opt-ins told to Optimove: the newest state alone, by attribute or preference, whatever Optimove answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay.clock import utc_now
from optirelay.engine import operate, sharing
from optirelay.engine.sharing.results import check_drift, settle_results
from optirelay.errors import GiveUp, NeedsOperator, TryLater
from optirelay.model import CustomerId
from optirelay.store.opt_outs import Statement

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]
BY_ATTRIBUTE = {"opt_in": "attributes:EMAIL_OPTIN"}
BY_PREFERENCE = {"opt_in": "channel_preference", "triggered_id": 604, "communication_modes": [7, 8]}
TENANT = {"id": 7001, "key": "demo-key", "channels": {"504": "Mail", "604": "Now"}, "customers": 30}


@pytest.fixture
def house_with(make_settings: MakeSettings) -> OpenHouse:
    @asynccontextmanager
    async def opened(**more: Any) -> AsyncIterator[House]:
        scenario = {"seed": 7, "tenants": [TENANT], "quirks": {"calls": "1000/1s"}}
        tenant = {"rate_limit": "1000/s", **more.pop("tenant", {})}
        async with open_house(make_settings, workers=0, scenario=scenario, tenant=tenant, **more) as house:
            yield house

    return opened


def customer(number: int) -> CustomerId:
    return CustomerId(f"C-{number:06}")


async def say(house: House, *said: tuple[int, bool], at: datetime | None = None, bulk: bool = False) -> None:
    """Customers say something of the newsletter."""
    when = at or utc_now()
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.opt_outs.keep(
            [Statement(customer(number), NEWSLETTER, when, opted_in, "test") for number, opted_in in said], bulk=bulk
        )


async def tell(house: House) -> None:
    assert await sharing.tell_opt_ins(house.ctx, ACME, NEWSLETTER)


async def status(house: House) -> dict[str, int]:
    (row,) = await operate.optins_status(house.ctx)
    return {key: row[key] for key in ("pending", "sent", "confirmed", "failed")}


async def answered_for(house: House) -> None:
    """Every call's result came, and is read."""

    async def none_open() -> bool:
        await settle_results(house.ctx, ACME)
        return (await status(house))["sent"] == 0

    await house.until(none_open)


async def calls(house: House, name: str) -> list[dict[str, Any]]:
    return [call for call in await house.sim("calls") if call["call"] == name]


async def preferences(house: House) -> dict[tuple[int, str], int]:
    return {
        (row["ChannelID"], row["CustomerID"]): row["CommunicationMode"]
        for row in await house.sim("preferences?current=1")
    }


async def attributes(house: House) -> dict[str, str]:
    rows = await house.sim("attributes?current=1")
    return {row["CustomerID"]: row["Attributes"]["EMAIL_OPTIN"] for row in rows}


async def with_attribute(house: House) -> None:
    """Optimove has the attribute; nothing was told by it."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.sharing.attribute_added("EMAIL_OPTIN")
    body = {"Name": "EMAIL_OPTIN", "Type": "VARCHAR(50)"}
    answer = await house.optimove.post("/Customers/AddCustomerAttribute", json=body, headers={"X-API-KEY": "demo-key"})
    assert answer.status_code == 200


async def test_preferences_are_told_of_each_id_of_the_channel_and_then_only_what_changed(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_PREFERENCE) as house:
        await say(house, *[(number, number % 2 == 0) for number in range(1, 11)])
        await tell(house)
        expected = {(id_, customer(n)): 8 if n % 2 else 7 for id_ in (504, 604) for n in range(1, 11)}
        assert await preferences(house) == expected
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 10, "failed": 0}
        before = len(await calls(house, "SetCustomerChannelPreference"))
        await say(house, (2, False), (4, False), (6, True))
        await say(house, (4, True))  # before anybody was told of the no
        await tell(house)
        told = (await house.sim("preferences"))[before:]
        assert sorted((one["body"]["ChannelID"], one["body"]["CustomerIDs"]) for one in told) == [
            (504, [customer(2)]),
            (604, [customer(2)]),
        ]
        await tell(house)
        assert len(await calls(house, "SetCustomerChannelPreference")) == before + 2


async def test_an_attribute_is_asked_for_once_and_told_once_optimove_has_it(house_with: OpenHouse) -> None:
    async with house_with(channel={**BY_ATTRIBUTE, "require_opt_in": True, "opt_in_values": ["yes", "no"]}) as house:
        await say(house, (1, True), (2, False))
        await tell(house)
        await answered_for(house)
        assert await attributes(house) == {customer(1): "yes", customer(2): "no"}
        (added,) = await calls(house, "AddCustomerAttribute")
        body = added["body"]
        assert (body["Name"], body["Type"], body["DefaultValue"]) == ("EMAIL_OPTIN", "VARCHAR(50)", "no")
        assert body["CallbackURL"].startswith(f"{house.web_url}/optimove/acme/{LISTENER_SECRET}/attributes?call=")
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 2, "failed": 0}
        await say(house, (2, True))
        await tell(house)
        await answered_for(house)
        assert len(await calls(house, "AddCustomerAttribute")) == 1
        told = [
            call["body"]["CustomerNewAttributesValuesList"] for call in await calls(house, "UpdateCustomerAttributes")
        ]
        assert [[one["CustomerID"] for one in people] for people in told] == [[customer(1), customer(2)], [customer(2)]]
        assert await operate.problems(house.ctx) == []


async def test_each_app_of_a_push_channel_is_told(house_with: OpenHouse) -> None:
    apps = {"kind": "push", "address": "attribute:TOKEN", "apps": {"ios": "iOS", "web": "Web"}}
    async with house_with(channel={**BY_PREFERENCE, **apps, "triggered_id": None}) as house:
        await say(house, (1, True))
        await tell(house)
        rows = await house.sim("preferences?current=1")
        assert [(row["AppID"], row["CommunicationMode"]) for row in rows] == [("ios", 7), ("web", 7)]


@pytest.mark.parametrize("fault", ["error_after", "cut_before", "string_error"])
@pytest.mark.parametrize("channel", [BY_ATTRIBUTE, BY_PREFERENCE], ids=["attribute", "preference"])
async def test_what_may_be_lost_is_told_again_as_it_is_by_then(
    house_with: OpenHouse, channel: dict[str, Any], fault: str
) -> None:
    name = "UpdateCustomerAttributes" if channel is BY_ATTRIBUTE else "SetCustomerChannelPreference"
    async with house_with(channel=channel) as house:
        await say(house, (1, True), (2, True))
        if channel is BY_ATTRIBUTE:
            await with_attribute(house)
        await house.fault(name, fault)
        with pytest.raises((TryLater, GiveUp)):
            await tell(house)
        assert (await status(house))["pending"] == 2
        await say(house, (1, False))
        await tell(house)
        if channel is BY_ATTRIBUTE:
            await answered_for(house)
            assert await attributes(house) == {customer(1): "false", customer(2): "true"}
        else:
            told = await preferences(house)
            assert (told[504, customer(1)], told[604, customer(2)]) == (8, 7)
        assert (await status(house))["confirmed"] == 2
        assert await operate.problems(house.ctx) == []


async def test_what_optimove_does_not_take_is_kept_shown_and_told_again_where_that_helps(house_with: OpenHouse) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await with_attribute(house)
        await say(house, (1, True), (2, True), (901, True), (902, False))  # two of whom Optimove does not know
        await house.fault("UpdateCustomerAttributes", "fails_later")
        await tell(house)
        await answered_for(house)
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 0, "failed": 4}
        (row,) = await operate.optins_status(house.ctx)
        assert row["failures"] == {"INVALID_CUSTOMER": 2, "UPDATE_FIELD_TEMPORARY_UNAVAILABLE": 2}
        (problem,) = await operate.problems(house.ctx)
        assert (problem["kind"], problem["channel"]) == ("optin_failed", "newsletter")
        assert "INVALID_CUSTOMER 2" in problem["problem"]
        assert "support" in problem["mend"]
        failed = {one["customer_id"]: one["again_at"] for one in await operate.optins_failed(house.ctx)}
        assert [failed[customer(n)] is None for n in (1, 2, 901, 902)] == [False, False, True, True]
        await tell(house)
        assert len(await calls(house, "UpdateCustomerAttributes")) == 1  # not before a minute
        with time_machine.travel(start + timedelta(minutes=2)):
            await tell(house)
            await answered_for(house)
        assert await attributes(house) == {customer(1): "true", customer(2): "true"}
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 2, "failed": 2}
        await house.people({"customer_id": customer(901)})
        await say(house, (901, False))  # something new
        await tell(house)
        await answered_for(house)
        assert (await attributes(house))[customer(901)] == "false"
        assert (await status(house))["failed"] == 1
        await house.people({"customer_id": customer(902)})
        assert await operate.push_opt_ins(house.ctx) == []
        assert (await attributes(house))[customer(902)] == "false"
        assert await operate.problems(house.ctx) == []


async def test_without_a_result_customers_are_read_back_and_that_is_shown(house_with: OpenHouse) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await with_attribute(house)
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
        await say(house, (1, True), (2, False))
        await tell(house)
        assert (await status(house))["sent"] == 2
        with time_machine.travel(start + timedelta(minutes=3)):
            await tell(house)
        assert (await status(house))["confirmed"] == 2
        (problem,) = await operate.problems(house.ctx)
        assert "has not said within 2 minutes" in problem["problem"]
        assert len(await calls(house, "GetCustomerAttributes")) == 2
        assert len(await calls(house, "UpdateCustomerAttributes")) == 1
        await say(house, (1, False))
        await house.fault("UpdateCustomerAttributes", "fails_later")  # and says nothing
        with time_machine.travel(start + timedelta(minutes=4)):
            await tell(house)
        with time_machine.travel(start + timedelta(minutes=7)):
            await tell(house)  # it is not there,
            await tell(house)  # and told again
        assert (await attributes(house))[customer(1)] == "false"


async def test_where_optimove_cannot_be_asked_either_it_is_shown_and_a_push_tells_again(house_with: OpenHouse) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await with_attribute(house)
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
        await say(house, (1, True))
        await tell(house)
        await house.fault("GetCustomerAttributes", "error_before", times=10)
        with time_machine.travel(start + timedelta(minutes=3)):
            await tell(house)
        assert (await operate.optins_status(house.ctx))[0]["failures"] == {"NO_RESULT": 1}
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"optin_failed"}
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "soon"})
        assert await operate.push_opt_ins(house.ctx) == []
        assert (await status(house))["confirmed"] == 1


async def test_an_attribute_of_which_nothing_is_said_is_looked_up_and_else_asked_for_again(
    house_with: OpenHouse,
) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
        await house.fault("AddCustomerAttribute", "fails_later")
        await say(house, (1, True))
        await tell(house)
        await tell(house)
        assert len(await calls(house, "AddCustomerAttribute")) == 1
        with time_machine.travel(start + timedelta(minutes=3)):
            await tell(house)
            assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"optin_failed"}
            await tell(house)
        assert len(await calls(house, "AddCustomerAttribute")) == 2
        assert await attributes(house) == {customer(1): "true"}
        assert await operate.problems(house.ctx) == []


async def test_an_attribute_that_optimove_does_not_add_is_shown(house_with: OpenHouse) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await house.fault("AddCustomerAttribute", "fails_later")
        await say(house, (1, True))
        await tell(house)

        async def shown() -> bool:
            await settle_results(house.ctx, ACME)
            return bool(await operate.problems(house.ctx))

        await house.until(shown)
        (problem,) = await operate.problems(house.ctx)
        assert "has not added the attribute EMAIL_OPTIN" in problem["problem"]
        assert await sharing.to_share(house.ctx) == []  # it waits a little
        with time_machine.travel(start + timedelta(minutes=1)):
            assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
            await tell(house)
            await answered_for(house)
        assert await attributes(house) == {customer(1): "true"}
        assert await operate.problems(house.ctx) == []


async def test_an_attribute_whose_answer_was_lost_is_there_all_the_same(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await say(house, (1, True))
        await house.fault("AddCustomerAttribute", "cut_after")
        with pytest.raises(TryLater):
            await tell(house)
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"optimove_silent"}

        async def added() -> bool:
            return await settle_results(house.ctx, ACME) == 1

        await house.until(added)
        await tell(house)
        await answered_for(house)
        assert await attributes(house) == {customer(1): "true"}
        assert await operate.problems(house.ctx) == []


async def test_what_somebody_else_changed_at_optimove_is_put_back_and_shown(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await with_attribute(house)
        await say(house, (1, True), (2, False))
        await tell(house)
        await answered_for(house)
        await check_drift(house.ctx, ACME)
        assert (await status(house))["confirmed"] == 2
        changes = [{"CustomerID": customer(2), "Attributes": [{"RealFieldName": "EMAIL_OPTIN", "Value": "true"}]}]
        await house.optimove.post(
            "/Customers/UpdateCustomerAttributes",
            json={"CustomerNewAttributesValuesList": changes},
            headers={"X-API-KEY": "demo-key"},
        )
        await check_drift(house.ctx, ACME)
        assert await status(house) == {"pending": 1, "sent": 0, "confirmed": 1, "failed": 0}
        (problem,) = await operate.problems(house.ctx)
        assert "Of 2 customers" in problem["problem"]
        await tell(house)
        await answered_for(house)
        assert (await attributes(house))[customer(2)] == "false"


async def test_single_changes_go_before_the_many(house_with: OpenHouse) -> None:
    tenant = {"optimove": {"preferences_per_call": 5}}
    async with house_with(channel={"opt_in": "channel_preference"}, tenant=tenant) as house:
        await say(house, *[(number, True) for number in range(1, 13)], bulk=True)
        await say(house, (11, False))  # somebody follows a link
        await tell(house)
        told = [call["body"]["CustomerIDs"] for call in await calls(house, "SetCustomerChannelPreference")]
        assert [len(people) for people in told] == [1, 5, 5, 1]
        assert told[0] == [customer(11)]


async def test_another_way_or_other_values_tell_everybody_anew(
    house_with: OpenHouse, make_settings: MakeSettings
) -> None:
    async with house_with(channel={"opt_in": "channel_preference"}) as house:
        await say(house, (1, True), (2, False))
        await tell(house)
        newsletter = house.ctx.channel_settings(ACME, NEWSLETTER).model_copy(update={"communication_modes": (3, 4)})
        tenant = house.ctx.settings.tenants[ACME].model_copy(update={"channels": {NEWSLETTER: newsletter}})
        settings = house.ctx.settings.model_copy(update={"tenants": {ACME: tenant}})
        ctx = replace(house.ctx, settings=settings)
        assert await sharing.to_share(ctx) == []  # until something changes, or a worker starts
        assert await operate.push_opt_ins(ctx) == []
        assert await preferences(house) == {(504, customer(1)): 3, (504, customer(2)): 4}


async def test_whom_optimove_does_not_take_stands_alone_and_stops_nobody(house_with: OpenHouse) -> None:
    async with house_with(channel={"opt_in": "channel_preference"}) as house:
        await say(house, *[(number, True) for number in range(1, 9)])
        await house.fault("SetCustomerChannelPreference", "refused", times=4)  # 8, then 4, 2, 1 customers
        await tell(house)
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 7, "failed": 1}
        assert len(await preferences(house)) == 7


async def test_what_optimove_refuses_altogether_pauses_the_channel_and_is_shown(house_with: OpenHouse) -> None:
    start = utc_now()
    async with house_with(channel={"opt_in": "channel_preference", "scheduled_id": 999}) as house:
        await say(house, *[(number, True) for number in range(1, 9)])
        with pytest.raises(GiveUp):
            await tell(house)
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"optin_failed"}
        assert await sharing.to_share(house.ctx) == []
        with time_machine.travel(start + timedelta(seconds=30)):
            assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
        (sentence, *_) = await operate.push_opt_ins(house.ctx)
        assert "acme, channel newsletter" in sentence


async def test_the_key_of_the_client_changes_attributes(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_ATTRIBUTE, tenant={"admin_api_key": "nobody's"}) as house:
        await say(house, (1, True))
        with pytest.raises(NeedsOperator):
            await tell(house)
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"key_refused", "optin_failed"}


async def test_what_a_worker_left_that_died_is_told_by_the_next(house_with: OpenHouse) -> None:
    async with house_with(channel={"opt_in": "channel_preference"}) as house:
        await say(house, (1, True), (2, False))
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            now = utc_now()
            call = await ledger.sharing.open_call(NEWSLETTER, "SetCustomerChannelPreference", now)
            await ledger.sharing.keep_route(NEWSLETTER, "channel_preference 1 2 504")
            await ledger.sharing.take(NEWSLETTER, call, bulk=False, after="", limit=1, now=now)
        assert await status(house) == {"pending": 1, "sent": 1, "confirmed": 0, "failed": 0}
        await tell(house)
        assert await preferences(house) == {(504, customer(1)): 1, (504, customer(2)): 2}
        assert (await status(house))["confirmed"] == 2


async def test_two_at_once_tell_each_customer_once(house_with: OpenHouse) -> None:
    tenant = {"optimove": {"preferences_per_call": 3}}
    async with house_with(channel={"opt_in": "channel_preference"}, tenant=tenant) as house:
        await say(house, *[(number, True) for number in range(1, 25)])
        did = await asyncio.gather(*(sharing.tell_opt_ins(house.ctx, ACME, NEWSLETTER) for _ in range(3)))
        assert sorted(did) == [False, False, True]
        told = [call["body"]["CustomerIDs"] for call in await calls(house, "SetCustomerChannelPreference")]
        assert sorted(one for people in told for one in people) == [customer(n) for n in range(1, 25)]


async def test_a_result_finds_its_call_by_what_optimove_answered_also_where_it_comes_first(
    house_with: OpenHouse,
) -> None:
    start = utc_now()
    async with house_with(channel=BY_ATTRIBUTE) as house:
        await with_attribute(house)
        await house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
        await say(house, (1, True))
        await tell(house)
        assert (await status(house))["sent"] == 1
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            (call,) = await ledger.sharing.calls(NEWSLETTER)
            await ledger.sharing.answered(call.id, None, utc_now())  # as if the answer were still to come
        url = f"{house.web_url}/optimove/acme/{LISTENER_SECRET}/attributes"
        for request_id in (call.request_id, "a-request-of-somebody-else"):
            answer = await house.optimove.post(url, json={"requestId": request_id, "isSuccess": True})
            assert answer.status_code == 200
        assert await settle_results(house.ctx, ACME) == 0
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.sharing.answered(call.id, call.request_id, utc_now())
        assert await settle_results(house.ctx, ACME) == 1
        assert (await status(house))["confirmed"] == 1
        with time_machine.travel(start + timedelta(minutes=2)):
            assert await settle_results(house.ctx, ACME) == 1  # nobody's
        assert await operate.problems(house.ctx) == []


async def test_a_result_that_cannot_be_read_is_kept_and_shown(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_ATTRIBUTE) as house:
        url = f"{house.web_url}/optimove/acme/{LISTENER_SECRET}/attributes"
        assert (await house.optimove.post(url, json={"isSuccess": "who knows"})).status_code == 200
        assert await settle_results(house.ctx, ACME) == 1
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"unreadable_notification"}
