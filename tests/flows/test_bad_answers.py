"""Every bad answer of Optimove to every call: nobody is lost, nothing is told twice, and the operator hears of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.by_hand import announced, gather_all, sent
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine.settle import Known
from optirelay.errors import GiveUp, NeedsOperator, OptirelayError, TryLater
from optirelay.model import Accepted
from optirelay.optimove import OptimoveClient, get_channel_templates, register_event_listener

Outcome = type[OptirelayError] | None  # what a step ends with; None: it goes on

NOTHING_DONE: dict[str, Outcome] = {
    "rate_limited": None,  # sent again at once, after a second
    "unauthorized": NeedsOperator,
    "forbidden": NeedsOperator,
    "moved": TryLater,
}
PERHAPS_DONE = (
    *("error_before", "error_after", "cut_before", "cut_after", "cut_within"),
    *("garbage", "string_error", "wrong_shape"),
)
DONE = ("accepted", "response_code")

TO_GETS = NOTHING_DONE | dict.fromkeys((*PERHAPS_DONE, "response_code"), TryLater) | {"refused": GiveUp}
TO_POSTS = NOTHING_DONE | dict.fromkeys(PERHAPS_DONE, TryLater) | dict.fromkeys(DONE) | {"refused": GiveUp}
PROBLEMS: dict[Outcome, set[str]] = {
    None: set(),
    NeedsOperator: {"key_refused"},
    TryLater: {"optimove_silent"},
    GiveUp: {"optimove_silent"},
}


async def ends(run: Awaitable[object], expected: Outcome, fault: str) -> None:
    (ended,) = await asyncio.gather(run, return_exceptions=True)
    assert ended is None if expected is None else isinstance(ended, expected), f"{fault}: {ended!r}"


@asynccontextmanager
async def house_by_hand(make_settings: MakeSettings) -> AsyncIterator[House]:
    """Without workers, and without a budget worth waiting for."""
    async with open_house(make_settings, workers=0, tenant={"rate_limit": "1000/1s"}) as house:
        await house.optimove.post("/_sim/quirks", json={"calls": "1000/1s"})
        yield house


async def calls_of(house: House, name: str) -> list[dict[str, Any]]:
    return [call for call in await house.sim("calls") if call["call"] == name]


async def test_pages_are_asked_for_again_after_any_bad_answer(make_settings: MakeSettings) -> None:
    async with house_by_hand(make_settings) as house:
        await house.push(17)
        campaign_id = await announced(house, customers=30)
        faults = TO_GETS | {"accepted": TryLater}
        del faults["rate_limited"]
        for fault, expected in faults.items():
            await house.fault("GetCustomerSendDetailsByChannel", fault)
            await ends(gather_all(house), expected, fault)
            assert PROBLEMS[expected] <= await house.problems(), fault
        assert (await house.campaign(campaign_id)).handed_over == 0
        await house.fault("GetCustomerSendDetailsByChannel", "rate_limited")
        await gather_all(house)
        while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
            begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
            known = Known({message.number: Accepted() for message in begun.start})
            await pipeline.write_answers(house.ctx, ACME, {taken: known})
        counts = await house.campaign(campaign_id)
        assert (counts.handed_over, counts.state) == (30, "complete")
        assert await house.problems() == set()
        await house.audit()


async def test_totals_are_told_again_until_optimove_has_answered(make_settings: MakeSettings) -> None:
    async with house_by_hand(make_settings) as house:
        await house.push(17)
        for fault, expected in TO_POSTS.items():
            refused = expected is GiveUp
            before = len(await calls_of(house, "UpdateCampaignMetrics"))
            campaign = await house.campaign(await sent(house, customers=3))
            await house.fault("UpdateCampaignMetrics", fault)
            run = pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
            await ends(run, None if refused else expected, fault)
            assert await house.problems() == ({"batch_set_aside"} if refused else PROBLEMS[expected]), fault
            for _ in range(2):
                await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
            assert await house.problems() == ({"batch_set_aside"} if refused else set()), fault
            if not refused:
                (total,) = (await house.sim("metrics"))[-1]["body"]
                assert (str(total["CampaignID"]), total["MetricValue"]) == (campaign.campaign_id, campaign.accepted)
            made = len(await calls_of(house, "UpdateCampaignMetrics")) - before
            assert made == (1 if refused or fault in DONE else 2), fault


async def test_interactions_that_may_have_arrived_are_in_doubt_and_all_others_arrive_once(
    make_settings: MakeSettings,
) -> None:
    async with house_by_hand(make_settings) as house:
        await house.push(17)
        doubts = 0
        for fault, expected in TO_POSTS.items():
            once = fault in PERHAPS_DONE or expected is GiveUp
            before = len(await calls_of(house, "UpdateCampaignInteractions"))
            campaign = await house.campaign(await sent(house, customers=3))
            await house.fault("UpdateCampaignInteractions", fault)
            await ends(pipeline.report.run(house.ctx, ACME, campaign=campaign.id), None if once else expected, fault)
            problems = await house.problems()
            for _ in range(2):
                await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
            reported = await house.reported(campaign.campaign_id)
            assert not reported.open
            assert reported.in_doubt_batches == (fault in PERHAPS_DONE), fault
            doubts += reported.in_doubt_batches
            made = (await calls_of(house, "UpdateCampaignInteractions"))[before:]
            assert len(made) == (1 if once or fault in DONE else 2), fault
            assert reported.accepted == (0 if once else campaign.accepted), fault
            if not once and expected is not None:
                assert PROBLEMS[expected] <= problems, fault
            assert (await house.problems()) == ({"report_in_doubt"} if doubts else set()) | (
                {"batch_set_aside"} if expected is GiveUp else set()
            ), fault
        campaign = await house.campaign(await sent(house, customers=3))
        async with OptimoveClient("http://127.0.0.1:1", "demo-key") as nowhere:
            away = replace(house.ctx, optimove={ACME: nowhere})
            await ends(pipeline.report.run(away, ACME, campaign=campaign.id), TryLater, "no connection")
        await pipeline.report.run(house.ctx, ACME, campaign=campaign.id)
        assert (await house.reported(campaign.campaign_id)).accepted == campaign.accepted
        arrived = [call["body"]["CampaignID"] for call in await house.sim("interactions")]
        assert len(arrived) == len(set(arrived))


async def test_lists_are_brought_in_step_after_any_bad_answer(make_settings: MakeSettings) -> None:
    calls = {  # in the order of a sync
        "GetRegisteredEventListeners": TO_GETS | {"refused": None},  # it once refused third parties
        "RegisterEventListener": TO_POSTS,
        "GetChannelTemplates": TO_GETS,
        "AddChannelTemplates": TO_POSTS,
    }
    async with house_by_hand(make_settings) as house:
        await pipeline.sync.run(house.ctx, ACME)
        ours = await listeners(house)
        for number, fault in enumerate(TO_POSTS, start=1):
            await house.push(number)
            await house.ctx.optimove[ACME].send(register_event_listener(13, "https://elsewhere.example", 504))
            for call, outcomes in calls.items():
                if fault in outcomes and (fault != "rate_limited" or call == "AddChannelTemplates"):
                    await house.fault(call, fault)
            for call, outcomes in calls.items():
                if expected := outcomes.get(fault):
                    await ends(pipeline.sync.run(house.ctx, ACME), expected, f"{call} {fault}")
                    assert await told_beside_the_move(house) == PROBLEMS[expected], f"{call} {fault}"
            await pipeline.sync.run(house.ctx, ACME)
            assert await told_beside_the_move(house) == set(), fault
            assert await listeners(house) == ours
            listed = await house.ctx.optimove[ACME].send(get_channel_templates(504))
            assert [row.template_id for row in listed] == list(range(1, number + 1))
        assert (await house.optimove.get("/_sim/state")).json()["faults"] == []


async def told_beside_the_move(house: House) -> set[str]:
    """What the operator is told, but that a listener led elsewhere."""
    return await house.problems() - {"listener_moved"}


async def listeners(house: House) -> list[Any]:
    return list((await house.optimove.get("/_sim/state")).json()["tenants"][0]["listeners"])
