"""Everybody whom Optimove chose and who is not written to has a reason: every one that there is, in one campaign."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.channels.smtp_servers import Act, Script, ScriptedServer
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, NOBODY_YET, House, open_house

from optirelay.engine import operate
from optirelay.engine.offering import keep_template
from optirelay.model import CustomerId, Refusal, Skip, TemplateContent, TemplateId
from optirelay.store.opt_outs import Statement


class FussyServer(ScriptedServer):
    """Takes every mail but those to people who are named after what becomes of them."""

    async def _do(self, point: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> str:
        said: dict[str, dict[str, Script]] = {
            "RCPT": {"rejected@": "550 5.1.1 no such user", "too_many_tries@": "450 4.2.1 later"},
            "DOT": {"given_up@": Act.CUT},
        }
        about = self.taken[-1].decode() if point == "DOT" else "".join(self.commands[-1:])
        for name, script in said.get(point, {}).items():
            if name in about:
                self.then(point, script)
        return await super()._do(point, writer, reader)


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")


PLAIN, NEEDS_CITY, UNKNOWN, BREAKS = 17, 18, 19, 20
# What of a row makes it so; each is a customer of that name, written to at a name of that name.
ROWS: dict[Skip | Refusal, dict[str, Any]] = {
    Skip.NO_ADDRESS: {"CustomerAttributes": [None, "Ana"]},
    Skip.BAD_ADDRESS: {"CustomerAttributes": ["ana at example.com", "Ana"]},
    Skip.NOT_ALLOWED: {"CustomerAttributes": ["ana@example.org", "Ana"]},
    Skip.OPTED_OUT: {},
    Skip.SUPPRESSED: {},
    Skip.EXPIRED: {"ScheduledTime": in_days(-2)},
    Skip.CANCELLED: {"ScheduledTime": in_days(2)},
    Skip.MISSING_PERSONALIZATION: {"TemplateID": NEEDS_CITY},
    Skip.UNKNOWN_TEMPLATE: {"TemplateID": UNKNOWN, "ScheduledTime": in_days(-2)},
    Skip.NO_CUSTOMER: {"CustomerID": None},
    Skip.CONTROL_GROUP: {"ActionID": 1},
    Skip.UNREADABLE: {"ScheduledTime": "soon"},
    Skip.ERASED: {},
    Refusal.REJECTED: {},
    Refusal.TOO_MANY_TRIES: {},
    Refusal.RENDER_FAILED: {"TemplateID": BREAKS},
    Refusal.GIVEN_UP: {},
}
OF_NOBODY = (Skip.NO_CUSTOMER, Skip.UNREADABLE)
FINE = {"CustomerID": "accepted", "CustomerAttributes": ["accepted@example.com", "Ana", "Rome"]}


def rows() -> list[dict[str, Any]]:
    def usual(name: str) -> dict[str, Any]:
        times: dict[str, Any] = {"TemplateID": PLAIN, "ScheduledTime": in_days(0)}
        return {"CustomerID": name, **times, "CustomerAttributes": [f"{name}@example.com", "Ana", ""]}

    return [usual(reason) | changed for reason, changed in ROWS.items()] + [usual("accepted") | FINE]


async def push(house: House, number: int, content: TemplateContent) -> None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await keep_template(
            ledger, NEWSLETTER, TemplateId(number), key=f"t{number}", name=f"Template {number}", content=content
        )


async def say_no(house: House) -> None:
    """Two of them did, and a third was erased, before the campaign."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        customer = CustomerId(Skip.OPTED_OUT)
        await ledger.opt_outs.keep([Statement(customer, NEWSLETTER, datetime.now(UTC), opted_in=False, source="test")])
    await operate.suppress(house.ctx, ACME, f"{Skip.SUPPRESSED}@example.com", None, "test")
    await operate.erase(house.ctx, ACME, Skip.ERASED)


async def shape(house: House) -> dict[str, Any]:
    shapes = await operate.campaigns(house.ctx)
    return shapes[0] if shapes else {"planned": 0, "handed_over": 0}


async def test_every_reason_of_a_skip_and_of_a_refusal(make_settings: MakeSettings) -> None:
    assert set(ROWS) == {*Skip, *Refusal}
    async with FussyServer(offers=()).running() as server:  # no pipelining: a cut is one mail's
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "connections": 1}
        channel: dict[str, Any] = {
            "provider": "smtp",
            "from": "a@acme.example",
            "smtp": smtp,
            "personalization": ["FIRST_NAME", "CITY"],
        }
        channel |= {"only_to": ["*@example.com"], "tries": 1, "in_doubt": "give_up"}
        async with open_house(make_settings, scenario=NOBODY_YET, channel=channel) as house:
            await push(house, PLAIN, TemplateContent("Hello", "<p>Hello</p>"))
            await push(house, NEEDS_CITY, TemplateContent("Hello", "<p>{{ CITY }}</p>", required=("CITY",)))
            await push(house, BREAKS, TemplateContent("Hello", "<p>{{ FIRST_NAME | divided_by: 0 }}</p>"))
            await say_no(house)
            campaign_id = await house.plan(rows=rows())
            await house.fire(campaign_id)

            async def only_what_is_not_due_is_left() -> bool:
                now = await shape(house)
                return bool(now["planned"] == 1 and not now["sending"] and now["handed_over"] == len(ROWS) + 1)

            await house.until(only_what_is_not_due_is_left)
            await house.cancel(campaign_id)
            await house.until_state(campaign_id, "cancelled")
            ended = await shape(house)
            assert ended["balanced"]
            assert (ended["handed_over"], ended["accepted"], ended["in_doubt"]) == (len(ROWS) + 1, 1, 0)
            assert ended["skipped"] == dict.fromkeys(map(str, Skip), 1)
            assert ended["refused"] == dict.fromkeys(map(str, Refusal), 1)
            for reason in ROWS.keys() - OF_NOBODY:
                assert (await house.message(campaign_id, reason)).reason == reason
            assert (await house.message(campaign_id, "accepted")).state == "accepted"
