"""A customer meets a trigger: one notification, one message, at once."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.conftest import MakeSettings
from tests.house import House, open_house

from optirelay.engine import operate

TRIGGERED = 604


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, channel={"triggered_id": TRIGGERED}) as opened:
        yield opened


def body(**fields: Any) -> bytes:
    known = {
        "eventTypeID": 11,
        "timeStamp": "2031-04-02 12:44:09",
        "tenantID": 7001,
        "triggerName": "Viewed loans page three times",
        "customerID": "C-004711",
        "campaignID": "58831",
        "actionID": 214,
        "channelID": TRIGGERED,
        "templateID": 17,
        "promoCode": ["LOAN5"],
        "personalization": {"FIRST_NAME": "Ana", "EMAIL": "ana@example.com"},
    }
    return json.dumps(known | fields).encode()


async def shape(house: House, campaign_id: str = "58831") -> dict[str, Any]:
    found = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return found[0] if found else {}


async def test_a_customer_who_met_a_trigger_is_sent_one_message(house: House) -> None:
    await house.push(17)
    assert await house.notify(body()) == 200

    async def complete() -> bool:
        return (await shape(house)).get("accepted") == 1

    await house.until(complete)
    assert (await shape(house))["state"] == "complete"
