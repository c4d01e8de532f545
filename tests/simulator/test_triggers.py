"""Triggers: what a notification says, for whom one fires, and when it is the same again."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from tests.simulator.listener import Listener

from optirelay.simulator import BadEntry, Simulator, firing
from optirelay.simulator.triggers import Tally

ANA = {"customer_id": "C-004711x", "EMAIL": "ana@example.com", "PLAN": None}
TRIGGER = {
    "campaign": 58831,
    "channel": 604,
    "name": "Viewed loans three times",
    "templates": [17],
    "action_name": "Loan nudge",
    "promo_codes": ["LOAN5"],
    "notes": "{}",
}
LISTENERS = "/current/general/RegisterEventListener"


async def post(optimove: httpx2.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await optimove.post(f"/_sim/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def wrong(optimove: httpx2.AsyncClient, path: str, **body: Any) -> str:
    answer = await optimove.post(f"/_sim/{path}", json=body)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


async def listen(optimove: httpx2.AsyncClient, url: str, channel: int | None = None) -> None:
    body = {"EventTypeID": 11, "ListenerURL": url} | ({} if channel is None else {"ChannelID": channel})
    assert (await optimove.post(LISTENERS, json=body)).status_code == 200


async def trigger(optimove: httpx2.AsyncClient) -> dict[str, Any]:
    (shown,) = (await optimove.get("/_sim/triggers")).json()
    return dict(shown)


async def ana_and_a_trigger(optimove: httpx2.AsyncClient, listener: Listener, **changes: Any) -> None:
    await post(optimove, "customers", tenant=7001, customers=[ANA])
    await listen(optimove, listener.url)
    assert await post(optimove, "triggers", **TRIGGER | changes) == {"id": 58831}


async def test_a_trigger_tells_everything_about_one_customer(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await ana_and_a_trigger(optimove, listener)
    template = [{"TemplateID": 17, "TemplateName": "Loan nudge mail"}]
    await optimove.post("/current/integrations/AddChannelTemplates?ChannelID=604", json=template)
    order = {"customers": ["C-004711x"], "parameters": {"visits": "3"}, "time_stamp": "2031-04-02T12:44:09+00:00"}
    assert await post(optimove, "triggers/fire", **order) == {"notifications": 1}
    (body,) = await listener.until(1)
    assert body == {
        "eventTypeID": 11,
        "timeStamp": "2031-04-02 12:44:09",
        "tenantID": 7001,
        "triggerName": "Viewed loans three times",
        "customerID": "C-004711x",
        "campaignID": 58831,
        "actionID": 214,
        "actionName": "Loan nudge",
        "channelID": 604,
        "templateID": 17,
        "templateName": "Loan nudge mail",
        "promoCode": ["LOAN5"],
        "notes": "{}",
        "personalization": {"EMAIL": "ana@example.com", "PLAN": None, "visits": "3"},
    }


async def test_it_can_be_spelt_otherwise_with_event_parameters_at_the_top(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await post(optimove, "quirks", triggered_keys="pascal", ids="strings")
    await ana_and_a_trigger(optimove, listener)
    await post(optimove, "triggers/fire", customers=["C-004711x"], parameters={"event_device_type": "web"})
    (body,) = await listener.until(1)
    ids = ("EventTypeID", "TenantID", "CampaignID", "ActionID", "ChannelID", "TemplateID")
    assert [body[name] for name in ids] == ["11", "7001", "58831", "214", "604", "17"]
    assert (body["CustomerID"], body["PromoCode"], body["event_device_type"]) == ("C-004711x", ["LOAN5"], "web")
    assert body["Personalization"] == {"EMAIL": "ana@example.com", "PLAN": None}


async def test_a_rule_fires_at_the_nth_event_and_counts_anew(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await ana_and_a_trigger(optimove, listener, event="viewed_loans", times=3)
    event = {"tenant": 7001, "customer": "C-004711x", "event": "viewed_loans"}
    fired = []
    for number in range(1, 7):
        if number == 2:  # what others do, and what else she does, does not count
            await post(optimove, "customers/events", **event | {"customer": "C-000001"})
            await post(optimove, "customers/events", **event | {"event": "logged_in"})
        answer = await post(optimove, "customers/events", **event, parameters={"page": number})
        fired.append(answer["notifications"])
    assert fired == [0, 0, 1, 0, 0, 1]
    bodies = await listener.until(2)
    assert [body["personalization"]["page"] for body in bodies] == [3, 6]
    assert bodies[0]["timeStamp"] < bodies[1]["timeStamp"]


async def test_it_reaches_the_listeners_of_its_channel_and_of_all(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    for channel in (504, 604, None):
        await listen(optimove, f"{listener.url}/{channel}", channel)
    assert await post(optimove, "triggers/fire", **TRIGGER) == {"notifications": 2}
    await listener.until(2)
    assert {path for path, _ in listener.heard} == {"/604", "/None"}


async def test_firings_of_one_second_have_stamps_of_their_own_and_spread_over_templates(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)
    await post(optimove, "triggers/fire", **TRIGGER | {"templates": [17, 18, 19]}, customers=["C-000001"] * 3)
    await post(optimove, "triggers/fire", customers=3, time_stamp="-30s")
    bodies = await listener.until(6)
    assert len({body["timeStamp"] for body in bodies[:3]}) == 3
    assert len({body["timeStamp"] for body in bodies[3:]}) == 1
    for three in (bodies[:3], bodies[3:]):
        assert sorted(body["templateID"] for body in three) == [17, 18, 19]


async def test_the_same_moment_again_is_the_same_bytes_and_counts_as_a_duplicate(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)
    await post(optimove, "triggers/fire", **TRIGGER | {"templates": [17, 18, 19]}, customers=["C-000002"])
    (first,) = await listener.until(1)
    await post(optimove, "triggers/fire", customers=["C-000002"])  # another, in between
    again = datetime.fromisoformat(first["timeStamp"]).replace(tzinfo=UTC).isoformat()
    await post(optimove, "triggers/fire", customers=["C-000002"], time_stamp=again)
    await listener.until(3)
    one, other, repeated = listener.contents
    assert one == repeated != other
    shown = await trigger(optimove)
    assert (shown["fired"], shown["sent"], shown["duplicates"], shown["answered"]) == (2, 3, 1, 3)


async def test_visitors_have_no_id_and_what_the_event_said(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await listen(optimove, listener.url)
    parameters = {"EMAIL": "guest@example.com"}
    await post(optimove, "triggers/fire", **TRIGGER, visitor=True, customers=2, parameters=parameters)
    bodies = await listener.until(2)
    assert [(body["customerID"], body["personalization"]) for body in bodies] == [(None, parameters)] * 2
    assert bodies[0]["timeStamp"] != bodies[1]["timeStamp"]


async def test_what_is_said_anew_changes_a_known_trigger_and_keeps_its_counts(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)
    await post(optimove, "triggers/fire", **TRIGGER | {"campaign": "abc-7"})
    await post(optimove, "triggers/fire", campaign="abc-7", templates=[18])
    await post(optimove, "triggers/fire", name="Viewed loans three times")
    bodies = await listener.until(3)
    assert [(body["campaignID"], body["templateID"]) for body in bodies] == [("abc-7", n) for n in (17, 18, 18)]
    assert (await trigger(optimove))["fired"] == 3


async def test_twice_tells_each_firing_twice(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await post(optimove, "quirks", notifications="twice")
    await listen(optimove, listener.url)
    assert await post(optimove, "triggers/fire", **TRIGGER, customers=2) == {"notifications": 4}
    await listener.until(4)
    assert len(set(listener.contents)) == 2
    shown = await trigger(optimove)
    assert (shown["fired"], shown["sent"], shown["duplicates"]) == (2, 4, 2)


async def test_what_is_not_answered_200_is_tried_again_or_given_up(
    optimove: httpx2.AsyncClient, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "PAUSE_SECONDS", 0.02)
    await listen(optimove, listener.url)
    listener.statuses = [503, 200, 500, 500, 500, 500]
    await post(optimove, "triggers/fire", **TRIGGER)
    await listener.until(2)
    await post(optimove, "triggers/fire")
    await listener.until(6)
    shown = await trigger(optimove)
    assert (shown["sent"], shown["answered"], shown["failed"], shown["retried"]) == (2, 1, 1, 4)
    assert 0 < shown["latency_ms"]["p50"] <= shown["latency_ms"]["p99"]


async def test_a_scenario_has_triggers_and_the_page_shows_what_came_of_them(listener: Listener) -> None:
    scenario = {
        "triggers": [TRIGGER | {"name": "<b>Loans</b>", "event": "viewed", "times": 3}, {**TRIGGER, "campaign": "x"}]
    }
    async with (
        Simulator(scenario=scenario) as simulator,
        httpx2.AsyncClient(base_url=simulator.url, headers={"X-API-KEY": "demo-key"}) as optimove,
    ):
        await listen(optimove, listener.url)
        await post(optimove, "triggers/fire", campaign=58831)
        await listener.until(1)
        here = {"ChannelID": 604, "CampaignID": 58831, "TemplateID": 17}
        metric = here | {"MetricID": 0, "MetricValue": 1234}
        await optimove.post("/current/integrations/UpdateCampaignMetrics", json=[metric])
        interaction = here | {"EventID": 0, "InteractionDate": "2031-04-02", "CustomerIDs": ["C-000001"]}
        await optimove.post("/current/integrations/UpdateCampaignInteractions", json=interaction)
        page = (await optimove.get("/")).text
        one, other = (await optimove.get("/_sim/state")).json()["triggers"]
        assert (await optimove.get("/_sim/state?summary=1")).json()["triggers"] == 2
    for shown in ("&lt;b&gt;Loans", "viewed, 3 times", "1 sent", "1 answered", "p99", "17 sent: 1,234"):
        assert shown in page
    assert one["metrics"] == [{"TemplateID": 17, "MetricID": 0, "MetricValue": 1234}]
    assert one["interactions"][0]["customers"] == 1
    assert (other["metrics"], other["interactions"], other["fired"]) == ([], [], 0)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("triggers", {"channel": 504}, "templates is missing"),
        ("triggers", {"templates": [17]}, "channel is missing; give"),
        ("triggers", {"templates": [17], "channel": 9}, "[504, 604]"),
        ("triggers", {"templates": [], "channel": 504}, "at least one"),
        ("triggers", {"templates": [17], "channel": 504, "campaign": 1.5}, "campaign is 1.5"),
        ("triggers", {"templates": [17], "channel": 504, "promo_codes": "X"}, "promo_codes is 'X'"),
        ("triggers", {"templates": [17], "channel": 504, "notes": 5}, "notes is 5"),
        ("triggers", {"templates": [17], "channel": 504, "times": 3}, "event is missing"),
        ("triggers", {"templates": [17], "channel": 504, "colour": 1}, "colour is no key"),
        ("triggers", TRIGGER, "58831 has a trigger; give another"),
        ("triggers/fire", {"campaign": 5}, "campaign is 5, which is no trigger; give the tenant and the campaign"),
        ("triggers/fire", {"name": "None"}, "name is 'None'"),
        ("triggers/fire", {"tenant": 9}, "tenant is 9"),
        ("triggers/fire", {"customers": ["nobody"]}, "nobody"),
        ("triggers/fire", {"customers": 5001}, "5000"),
        ("triggers/fire", {"visitor": "yes"}, "true or false"),
        ("triggers/fire", {"visitor": True, "customers": ["C-000001"]}, "a whole number"),
        ("triggers/fire", {"parameters": ["x"]}, "parameters is ['x']"),
        ("triggers/fire", {"time_stamp": "soon"}, "time_stamp is 'soon'"),
        ("triggers/fire", {"per_second": 3}, "per_second is no key"),
        ("customers/events", {"customer": "nobody", "event": "viewed"}, "customer is 'nobody'"),
        ("customers/events", {"customer": "C-000001"}, "event is missing"),
        ("triggers/generate", {"count": 5}, "nobody listens to type 11 on channel 604"),
    ],
)
async def test_what_is_wrong_about_a_trigger_is_named_and_changes_nothing(
    optimove: httpx2.AsyncClient, path: str, body: dict[str, Any], named: str
) -> None:
    await post(optimove, "triggers", **TRIGGER)
    assert named in await wrong(optimove, path, **body)
    assert (await trigger(optimove))["campaign"] == 58831


async def test_a_trigger_has_to_be_named_where_there_are_several(optimove: httpx2.AsyncClient) -> None:
    assert "there are no triggers; add one" in await wrong(optimove, "triggers/fire")
    assert "no trigger" in await wrong(optimove, "triggers/fire", campaign=58831, customers=1)
    first = await post(optimove, "triggers", templates=[17], channel=604)
    second = await post(optimove, "triggers", templates=[17], channel=604)
    assert first["id"] + 1 == second["id"]
    error = await wrong(optimove, "triggers/fire")
    assert f"several triggers; give the tenant and the campaign of one ({first['id']} of tenant 7001," in error
    await post(optimove, "tenants", id=7002, key="other", channels={"604": "Mail"}, customers=1)
    await post(optimove, "triggers", tenant=7002, campaign=first["id"], templates=[17])
    assert "of tenant 7001, " in await wrong(optimove, "triggers/fire", campaign=first["id"])
    await post(optimove, "triggers/fire", tenant=7002, campaign=first["id"])
    assert [shown["fired"] for shown in (await optimove.get("/_sim/triggers")).json()] == [0, 0, 1]


def test_a_wrong_trigger_of_a_scenario_is_named() -> None:
    with pytest.raises(BadEntry, match="triggers: templates is missing"):
        Simulator(scenario={"triggers": [{"channel": 604}]})


def test_latencies_are_told_by_their_share() -> None:
    tally = Tally()
    assert tally.percentile(0.5) is None
    for number in range(1, 101):
        tally.took(number / 1000)
    assert (tally.percentile(0.5), tally.percentile(0.99), tally.percentile(1)) == (50, 99, 100)
