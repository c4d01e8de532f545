"""Opt-ins told to Optimove: the newest state alone, by attribute or preference, whatever Optimove answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay.clock import utc_now
from optirelay.engine import operate, sharing
from optirelay.engine.sharing_results import settle_results
from optirelay.model import CustomerId
from optirelay.store.opt_outs import Statement

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]
BY_ATTRIBUTE = {"opt_in": "attributes:EMAIL_OPTIN"}
BY_PREFERENCE = {"opt_in": "channel_preference", "triggered_id": 604, "communication_modes": [7, 8]}
BEGAN = datetime(2031, 4, 2, 10, tzinfo=UTC)
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


async def results(house: House, calls: int) -> None:
    """So many results came, and are read."""
    read = 0

    async def all_read() -> bool:
        nonlocal read
        read += await settle_results(house.ctx, ACME)
        return read >= calls

    await house.until(all_read)


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


async def tell_attribute_alone(house: House) -> None:
    """Optimove has the attribute; nothing was told by it."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.sharing.attribute_added("EMAIL_OPTIN")
    body = {"Name": "EMAIL_OPTIN", "Type": "VARCHAR(50)"}
    answer = await house.optimove.post(
        "/Customers/AddCustomerAttribute", json=body, headers={"X-API-KEY": "demo-key"}
    )
    assert answer.status_code == 200


async def with_attribute(house: House) -> None:
    """Optimove was asked for the attribute, and has it."""
    await tell(house)
    await tell(house)


async def test_preferences_are_told_of_each_id_of_the_channel_and_then_only_what_changed(house_with: OpenHouse) -> None:
    async with house_with(channel=BY_PREFERENCE) as house:
        await say(house, *[(number, number % 2 == 0) for number in range(1, 11)])
        await tell(house)
        expected = {(id_, customer(n)): 8 if n % 2 else 7 for id_ in (504, 604) for n in range(1, 11)}
        assert await preferences(house) == expected
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 10, "failed": 0}
        before = len(await calls(house, "SetCustomerChannelPreference"))
        await say(house, (2, False), (4, False), (4, True), (6, True))
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
        await with_attribute(house)
        await results(house, 1)
        assert await attributes(house) == {customer(1): "yes", customer(2): "no"}
        (added,) = await calls(house, "AddCustomerAttribute")
        body = added["body"]
        assert (body["Name"], body["Type"], body["DefaultValue"]) == ("EMAIL_OPTIN", "VARCHAR(50)", "no")
        assert body["CallbackURL"].startswith(f"{house.web_url}/optimove/acme/{LISTENER_SECRET}/attributes?call=")
        assert await status(house) == {"pending": 0, "sent": 0, "confirmed": 2, "failed": 0}
        await say(house, (2, True))
        await tell(house)
        await results(house, 1)
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


@pytest.mark.parametrize("fault", ["error_before", "error_after", "cut_before", "cut_after", "string_error", "garbage"])
@pytest.mark.parametrize("channel", [BY_ATTRIBUTE, BY_PREFERENCE], ids=["attribute", "preference"])
async def test_what_may_be_lost_is_told_again_as_it_is_by_then(
    house_with: OpenHouse, channel: dict[str, Any], fault: str
) -> None:
    name = "UpdateCustomerAttributes" if channel is BY_ATTRIBUTE else "SetCustomerChannelPreference"
    async with house_with(channel=channel) as house:
        await say(house, (1, True), (2, True))
        if channel is BY_ATTRIBUTE:
            await tell_attribute_alone(house)
        await house.fault(name, fault)
        with pytest.raises((TryLater, GiveUp)):
            await tell(house)
        assert (await status(house))["pending"] == 2
        await say(house, (1, False))
        await tell(house)
        if channel is BY_ATTRIBUTE:
            await results(house, 1)
            assert await attributes(house) == {customer(1): "false", customer(2): "true"}
        else:
            told = await preferences(house)
            assert (told[504, customer(1)], told[604, customer(2)]) == (8, 7)
        assert (await status(house))["confirmed"] == 2
        assert await operate.problems(house.ctx) == []
