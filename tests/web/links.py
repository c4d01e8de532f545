"""Messages with links in them, for tests of what becomes of who follows one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests import by_hand
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.offering import keep_template
from optirelay.engine.settle import Known
from optirelay.model import Accepted, ChannelName, TemplateContent, TemplateId

LETTERS = ChannelName("letters")
HTML = '<p>Hello {{ FIRST_NAME }}</p><p><a href="{{ unsubscribe_url }}">No more of this</a></p>'
SCENARIO = {"tenants": [{"id": 7001, "key": "demo-key", "channels": {"504": "Mail", "505": "Letters"}, "customers": 0}]}


@asynccontextmanager
async def house_with_links(
    make_settings: MakeSettings,
    *people: str,
    newsletter: Mapping[str, Any] = {},
    letters: Mapping[str, Any] = {},
    workers: int = 0,
) -> AsyncIterator[House]:
    """A house with two channels, `newsletter` (504) and `letters` (505), each with a template, for these customers."""
    mail = {"kind": "email", "provider": "null", "personalization": ["FIRST_NAME"], "from": "Acme <news@acme.example>"}
    channels = {
        "newsletter": {**mail, "scheduled_id": 504, **newsletter},
        "letters": {**mail, "scheduled_id": 505, **letters},
    }
    async with open_house(make_settings, scenario=SCENARIO, tenant={"channels": channels}, workers=workers) as house:
        await house.push(17, html=HTML)
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            content = TemplateContent("Hello", HTML)
            await keep_template(ledger, LETTERS, TemplateId(18), key="t18", name="Letter", content=content)
        await house.people(*({"customer_id": p, "EMAIL": f"{p}@example.com", "FIRST_NAME": p} for p in people))
        yield house


async def send_all(house: House, channel: ChannelName) -> None:
    """All that is due on a channel is taken by its provider, in steps by hand."""
    while taken := await pipeline.take(house.ctx, ACME, channel):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        answers = Known({message.number: Accepted() for message in begun.start})
        await pipeline.write_answers(house.ctx, ACME, {taken: answers})


async def link_to(house: House, campaign_id: str, customer_id: str) -> str:
    """The path of the link in the message to a customer."""
    row = await house.message(campaign_id, customer_id)
    return f"/u/{house.ctx.store.tenant(ACME).tokens(row.planned_on).of(row.id)}"


async def sent_link(house: House, customer_id: str = "ana") -> str:
    """The path of the link in a message that a customer has got."""
    return await link_to(house, await by_hand.sent(house), customer_id)


async def said(house: House, customer_id: str = "ana") -> dict[str, tuple[bool | None, str | None]]:
    """Channel by channel what counts of what a customer said, and by which way they said it."""
    shapes = await operate.opt_ins(house.ctx, ACME, customer_id)
    return {shape["channel"]: (shape["opted_in"], shape["source"]) for shape in shapes}


NOTHING_SAID = {"newsletter": (None, None), "letters": (None, None)}
