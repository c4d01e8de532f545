"""Optimove is told of a campaign for seven days, each thing once, and nothing by itself afterwards."""

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeSettings
from tests.flows.seven_days import CAMPAIGN, HOUR, Tenants, open_tenants
from tests.house import NEWSLETTER, open_house

from optirelay.clock import utc_now
from optirelay.engine import dispatch, operate
from optirelay.engine.operate import Decision
from optirelay.engine.reporting import settle_lost_of
from optirelay.model import Accepted, Answer, Doubtful, Refusal, Refused, TenantId

ACME = TenantId("acme")
DAY = 24 * HOUR
PEOPLE = {"ana": 17, "bo": 18, "cy": 17, "dee": 18, "eve": 17, "fay": 17}
ANSWERS: Mapping[str, Answer] = {
    **dict.fromkeys(("ana", "bo", "cy"), Accepted()),
    "dee": Refused(Refusal.REJECTED, "550 no such user"),
    **dict.fromkeys(("eve", "fay"), Doubtful("cut")),
}
EVERYBODY: Mapping[str, Answer] = dict.fromkeys(PEOPLE, Accepted())
CALLS = ("UpdateCampaignMetrics", "UpdateCampaignInteractions", "saveEvent")
INCREMENTS = {"optimove": {"metrics_are": "increments"}, "quirks": {"metrics": "add"}}
MODES: dict[str, dict[str, Any]] = {"totals": {}, "increments": INCREMENTS, "events": {"report": "save_event"}}


async def resolve(tenants: Tenants, tenant: TenantId, customer: str, decision: Decision = Decision.SENT) -> None:
    sid = await tenants.doubt_of(tenant, customer)
    resolved = await operate.resolve_doubts(tenants.ctx, decision, "asked", tenant=tenant, sids=[sid])
    assert resolved.done == 1


async def reported(tenants: Tenants, tenant: TenantId = ACME) -> dict[str, Any]:
    return dict((await tenants.shape(tenant))["reported"])


async def test_three_tenants_are_told_for_seven_days_each_in_its_own_way(database: str, tmp_path: Path) -> None:
    modes = {name: {**how, "report_every": "12h"} for name, how in MODES.items()}
    async with open_tenants(database, tmp_path, **modes) as tenants:
        names = list(tenants.optimove)
        for name in names:
            await tenants.fetch(name, PEOPLE)
        await tenants.sql("update message set recipient_group = 2 where customer_id = 'cy'")
        for name in names:
            await tenants.send(name, ANSWERS)
        assert await tenants.report() == names  # they are complete
        assert await tenants.pass_by(3 * HOUR) == 0
        for name in names:
            await resolve(tenants, name, "eve")
            await resolve(tenants, name, "fay", Decision.GIVE_UP)
        assert await tenants.pass_by(7 * DAY - 3 * HOUR, 3 * HOUR) >= 3 * 7 * 24 / 12
        after_the_last = {name: await tenants.calls(name) for name in names}
        sent = {("sent", 17, 1, "ana"), ("sent", 18, 1, "bo"), ("sent", 17, 2, "cy"), ("sent", 17, 1, "eve")}
        dropped = {("dropped", 18, 1, "dee"), ("dropped", 17, 1, "fay")}
        for name in names:
            assert await tenants.people(name) == dict.fromkeys(sent | dropped, 1)
            assert await tenants.metrics(name) == (
                {} if name == "events" else {(17, 0): 3, (18, 0): 1, (17, 5): 1, (18, 5): 1}
            )
            shape = await reported(tenants, name)
            assert (shape["accepted"], shape["too_late"], shape["next_at"]) == (4, 0, None)
        assert await tenants.pass_by(DAY, 6 * HOUR) == 0
        assert {name: await tenants.calls(name) for name in names} == after_the_last
        assert (await tenants.told(TenantId("events"), "interactions"), await tenants.told(names[0], "events")) == (
            [],
            [],
        )


class Mixed(dict[str, Answer]):
    """Some are refused and some in doubt, by whoever they are."""

    def __missing__(self, customer: str) -> Answer:
        kind = sum(customer.encode()) % 9
        return Refused(Refusal.REJECTED, "550") if kind == 0 else Doubtful("cut") if kind == 1 else Accepted()


UNPLEASANT = {"page_cap": 9, "ids": "strings", "control_group": "rows", "recipient_groups": "rows"}


async def test_at_the_end_a_marketer_of_an_unpleasant_optimove_sees_what_the_ledger_holds(
    database: str, tmp_path: Path
) -> None:
    quirks = {
        "totals": {"attributes": "joined", "paging": "shifting"},
        "increments": {"attributes": "singular", "metrics": "add"},
        "events": {"attributes": "joined"},
    }
    modes = {name: {**how, "customers": 120, "quirks": UNPLEASANT | quirks[name]} for name, how in MODES.items()}
    async with open_tenants(database, tmp_path, **modes) as tenants:
        names = list(tenants.optimove)
        for name in names:
            await tenants.fetch_plan(name, {"templates": [17, 18], "send_at": ["+0s"]}, events=(5, 1, 13, 2, 1, 13))
            await tenants.send(name, Mixed(), most=40)
        await tenants.report()
        for name in names:
            await tenants.pass_by(9 * HOUR, 3 * HOUR)
            await tenants.send(name, Mixed())
        await tenants.pass_by(DAY, 6 * HOUR)
        for name in names:
            doubts = [str(doubt["sid"]) for doubt in await operate.doubts(tenants.ctx, name)]
            assert len(doubts) > 4
            await operate.resolve_doubts(tenants.ctx, Decision.SENT, "asked", tenant=name, sids=doubts[::2])
        await tenants.pass_by(6 * DAY, 6 * HOUR)
        for name in names:
            rows = await tenants.ledger(name)
            states = Counter(state for state, *_ in rows)
            assert (len(rows), states["skipped"] >= 12, states["in_doubt"] > 2) == (120, True, True)
            word = {"accepted": "sent", "refused": "dropped"}
            over = [(word[state], template, group, who) for state, template, group, who in rows if state in word]
            assert await tenants.people(name) == Counter(over)
            assert len({group for _, _, group, _ in over}) > 1
            by_metric = Counter((template, {"sent": 0, "dropped": 5}[event]) for event, template, *_ in over)
            assert await tenants.metrics(name) == ({} if name == "events" else by_metric)
            assert (await reported(tenants, name))["accepted"] == states["accepted"]


async def test_reports_come_regularly_then_at_the_end_and_only_what_is_new_makes_calls(
    database: str, tmp_path: Path
) -> None:
    settings = {"report_every": "4h", "report_for": "10h"}
    async with open_tenants(database, tmp_path, acme=settings) as tenants:
        await tenants.fetch(ACME, PEOPLE)
        begun_at = utc_now()
        await tenants.send(ACME, EVERYBODY)
        assert await tenants.report() == [ACME]
        calls = await tenants.calls(ACME)
        told_at = []
        for hour in range(1, 14):
            if await tenants.pass_by(HOUR):
                told_at.append(hour)
            next_at = (await reported(tenants))["next_at"]
            assert (next_at is None) == (hour >= 10), hour
            if hour == 8:
                assert datetime.fromisoformat(next_at) - begun_at < 10 * HOUR + timedelta(minutes=1)
        assert told_at == [4, 8, 10]
        assert await tenants.calls(ACME) == calls


async def test_a_campaign_that_takes_long_is_told_of_on_the_way_paused_or_not(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme=MODES["increments"]) as tenants:
        await tenants.fetch(ACME, dict.fromkeys(PEOPLE, 17))
        await tenants.send(ACME, EVERYBODY, most=2)
        assert await tenants.pass_by(3 * HOUR) == 0
        assert await tenants.pass_by(2 * HOUR) == 1
        assert sum((await tenants.people(ACME)).values()) == 2
        assert await tenants.metrics(ACME) == {(17, 0): 2}
        await tenants.send(ACME, EVERYBODY, most=1)
        await operate.pause_campaign(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        assert await tenants.pass_by(9 * DAY, 4 * HOUR) > 7 * 24 / 5
        assert await tenants.metrics(ACME) == {(17, 0): 3}
        assert (await reported(tenants))["next_at"] is None
        await operate.resume_campaign(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        await tenants.send(ACME, EVERYBODY, most=1)  # its window is open again
        assert await tenants.pass_by(5 * HOUR) == 1
        assert await tenants.metrics(ACME) == {(17, 0): 4}
        await operate.cancel_campaign(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        await tenants.report()
        assert await tenants.metrics(ACME) == {(17, 0): 4}
        assert set((await tenants.people(ACME)).values()) == {1}
        assert (await reported(tenants))["accepted"] == (await tenants.shape(ACME))["accepted"] == 4


async def test_two_workers_put_one_report(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme={}) as tenants:
        await tenants.fetch(ACME, PEOPLE)
        await tenants.send(ACME, EVERYBODY)
        await tenants.report()
        tenants.clock.shift(5 * HOUR)
        await asyncio.gather(*(dispatch.put_due_reports(tenants.ctx) for _ in range(4)))
        assert len(await tenants.jobs("report")) == 1


async def test_what_comes_after_the_end_is_kept_and_shown_until_somebody_has_it_told(
    database: str, tmp_path: Path
) -> None:
    async with open_tenants(database, tmp_path, acme={}) as tenants:
        await tenants.fetch(ACME, PEOPLE)
        await tenants.send(ACME, ANSWERS)
        await tenants.pass_by(7 * DAY + DAY, DAY)
        calls = await tenants.calls(ACME)
        await resolve(tenants, ACME, "eve")
        assert await tenants.pass_by(DAY, 6 * HOUR) == 0
        assert (await tenants.calls(ACME), (await reported(tenants))["too_late"]) == (calls, 1)
        assert await operate.report_now(tenants.ctx) == []
        assert ("sent", 17, 1, "eve") in await tenants.people(ACME)
        assert (await reported(tenants))["too_late"] == 0


async def test_a_campaign_whose_messages_go_again_starts_its_window_anew(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme={}) as tenants:
        await tenants.fetch(ACME, PEOPLE)
        await tenants.send(ACME, ANSWERS)
        await tenants.pass_by(8 * DAY, DAY)
        assert (await tenants.metrics(ACME))[18, 5] == 1
        await operate.retry_refused(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        await tenants.send(ACME, EVERYBODY)
        assert await tenants.report() == [ACME]
        assert await tenants.metrics(ACME) == {(17, 0): 2, (18, 0): 2}  # dee's refusal is over: a total goes down
        assert (await tenants.people(ACME))["sent", 18, 1, "dee"] == 1
        assert await tenants.pass_by(8 * DAY, 12 * HOUR) == 7 * 2


async def test_an_increment_is_never_negative(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme=INCREMENTS) as tenants:
        await tenants.fetch(ACME, PEOPLE)
        await tenants.send(ACME, ANSWERS)
        await tenants.report()
        await operate.retry_refused(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        await tenants.send(ACME, ANSWERS)  # refused again: known already
        await tenants.report()
        await operate.retry_refused(tenants.ctx, ACME, CAMPAIGN, NEWSLETTER)
        await tenants.send(ACME, EVERYBODY)
        await tenants.report()
        told = [metric["MetricValue"] for body in await tenants.told(ACME, "metrics") for metric in body]
        assert min(told) > 0
        assert await tenants.metrics(ACME) == {(17, 0): 2, (18, 0): 2, (18, 5): 1}


@pytest.mark.parametrize(("mode", "doubts"), [("totals", 1), ("increments", 2), ("events", 1), ("both", 2)])
async def test_only_what_adds_up_is_in_doubt_when_its_answer_is_lost(
    database: str, tmp_path: Path, mode: str, doubts: int
) -> None:
    how = {**MODES, "both": {"report": "both"}}[mode]
    async with open_tenants(database, tmp_path, acme=how) as tenants:
        await tenants.fetch(ACME, dict.fromkeys(PEOPLE, 17))
        await tenants.send(ACME, EVERYBODY)
        for call in CALLS:
            await tenants.sim(ACME, "faults", {"call": call, "fault": "cut_after"})
        await tenants.report()
        await tenants.report()
        assert (await reported(tenants))["in_doubt_batches"] == doubts
        assert await tenants.metrics(ACME) == ({} if mode == "events" else {(17, 0): 6})
        told = await tenants.told(ACME, "events") or await tenants.told(ACME, "interactions")
        rows = await operate.report_doubts(tenants.ctx)
        numbers = [row["id"] for row in rows if row["call"] != "UpdateCampaignMetrics"]
        assert (await operate.resolve_reports(tenants.ctx, Decision.RESEND, "not there", numbers)).done == len(numbers)
        await tenants.report()
        again = await tenants.told(ACME, "events") or await tenants.told(ACME, "interactions")
        assert again == told * 2  # exactly as it was frozen
        assert (await reported(tenants))["accepted"] == 6


async def test_events_and_the_other_calls_do_not_wait_for_each_other(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme={"report": "both"}) as tenants:
        await tenants.fetch(ACME, dict.fromkeys(PEOPLE, 17))
        await tenants.send(ACME, EVERYBODY)
        await tenants.sim(ACME, "faults", {"call": "UpdateCampaignInteractions", "fault": "string_error"})
        await tenants.sim(ACME, "tenants", {"id": 7001, "key": "acme-key", "channels": {"504": "Mail"}})  # no token
        await tenants.report()
        assert await tenants.metrics(ACME) == {(17, 0): 6}
        assert await tenants.told(ACME, "events") == []
        assert (await reported(tenants))["in_doubt_batches"] == 1  # an error in a 2xx, of what adds up
        (problem,) = [p for p in await operate.problems(tenants.ctx) if p["kind"] == "key_refused"]
        assert "signature" in problem["problem"]
        assert "metrics_token" in problem["mend"]
        settings = tenants.ctx.settings
        lost = settings.tenants["acme"].model_copy(update={"report": "interactions", "metrics_url": None})
        ctx = replace(tenants.ctx, settings=settings.model_copy(update={"tenants": {"acme": lost}}))
        (sentence,) = await operate.report_now(ctx)
        assert "no metrics_url" in sentence


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(("mode", "additive"), [("totals", 1), ("increments", 2), ("events", 1)])
async def test_calls_of_a_worker_that_died_are_in_doubt_where_they_left_and_add_up(
    database: str, tmp_path: Path, mode: str, additive: int, left: bool
) -> None:
    async with open_tenants(database, tmp_path, acme=MODES[mode]) as tenants:
        await tenants.fetch(ACME, dict.fromkeys(PEOPLE, 17))
        await tenants.send(ACME, EVERYBODY)
        await tenants.sim(ACME, "faults", {"call": "UpdateCampaignInteractions", "fault": "unauthorized"})
        await tenants.sim(ACME, "faults", {"call": "saveEvent", "fault": "unauthorized"})
        await tenants.report()  # it is frozen, and nothing of it was taken
        assert await tenants.people(ACME) == {}
        dead = replace(tenants.ctx, worker="dead")
        async with tenants.ctx.store.tenant(ACME).transaction() as ledger:
            (campaign,) = await ledger.campaigns.counts()
        claimed = 0
        while True:
            async with dead.store.tenant(ACME).transaction() as ledger:
                if (call := await ledger.reports.claim(campaign.id, "dead", CALLS)) is None:
                    break
                if left:  # else it was still waiting for its turn
                    await ledger.reports.make(call.id)
                claimed += 1
        assert claimed == (1 if mode == "events" else 2)
        await settle_lost_of(tenants.ctx, ACME, "dead")
        await tenants.report()
        assert (await reported(tenants))["in_doubt_batches"] == (additive if left else 0)
        assert len(await tenants.people(ACME)) == (0 if left else 6)
        told = {"totals": True, "increments": not left, "events": False}
        assert await tenants.metrics(ACME) == ({(17, 0): 6} if told[mode] else {})


async def test_an_earlier_total_never_overtakes_a_later_one(database: str, tmp_path: Path) -> None:
    async with open_tenants(database, tmp_path, acme={}) as tenants:
        await tenants.fetch(ACME, dict.fromkeys(PEOPLE, 17))
        await tenants.send(ACME, ANSWERS)
        await tenants.sim(ACME, "faults", {"call": "UpdateCampaignMetrics", "fault": "unauthorized"})
        await tenants.report()
        async with tenants.ctx.store.tenant(ACME).transaction() as ledger:
            (campaign,) = await ledger.campaigns.counts()
            slow = await ledger.reports.claim(campaign.id, "slow", CALLS)
        assert slow is not None
        await resolve(tenants, ACME, "eve")
        await tenants.report()
        assert await tenants.told(ACME, "metrics") == []  # the later one waits
        async with tenants.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.reports.settle(slow.id, "ready")
        await tenants.report()
        assert [body[0]["MetricValue"] for body in await tenants.told(ACME, "metrics")] == [3, 4]


async def test_events_are_signed_and_carry_the_time_when_they_happened(database: str, tmp_path: Path) -> None:
    how = {"report": "both", "optimove": {"interactions_per_call": 2}}
    async with open_tenants(database, tmp_path, acme=how, bravo={"report": "save_event"}) as tenants:
        people = {"0042": 17, "Zoë-日本": 17, "cy": 17}
        for name in tenants.optimove:
            await tenants.fetch(name, people)
        happened_at = utc_now().replace(microsecond=0)
        await tenants.send(ACME, dict.fromkeys(people, Accepted()))
        assert await tenants.report() == [ACME]
        assert await tenants.told(TenantId("bravo"), "events") == []
        bodies = await tenants.told(ACME, "events")
        assert [len(body) for body in bodies] == [2, 1]
        assert [len(body["CustomerIDs"]) for body in await tenants.told(ACME, "interactions")] == [2, 1]
        assert {event["customer"] for body in bodies for event in body} == set(people)
        event = bodies[0][0]
        assert datetime.fromisoformat(event.pop("timestamp")) - happened_at < timedelta(minutes=1)
        context = {"campaign_id": int(CAMPAIGN), "channel_id": 504, "template_id": 17}
        assert event == {"event": "sent", "category": "metric", "customer": event["customer"], "context": context}
        assert (await reported(tenants))["accepted"] == 3  # told by two calls, counted once


async def test_events_that_would_be_too_old_are_kept_and_shown(database: str, tmp_path: Path) -> None:
    how = {"report": "save_event", "report_for": "20d"}
    async with open_tenants(database, tmp_path, acme=how, bravo=how) as tenants:
        for name in tenants.optimove:
            await tenants.fetch(name, dict.fromkeys(PEOPLE, 17))
            await tenants.send(name, ANSWERS)
        # acme's calls are frozen, and its Optimove is away; bravo's report is not even put
        await tenants.sim(ACME, "faults", {"call": "saveEvent", "fault": "unauthorized", "times": 1000})
        await tenants.sql("delete from procrastinate_jobs where task_name = 'report' and args->>'tenant' = 'bravo'")
        await tenants.report()
        tenants.clock.shift(6 * DAY)
        await resolve(tenants, TenantId("bravo"), "eve")
        tenants.clock.shift(DAY)
        await tenants.sim(ACME, "faults", {"call": "saveEvent", "fault": "slow", "seconds": 0})
        await tenants.report()
        assert (await reported(tenants))["too_late"] == 4
        assert await tenants.told(ACME, "events") == []
        bravo = await reported(tenants, TenantId("bravo"))
        assert (bravo["too_late"], bravo["accepted"]) == (4, 1)
        assert await tenants.people(TenantId("bravo")) == {("sent", 17, 1, "eve"): 1}
        problems = [p["problem"] for p in await operate.problems(tenants.ctx) if p["kind"] == "batch_set_aside"]
        assert len(problems) == 4
        assert "more than 7 days ago" in problems[0]


async def test_a_worker_reports_by_itself_until_the_end(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, tenant={"report_every": "1s", "report_for": "2s"}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=20)
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")

        async def over() -> bool:
            (shape,) = await operate.campaigns(house.ctx, campaign_id=campaign_id)
            return shape["reported"]["next_at"] is None and shape["reported"]["accepted"] == shape["accepted"]

        await house.until(over)


def test_the_signature_is_what_the_documents_say() -> None:
    from optirelay.optimove._shell import signature_of

    body = json.dumps([{"customer": "Zoë"}], separators=(",", ":"), ensure_ascii=False).encode()
    assert signature_of(body, "tökèn") == {
        "X-Optimove-Signature-Version": "1",
        "x-optimove-signature-content": hmac.new("tökèn".encode(), body, hashlib.sha256).hexdigest(),
    }
