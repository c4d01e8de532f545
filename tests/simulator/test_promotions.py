"""Conditional execution: a campaign on hold runs for those who were cleared, a trigger for whom a gateway allows."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.simulator.listener import Listener

from optirelay.simulator import Simulator

STATUS = "/current/integrations/UpdateCustomerPromotionStatus"
PEOPLE = ["C-000001", "C-000002", "C-000003"]
SEND_DETAILS = "/current/customers/GetCustomerSendDetailsByChannel?ChannelID=504&CampaignID=90211"
GATEWAY = "/triggered_conditional_execution_gateway"


async def on_hold(optimove: httpx2.AsyncClient, listener: Listener, **changes: Any) -> None:
    for event in (5, 13):
        body = {"EventTypeID": event, "ListenerURL": listener.url}
        assert (await optimove.post("/current/general/RegisterEventListener", json=body)).status_code == 200
    campaign = {"id": 90211, "channel": 504, "templates": [17], "customers": PEOPLE, "promo_codes": ["A", "B"]}
    assert (await optimove.post("/_sim/campaigns", json=campaign | {"events": [5]} | changes)).status_code == 200
    await optimove.post("/_sim/campaigns/90211/fire")


async def state(optimove: httpx2.AsyncClient) -> str:
    (campaign,) = (await optimove.get("/_sim/state")).json()["campaigns"]
    return str(campaign["state"])


def cleared(**statuses: bool) -> dict[str, Any]:
    rows = [{"CustomerID": f"C-00000{name[1:]}", "Status": status} for name, status in statuses.items()]
    return {"TimeStamp": "2031-04-02 08:40:00", "CampaignID": 90211, "PromosUpdated": rows}


async def test_a_campaign_on_hold_runs_for_those_who_were_cleared_alone(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await on_hold(optimove, listener)
    assert await state(optimove) == "on_hold"
    assert (await optimove.get(SEND_DETAILS)).json() == []
    processed = "/current/customers/GetProcessedCampaignCustomers?CampaignID=90211"
    assert (await optimove.get(processed)).json()[0] == {"CustomerID": "C-000001", "ActionID": 2, "PromoCode": "A,B"}
    assert (await optimove.post(STATUS, json=cleared(c1=True, c2=False, c3=True))).content == b""
    await optimove.post(STATUS, json=cleared(c3=False))
    await optimove.post("/_sim/campaigns/90211/fire", json={"events": [13]})
    held, ran = await listener.until(2)
    assert (held["EventTypeID"], ran["EventTypeID"], ran["ChannelID"]) == (5, 13, 504)
    assert [row["CustomerID"] for row in (await optimove.get(SEND_DETAILS)).json()] == ["C-000001"]
    assert (await optimove.get(processed)).json() == []
    assert (await optimove.post(STATUS, json=cleared(c2=True))).status_code == 400
    executed = "/current/customers/GetCustomerExecutionDetailsByCampaign?ChannelID=504&CampaignID=90211"
    (row,) = (await optimove.get(executed)).json()
    assert (row["PromoCode"], row["TemplateName"]) == ("A,B", "")


async def test_it_runs_by_itself_when_the_time_for_clearance_is_over(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await on_hold(optimove, listener, clearance="+0s", events=[5])
    held, ran = await listener.until(2)
    assert (held["EventTypeID"], ran["EventTypeID"]) == (5, 13)
    assert await state(optimove) == "fired"
    assert (await optimove.get(SEND_DETAILS)).json() == []  # nobody was cleared


async def test_one_that_is_cancelled_on_hold_does_not_run_and_tells_whom_it_had() -> None:
    async with Simulator() as simulator, httpx2.AsyncClient(base_url=simulator.url) as client:
        campaign = simulator.campaign(
            channel=504, templates=[17], customers=PEOPLE, events=[5], clearance="+0s", promo_codes=["A", "B"]
        )
        simulator.fire(campaign)
        simulator.cancel(campaign)  # before the loop has its next turn
        await asyncio.sleep(0.05)
        assert simulator.state()["campaigns"][0]["state"] == "cancelled"
        path = f"/current/customers/GetCanceledCampaignCustomers?CampaignID={campaign}"
        rows = (await client.get(path, headers={"X-API-KEY": simulator.key})).json()
    assert rows[2] == {"CustomerID": "C-000003", "ActionID": "2", "PromoCode": "A,B"}


async def test_promotions_and_their_statuses_have_limits(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await on_hold(optimove, listener)
    rows = [{"CustomerID": "C-000001", "Status": True}] * 10_001
    assert (await optimove.post(STATUS, json=cleared() | {"PromosUpdated": rows})).status_code == 400
    assert (await optimove.post(STATUS, json=cleared() | {"PromosUpdated": rows[:-1]})).status_code == 200
    wrong = [{"CustomerID": "C-000001", "Status": "yes"}]
    assert (await optimove.post(STATUS, json=cleared() | {"PromosUpdated": wrong})).status_code == 400
    for name, entry in (
        ("AddPromotions", {"PromoCode": "A", "PromotionName": "a"}),
        ("DeletePromotions", {"PromoCode": "A"}),
    ):
        path = f"/current/integrations/{name}"
        assert (await optimove.post(path, json=[entry] * 101)).status_code == 400
        assert (await optimove.post(path, json=[entry] * 100)).status_code == 200
    assert (await optimove.get("/current/integrations/GetPromotions")).json() == []


@pytest.fixture
async def gateway() -> AsyncIterator[dict[str, Any]]:
    """Somebody's gateway: answers as `allowed` says, and keeps what it was asked."""
    kept: dict[str, Any] = {"allowed": True, "asked": []}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        kept["asked"].append(json.loads(await reader.readexactly(length)))
        body = json.dumps({"user_id": kept["asked"][-1]["user"]["user_id"], "allowed": kept["allowed"]})
        writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        kept["url"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield kept


async def test_a_gateway_is_asked_for_each_customer_before_a_trigger_fires(
    optimove: httpx2.AsyncClient, listener: Listener, gateway: dict[str, Any]
) -> None:
    await optimove.put(GATEWAY, json={"url": "http://127.0.0.1:9/old"})
    assert (await optimove.put(GATEWAY, json={"url": gateway["url"]})).content == b""
    body = {"EventTypeID": 11, "ListenerURL": listener.url}
    await optimove.post("/current/general/RegisterEventListener", json=body)
    trigger = {"campaign": 58831, "channel": 604, "templates": [17], "promo_codes": ["LOAN5"], "name": "Nudge"}

    async def fire(*customers: str) -> Any:
        return (await optimove.post("/_sim/triggers/fire", json=trigger | {"customers": customers})).json()

    assert await fire("C-000001", "C-000002") == {"notifications": 0, "asked": 2}
    assert {body["customerID"] for body in await listener.until(2)} == {"C-000001", "C-000002"}
    question = gateway["asked"][0]
    assert question["user"] == {"user_id": "C-000001", "is_visitor": False}
    assert question["campaign"]["action"]["promo_codes"] == ["LOAN5"]
    assert question["campaign"]["action"]["channels"][0]["templates"] == [{"id": 17, "name": None}]
    for answer, quirk, told in ((False, "fire", 2), (None, "drop", 2), (None, "fire", 3)):
        gateway["allowed"] = answer
        await optimove.post("/_sim/quirks", json={"gateway_silent": quirk})
        await fire("C-000003")
        async with asyncio.timeout(30):
            while (await optimove.get("/_sim/gateway")).json()[-1]["answer"] is None:
                await asyncio.sleep(0.01)
        assert len(await listener.until(told)) == told
    refused = await optimove.post("/_sim/triggers/generate", json=trigger | {"count": 1})
    assert (refused.status_code, "gateway" in refused.json()["error"]) == (400, True)


async def test_a_gateway_that_does_not_answer_lets_nothing_fire(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await optimove.put(GATEWAY, json={"url": "http://127.0.0.1:9/nobody"})
    body = {"EventTypeID": 11, "ListenerURL": listener.url}
    await optimove.post("/current/general/RegisterEventListener", json=body)
    await optimove.post("/_sim/triggers/fire", json={"channel": 604, "templates": [17]})
    async with asyncio.timeout(30):
        while not (await optimove.get("/_sim/gateway")).json()[-1].get("error"):
            await asyncio.sleep(0.01)
    assert listener.heard == []
    assert (await optimove.put(GATEWAY, json={"url": "nowhere"})).status_code == 400
