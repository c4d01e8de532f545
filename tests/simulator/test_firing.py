"""Notifications out: to whom, with what, in which order, and again when nobody answers."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx2
import pytest
from tests.simulator.listener import Listener

from optirelay.simulator import Simulator, firing


async def register(optimove: httpx2.AsyncClient, url: str, event: int, channel: int | None = None) -> None:
    body = {"EventTypeID": event, "ListenerURL": url} | ({} if channel is None else {"ChannelID": channel})
    assert (await optimove.post("/current/general/RegisterEventListener", json=body)).status_code == 200


async def add(optimove: httpx2.AsyncClient, **changes: Any) -> int:
    entry = {"tenant": 7001, "id": 90211, "channel": 504, "templates": [17], "customers": 3} | changes
    answer = await optimove.post("/_sim/campaigns", json=entry)
    campaign_id: int = answer.json()["id"]
    return campaign_id


async def notifications(optimove: httpx2.AsyncClient, done: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while True:
            entries: list[dict[str, Any]] = (await optimove.get("/_sim/state")).json()["notifications"]
            if entries and all(done(entry) for entry in entries):
                return entries
            await asyncio.sleep(0.02)


async def test_a_firing_reaches_the_listeners_of_its_channel_and_of_all(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await register(optimove, f"{listener.url}/504?brand=a", 13, 504)
    await register(optimove, f"{listener.url}/604", 13, 604)
    await register(optimove, f"{listener.url}/all", 13)
    await add(optimove)
    assert (await optimove.post("/_sim/campaigns/90211/fire")).json() == {"listeners": 2}
    for body in await listener.until(2):
        datetime.strptime(body.pop("TimeStamp"), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - written without a zone
        assert body == {"EventTypeID": 13, "CampaignID": 90211, "ChannelID": 504}
    assert {path for path, _ in listener.heard} == {"/504?brand=a", "/all"}
    entries = await notifications(optimove, lambda entry: entry["status"] == 200)
    assert [(entry["tries"], entry["error"], entry["tenant"]) for entry in entries] == [(1, None, 7001)] * 2


async def test_type_1_and_a_cancellation_name_no_channel(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await register(optimove, listener.url, 1, 504)
    await register(optimove, listener.url, 4)
    await add(optimove, events=[1])
    await optimove.post("/_sim/campaigns/90211/fire")
    assert (await optimove.post("/_sim/campaigns/90211/cancel")).json() == {"listeners": 1}
    bodies = await listener.until(2)
    assert [(body["EventTypeID"], set(body)) for body in bodies] == [
        (event, {"EventTypeID", "TimeStamp", "CampaignID"}) for event in (1, 4)
    ]
    (campaign,) = (await optimove.get("/_sim/state")).json()["campaigns"]
    assert campaign["state"] == "cancelled"


async def test_a_campaign_on_two_channels_is_told_for_each_and_cancelled_once(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    for event in (1, 4, 13):
        await register(optimove, listener.url, event)
    await add(optimove, events=[1, 13])
    await add(optimove, channel=604)
    await optimove.post("/_sim/campaigns/90211/fire")
    await optimove.post("/_sim/campaigns/90211/cancel")
    bodies = await listener.until(4)
    assert [(body["EventTypeID"], body.get("ChannelID")) for body in bodies] == [
        (1, None),
        (13, 504),
        (13, 604),
        (4, None),
    ]


async def test_a_second_firing_has_a_newer_time_stamp(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await register(optimove, listener.url, 13)
    await add(optimove)
    for _ in range(3):
        await optimove.post("/_sim/campaigns/90211/fire")
    stamps = [body["TimeStamp"] for body in await listener.until(3)]
    assert stamps == sorted(set(stamps))


async def test_the_events_can_be_chosen_when_firing(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await register(optimove, listener.url, 1)
    await register(optimove, listener.url, 13)
    await add(optimove)
    await optimove.post("/_sim/campaigns/90211/fire", json={"events": [1, 13]})
    assert [body["EventTypeID"] for body in await listener.until(2)] == [1, 13]
    assert (await optimove.post("/_sim/campaigns/90211/fire", json={"events": []})).json() == {"listeners": 0}


async def test_types_of_the_day_name_no_campaign_and_one_on_hold_has_not_run(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    for event in (2, 3, 5):
        await register(optimove, listener.url, event)
    await add(optimove, events=[5])
    await optimove.post("/_sim/campaigns/90211/fire")
    assert (await optimove.get("/_sim/state")).json()["campaigns"][0]["state"] == "on_hold"
    await optimove.post("/_sim/campaigns/90211/fire", json={"events": [2, 3]})
    assert (await optimove.get("/_sim/state")).json()["campaigns"][0]["state"] == "fired"
    on_hold, *of_the_day = await listener.until(3)
    datetime.strptime(on_hold["ClearanceRequiredBy"], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - written without a zone
    assert (on_hold["EventTypeID"], on_hold["CampaignID"]) == (5, 90211)
    assert [(body["EventTypeID"], set(body)) for body in of_the_day] == [
        (event, {"EventTypeID", "TimeStamp"}) for event in (2, 3)
    ]


async def test_a_campaign_fires_by_itself_at_its_time(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await register(optimove, listener.url, 13)
    await add(optimove, fire_at="+200ms")
    assert listener.heard == []
    await listener.until(1)


async def test_a_campaign_that_was_cancelled_does_not_fire_by_itself(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await register(optimove, listener.url, 13)
    await add(optimove, fire_at="+100ms")
    await optimove.post("/_sim/campaigns/90211/cancel")
    await asyncio.sleep(0.2)
    assert listener.heard == []


async def test_a_scenario_fires_when_the_simulator_starts() -> None:
    campaign = {"tenant": 7001, "channel": 504, "templates": [17], "fire_at": "+0s"}
    async with (
        Simulator(scenario={"campaigns": [campaign]}) as simulator,
        httpx2.AsyncClient(base_url=simulator.url) as client,
    ):
        await asyncio.sleep(0.1)
        (shown,) = (await client.get("/_sim/state")).json()["campaigns"]
    assert shown["state"] == "fired"


async def test_twice_tells_everything_twice(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await optimove.post("/_sim/quirks", json={"notifications": "twice"})
    await register(optimove, listener.url, 13)
    await add(optimove)
    assert (await optimove.post("/_sim/campaigns/90211/fire")).json() == {"listeners": 2}
    first, second = await listener.until(2)
    assert first == second


async def test_shuffled_notifications_overtake_each_other(
    optimove: httpx2.AsyncClient, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "SHUFFLED_OVER_SECONDS", 0.3)
    await register(optimove, listener.url, 13)
    for quirk, in_order in (("once", True), ("shuffled", False)):
        listener.heard.clear()
        await optimove.post("/_sim/quirks", json={"notifications": quirk})
        ids = [await add(optimove, id=number + (0 if in_order else 100)) for number in range(1, 9)]
        for campaign_id in ids:
            await optimove.post(f"/_sim/campaigns/{campaign_id}/fire")
        told = [body["CampaignID"] for body in await listener.until(8)]
        assert sorted(told) == ids
        assert (told == ids) is in_order


async def test_a_listener_that_fails_is_told_again(
    optimove: httpx2.AsyncClient, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "PAUSE_SECONDS", 0.02)
    listener.statuses = [500, 202]
    await register(optimove, listener.url, 13)
    await add(optimove)
    await optimove.post("/_sim/campaigns/90211/fire")
    (entry,) = await notifications(optimove, lambda entry: entry["status"] == 200)
    assert (entry["tries"], entry["error"]) == (3, None)


async def test_after_three_more_tries_it_gives_up(
    optimove: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "PAUSE_SECONDS", 0.02)
    await register(optimove, "http://127.0.0.1:9/nobody", 13)
    await add(optimove)
    await optimove.post("/_sim/campaigns/90211/fire")
    (entry,) = await notifications(optimove, lambda entry: entry["tries"] == 4)
    assert entry["status"] is None
    assert "ConnectError" in entry["error"]


async def test_a_campaign_of_two_tenants_needs_to_be_named(optimove: httpx2.AsyncClient) -> None:
    await optimove.post("/_sim/tenants", json={"id": 7002, "key": "other", "channels": {"504": "Mail"}, "customers": 9})
    await add(optimove)
    await add(optimove, tenant=7002)
    answer = await optimove.post("/_sim/campaigns/90211/fire")
    assert (answer.status_code, "?tenant=" in answer.json()["error"]) == (400, True)
    assert (await optimove.post("/_sim/campaigns/90211/fire?tenant=7002")).status_code == 200
    campaigns = (await optimove.get("/_sim/state")).json()["campaigns"]
    assert [campaign["state"] for campaign in campaigns] == ["waiting", "fired"]
    assert (await optimove.post("/_sim/campaigns/4/fire")).status_code == 400
