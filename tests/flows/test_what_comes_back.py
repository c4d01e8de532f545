"""What a provider tells after it has taken a message: kept once, counted, reported, obeyed, in any order."""

import json
from typing import Any

import httpx2
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay.engine import operate

SECRET = "callback-secret"


async def call_back(house: House, *events: dict[str, Any], body: bytes | None = None) -> int:
    """POST events as the provider of the newsletter; how many were kept."""
    told = json.dumps({"events": events} if len(events) != 1 else events[0]).encode() if body is None else body
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{house.web_url}/callbacks/acme/newsletter/{SECRET}", content=told)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["kept"])


async def test_events_move_a_message_forward_and_are_counted_once(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, channel={"callback_secret": SECRET}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=5)
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        [(sid, customer)] = await sids(house, campaign_id, 1)
        told = [
            {"event_id": f"e{n}", "id": sid, "event": e} for n, e in enumerate(("opened", "delivered", "sent", "x"))
        ]
        assert await call_back(house, *told) == 4
        assert await call_back(house, *told) == 4

        async def opened() -> bool:
            [shape] = await operate.campaigns(house.ctx)
            return bool(shape["events"]["opened"] == shape["events"]["delivered"] == 1)

        await house.until(opened)
        [message] = await operate.messages(house.ctx, "acme", campaign_id, customer)
        assert message["state"] == "opened"
        assert sorted(event["event"] for event in message["events"]) == ["delivered", "opened", "sent", "x"]
        await operate.report_now(house.ctx)
        [call] = [c for c in await house.sim("interactions") if int(c["body"]["EventID"]) == 2]
        assert call["body"]["CustomerIDs"] == [customer]


async def sids(house: House, campaign_id: str, count: int) -> list[tuple[str, str]]:
    """Of accepted messages: sid and customer."""
    found = []
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        rows = await (
            await ledger.connection.execute(
                "select customer_id from message_state where state = 'accepted' order by id limit %s", (count,)
            )
        ).fetchall()
    for (customer,) in rows:
        [message] = await operate.messages(house.ctx, "acme", campaign_id, customer)
        found.append((message["sid"], customer))
    return found
