"""What goes wrong at Optimove or at the provider: nobody is lost or written to twice, and the operator is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from typing import Any

import pytest
from tests.channels.smtp_servers import Act, ScriptedServer
from tests.conftest import MakeSettings
from tests.house import NOBODY_YET, House, open_house

BODY = b'{"EventTypeID":13,"TimeStamp":"2031-04-02 06:12:02","CampaignID":90211,"ChannelID":504}'


@asynccontextmanager
async def house_with(server: ScriptedServer, make_settings: MakeSettings, **channel: Any) -> AsyncIterator[House]:
    """A house whose channel sends to this server, one connection, for customers that a test adds."""
    smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "connections": 1}
    mail = {"provider": "smtp", "from": "Acme <news@acme.example>", "smtp": smtp, **channel}
    async with open_house(make_settings, scenario=NOBODY_YET, channel=mail) as house:
        await house.push(17)
        yield house


def person(name: str, **attributes: str) -> dict[str, str]:
    return {"customer_id": name, "EMAIL": f"{name}@example.com", "FIRST_NAME": name, **attributes}


async def test_a_recipient_that_is_refused_does_not_stop_the_others(make_settings: MakeSettings) -> None:
    async with (
        ScriptedServer().then("RCPT", "550 5.1.1 no such user").running() as server,
        house_with(server, make_settings) as house,
    ):
        await house.people(person("ana"), person("bo"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted == 1
        assert [r for r in counts.refused if r] == [{"rejected": 1}]
        await house.until_reported(campaign_id)
        events = sorted(call["body"]["EventID"] for call in await house.sim("interactions"))
        assert events == [0, 5]  # sent, dropped


async def test_a_mail_that_is_not_taken_for_now_is_tried_again(make_settings: MakeSettings) -> None:
    async with (
        ScriptedServer().then("RCPT", "450 4.2.1 later").running() as server,
        house_with(server, make_settings) as house,
    ):
        await house.people(person("ana"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted == 1
        assert len(server.taken) == 1


async def test_tries_end(make_settings: MakeSettings) -> None:
    async with (
        ScriptedServer(always={"RCPT": "450 4.2.1 later"}).running() as server,
        house_with(server, make_settings, tries=1) as house,
    ):
        await house.people(person("ana"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        message = await house.message(campaign_id, "ana")
        assert (message.state, message.reason) == ("refused", "too_many_tries")
        async with house.ctx.store.tenant("acme").transaction() as ledger:  # type: ignore[arg-type]
            attempts = await ledger.looks.attempts(message.planned_on, message.id)
        assert "450" in attempts[0].detail


async def test_a_cut_after_the_final_dot_is_in_doubt_and_stays_so(make_settings: MakeSettings) -> None:
    async with (
        ScriptedServer().then("DOT", Act.CUT).running() as server,
        house_with(server, make_settings) as house,
    ):
        await house.people(person("ana"), person("bo"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert (counts.accepted, counts.in_doubt) == (1, 1)
        assert len(server.taken) == 2
        assert "message_in_doubt" in await house.problems()
        await house.until_reported(campaign_id)


async def test_without_a_connection_a_channel_waits_and_spends_no_tries(make_settings: MakeSettings) -> None:
    async with ScriptedServer().running() as server:
        port = server.port
    smtp = {"host": "127.0.0.1", "port": port, "security": "none", "connections": 2}
    channel = {"provider": "smtp", "from": "a@acme.example", "tries": 1, "smtp": smtp}
    async with open_house(make_settings, channel=channel) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=20)
        await house.fire(campaign_id)

        async def waits() -> bool:
            return "channel_waiting" in await house.problems()

        await house.until(waits)
        counts = await house.campaign(campaign_id)
        assert (counts.accepted, counts.in_doubt, [r for r in counts.refused if r]) == (0, 0, [])


async def test_a_hostile_value_arrives_escaped_and_in_one_header(make_settings: MakeSettings) -> None:
    async with (
        ScriptedServer().running() as server,
        house_with(server, make_settings) as house,
    ):
        await house.people(person("eve", FIRST_NAME="<script>\r\nBcc: all@example.com"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        mail = message_from_bytes(server.taken[0], policy=policy.default)
        assert mail["Bcc"] is None
        assert mail["Subject"].startswith("Hello <script>")
        html = mail.get_body(("html",))
        assert html is not None
        assert "&lt;script&gt;" in html.get_content()
        assert "<script>" not in html.get_content()


async def test_a_template_that_cannot_be_rendered_for_somebody_is_refused_for_them(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, scenario=NOBODY_YET) as house:
        await house.push(17, html="<p>{% if FIRST_NAME == 'bo' %}{{ FIRST_NAME | divided_by: 0 }}{% endif %}</p>")
        await house.people(person("ana"), person("bo"))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted == 1
        assert (await house.message(campaign_id, "bo")).reason == "render_failed"


async def test_a_template_that_loops_stops_nobody_else(make_settings: MakeSettings) -> None:
    bomb = "{% for a in (1..100000) %}{% for b in (1..100000) %}{{ b }}{% endfor %}{% endfor %}"
    async with open_house(make_settings) as house:
        await house.push(17, html=bomb)
        await house.push(18)
        campaign_id = await house.plan(templates=[17, 18], customers=12)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.accepted == dict(counts.templates)[18] > 4
        assert sum(reasons.get("render_failed", 0) for reasons in counts.refused) > 4


@pytest.mark.parametrize("fault", ["garbage", "rate_limited"])
async def test_an_optimove_that_fails_while_pages_are_read_is_asked_again(
    fault: str, make_settings: MakeSettings
) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=100)
        await house.fault("GetCustomerSendDetailsByChannel", fault)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.handed_over == 100
        assert not await house.problems()


async def test_a_key_that_is_refused_is_told_and_nothing_is_lost(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, tenant={"api_key": "wrong"}, registers=False) as house:
        assert await house.notify(BODY) == 200

        async def told() -> bool:
            return "key_refused" in await house.problems() and (await house.campaign("90211")).fetching

        await house.until(told)


async def test_a_lost_answer_to_interactions_is_in_doubt_and_never_repeated(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=100)
        await house.fault("UpdateCampaignInteractions", "cut_after")
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")

        async def settled() -> bool:
            reported = await house.reported(campaign_id)
            return not reported.open and reported.in_doubt_batches == 1

        await house.until(settled)
        assert "report_in_doubt" in await house.problems()
        calls = [call for call in await house.sim("calls") if call["call"] == "UpdateCampaignInteractions"]
        assert len(calls) == 1


async def test_a_lost_answer_to_totals_is_sent_again(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=100)
        await house.fault("UpdateCampaignMetrics", "cut_after")
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        await house.until_reported(campaign_id)
        metrics = await house.sim("metrics")
        assert [m["body"][0]["MetricValue"] for m in metrics] == [counts.accepted] * 2


async def test_interactions_that_were_not_taken_for_now_are_sent_later(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=100)
        await house.fault("UpdateCampaignInteractions", "rate_limited")
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        await house.until_reported(campaign_id)
        assert len(await house.sim("interactions")) == 1
