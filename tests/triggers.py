"""Notifications of type 11 as Optimove sends them, and what became of them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from optirelay.engine import operate
from tests.channels.webhook_receivers import SECRET, Receiver
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import House, open_house

Shape = dict[str, Any]

CAMPAIGN = "58831"
TRIGGERED_ID = 604
STAMP = "2031-04-02 12:44:09"
HTML = "<p>Hello {{ FIRST_NAME | default: 'there' }}, {{ page_title }}: {{ promo_codes[0] }}</p>"


def body(**changed: Any) -> bytes:
    """One, as api.md has it; a keyword of None takes a field away."""
    fields = {
        "eventTypeID": 11,
        "timeStamp": STAMP,
        "tenantID": 7001,
        "triggerName": "Viewed loans page three times",
        "customerID": "C-004711",
        "campaignID": CAMPAIGN,
        "actionID": 214,
        "actionName": "Loan nudge",
        "channelID": TRIGGERED_ID,
        "templateID": 17,
        "promoCode": ["LOAN5"],
        "notes": "",
        "personalization": {"FIRST_NAME": "Ana", "EMAIL": "ana@example.com", "page_title": "Loans"},
    } | changed
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@asynccontextmanager
async def open_triggered(
    make_settings: MakeSettings, receiver: Receiver | None = None, *, workers: int = 1, **channel: Any
) -> AsyncIterator[House]:
    """A house whose newsletter is triggered, too; by a webhook where there is a receiver. Template 17 is there."""
    if receiver is not None:
        webhook = {"url": receiver.url, "secret": SECRET}
        channel = {"provider": "webhook", "from": "Acme <news@acme.example>", "webhook": webhook, **channel}
    async with open_house(
        make_settings,
        workers=workers,
        channel={"triggered_id": TRIGGERED_ID, **channel},
        service={"allow_networks": ["127.0.0.0/8"]},
    ) as house:
        await house.push(17, html=HTML)
        yield house


async def told(house: House, *bodies: bytes) -> None:
    """Optimove tells; each is answered 200."""
    url = f"{house.web_url}/optimove/acme/{LISTENER_SECRET}"
    for one in bodies:
        assert (await house.optimove.post(url, content=one)).status_code == 200


async def shape_of(house: House, campaign_id: str = CAMPAIGN) -> Shape:
    """The triggered campaign in numbers; nothing where it was not heard of."""
    found = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return next((shape for shape in found if shape["kind"] == "triggered"), {})


async def until_handed_over(house: House, number: int, campaign_id: str = CAMPAIGN) -> Shape:
    """Wait until so many messages were handed over and nothing of them is planned or sending."""

    async def over() -> bool:
        shape = await shape_of(house, campaign_id)
        return shape.get("handed_over") == number and not shape["planned"] and not shape["sending"]

    await house.until(over)
    return await shape_of(house, campaign_id)
