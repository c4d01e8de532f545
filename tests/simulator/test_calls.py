"""Optimove's calls over HTTP: what they take, what they answer, and what they refuse."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

SEND_DETAILS = "/current/customers/GetCustomerSendDetailsByChannel"
CAMPAIGN = {"id": 90211, "channel": 504, "templates": [17, 18, 19], "send_at": ["+0s", "+30s"], "customers": 12}
INTERACTION = {
    "CampaignID": 90211,
    "ChannelID": 504,
    "InteractionDate": "2031-04-02",
    "TemplateID": 17,
    "EventID": 3,
    "CustomerIDs": ["C-1", "C-2"],
}
METRIC = {"ChannelID": 504, "CampaignID": 90211, "TemplateID": 17, "MetricID": 0, "MetricValue": 925}


async def fired(optimove: httpx2.AsyncClient, **changes: Any) -> int:
    told = await optimove.post("/_sim/campaigns", json=CAMPAIGN | changes)
    campaign_id: int = told.json()["id"]
    assert (await optimove.post(f"/_sim/campaigns/{campaign_id}/fire")).json() == {"listeners": 0}
    return campaign_id


async def rows_of(optimove: httpx2.AsyncClient, **query: Any) -> list[Any]:
    answer = await optimove.get(SEND_DETAILS, params={"ChannelID": 504, "CampaignID": 90211} | query)
    assert answer.status_code == 200, answer.text
    rows: list[Any] = answer.json()
    return rows


@pytest.mark.parametrize("headers", [{"X-API-KEY": "wrong"}, {"X-API-KEY": ""}])
async def test_a_key_that_is_none_gets_401(optimove: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await optimove.get("/current/general/GetRegisteredEventListeners", headers=headers)
    assert (answer.status_code, answer.json()) == (401, "Unauthorized")


async def test_the_key_tells_the_tenant(optimove: httpx2.AsyncClient) -> None:
    other = {"id": 7002, "key": "other-key", "channels": {"505": "Text"}, "customers": 3}
    assert (await optimove.post("/_sim/tenants", json=other)).status_code == 200
    body = [{"TemplateID": 1, "TemplateName": "Text"}]
    path = "/current/integrations/AddChannelTemplates?ChannelID=505"
    assert (await optimove.post(path, json=body)).status_code == 400
    assert (await optimove.post(path, json=body, headers={"X-API-KEY": "other-key"})).status_code == 200
    assert (await optimove.get("/_sim/templates")).json()[0]["tenant"] == 7002


@pytest.mark.parametrize(
    "path",
    [
        "/current/integrations/GetChannelTemplates?ChannelID=504",
        "/Integrations/GetChannelTemplates?channelid=504",
        "/CURRENT/INTEGRATIONS/getchanneltemplates?CHANNELID=504",
    ],
)
async def test_paths_and_parameters_are_matched_without_regard_to_case(optimove: httpx2.AsyncClient, path: str) -> None:
    answer = await optimove.get(path)
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/current/general/RegisterEventListener"),
        ("POST", "/current/integrations/GetChannelTemplates"),
        ("GET", "/current/general/Nonsense"),
        ("GET", "/general"),
    ],
)
async def test_a_wrong_verb_and_an_unknown_path_get_405(optimove: httpx2.AsyncClient, method: str, path: str) -> None:
    answer = await optimove.request(method, path)
    assert (answer.status_code, answer.json()) == (405, "Method Not Allowed")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 200), ("application/json; charset=utf-8", 200), ("text/json", 400), ("", 400)],
)
async def test_a_post_has_to_be_called_application_json(
    optimove: httpx2.AsyncClient, content_type: str, status: int
) -> None:
    answer = await optimove.post(
        "/current/integrations/UpdateCampaignMetrics", content=b"[]", headers={"Content-Type": content_type}
    )
    assert answer.status_code == status
    assert answer.content == b"" if status == 200 else isinstance(answer.json(), str)


async def test_a_listener_is_registered_once_and_moved_by_a_second_call(optimove: httpx2.AsyncClient) -> None:
    register = "/current/general/RegisterEventListener"
    for url in ("http://127.0.0.1:9/old", "http://127.0.0.1:9/new?tenant=acme"):
        body = {"EventTypeID": 13, "ChannelID": 504, "ListenerURL": url}
        answer = await optimove.post(register, json=body)
        assert (answer.status_code, answer.content) == (200, b"")
    await optimove.post(register, json={"eventtypeid": 4, "listenerurl": "http://127.0.0.1:9/4"})
    assert (await optimove.get("/current/general/GetRegisteredEventListeners")).json() == [
        {"EventTypeID": 13, "ChannelID": 504, "ListenerURL": "http://127.0.0.1:9/new?tenant=acme"},
        {"EventTypeID": 4, "ListenerURL": "http://127.0.0.1:9/4"},
    ]
    assert [entry["body"]["ListenerURL"] for entry in (await optimove.get("/_sim/listeners")).json()[:2]] == [
        "http://127.0.0.1:9/old",
        "http://127.0.0.1:9/new?tenant=acme",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"EventTypeID": 99},
        {"EventTypeID": "13"},
        {"EventTypeID": True},
        {"ChannelID": 9},
        {"ListenerURL": "ftp://127.0.0.1/"},
        {"ListenerURL": "http://[broken"},
        {"ListenerURL": None},
        {"EventTypeID": 5},
    ],
)
async def test_a_listener_that_makes_no_sense_is_refused(optimove: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    body = {"EventTypeID": 13, "ChannelID": 504, "ListenerURL": "http://127.0.0.1:9/"} | wrong
    answer = await optimove.post("/current/general/RegisterEventListener", json=body)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert (await optimove.get("/_sim/listeners")).json() == []


async def test_templates_are_listed_after_they_were_added(optimove: httpx2.AsyncClient) -> None:
    body = [{"TemplateID": 17, "TemplateName": "Loan"}, {"TemplateID": 18, "TemplateName": "Hello", "AppID": "ios"}]
    answer = await optimove.post("/current/integrations/AddChannelTemplates?ChannelID=504", json=body)
    assert (answer.status_code, answer.content) == (200, b"")
    expected = [{"TemplateID": 17, "TemplateName": "Loan"}, {"TemplateID": 18, "TemplateName": "Hello"}]
    assert (await optimove.get("/current/integrations/GetChannelTemplates?ChannelID=504")).json() == expected
    assert (await optimove.get("/current/integrations/GetChannelTemplates?ChannelID=604")).json() == []
    assert (await optimove.get("/_sim/state")).json()["channels"][0] == {
        "tenant": 7001,
        "channel": 504,
        "name": "Mail scheduled",
        "templates": [{**expected[0], "AppID": None}, {**expected[1], "AppID": "ios"}],
        "apps": [],
    }


async def test_deleted_templates_are_gone_on_their_channel_alone(optimove: httpx2.AsyncClient) -> None:
    for channel in (504, 604):
        body = [{"TemplateID": number, "TemplateName": "x"} for number in (17, 18, 19)]
        await optimove.post(f"/current/integrations/AddChannelTemplates?ChannelID={channel}", json=body)
    rows = [{"ChannelID": 504, "TemplateID": 17}, {"channelid": 604, "templateid": 18}]
    delete = "/current/integrations/DeleteChannelTemplates"
    answer = await optimove.post(delete, json=rows)
    assert (answer.status_code, answer.content) == (200, b"")
    for channel, left in ((504, [18, 19]), (604, [17, 19])):
        listed = (await optimove.get(f"/current/integrations/GetChannelTemplates?ChannelID={channel}")).json()
        assert [row["TemplateID"] for row in listed] == left
    assert (await optimove.get("/_sim/templates")).json()[-1]["body"] == rows
    assert (await optimove.post(delete, json=rows * 51)).status_code == 400
    assert (await optimove.post(delete, json=[{"TemplateID": 19}])).status_code == 400


async def test_apps_are_added_renamed_and_deleted(optimove: httpx2.AsyncClient) -> None:
    async def apps() -> Any:
        return (await optimove.get("/_sim/state")).json()["channels"][0]["apps"]

    add, delete = "/current/integrations/AddChannelApps?ChannelID=504", "/current/integrations/DeleteChannelApps"
    for body in (
        [{"AppID": "ios", "AppName": "Old"}, {"AppID": "tv", "AppName": "TV"}],
        [{"AppID": "ios", "AppName": "iOS"}],
    ):
        answer = await optimove.post(add, json=body)
        assert (answer.status_code, answer.content) == (200, b"")
    assert await apps() == [{"AppID": "ios", "AppName": "iOS"}, {"AppID": "tv", "AppName": "TV"}]
    answer = await optimove.post(delete, json=[{"ChannelID": 504, "AppID": "ios"}])
    assert (answer.status_code, answer.content) == (200, b"")
    assert await apps() == [{"AppID": "tv", "AppName": "TV"}]
    assert [entry["call"] for entry in (await optimove.get("/_sim/apps")).json()] == ["AddChannelApps"] * 2 + [
        "DeleteChannelApps"
    ]
    assert (await optimove.post(add, json=[{"AppID": "x", "AppName": "X"}] * 101)).status_code == 400
    assert (await optimove.post(delete, json=[{"ChannelID": 9, "AppID": "ios"}])).status_code == 400


@pytest.mark.parametrize("name", ["UnregisterEventListener", "UnRegisterEventListener"])
async def test_a_listener_is_unregistered_without_touching_the_types_others(
    optimove: httpx2.AsyncClient, name: str
) -> None:
    for channel in ({}, {"ChannelID": 504}, {"ChannelID": 604}):
        body = {"EventTypeID": 13, "ListenerURL": "http://127.0.0.1:9/"} | channel
        await optimove.post("/current/general/RegisterEventListener", json=body)
    for channel, left in (({"ChannelID": 504}, [None, 604]), ({}, [604])):
        answer = await optimove.post(f"/current/general/{name}", json={"EventTypeID": 13} | channel)
        assert (answer.status_code, answer.content) == (200, b"")
        rows = (await optimove.get("/current/general/GetRegisteredEventListeners")).json()
        assert [row.get("ChannelID") for row in rows] == left
    assert (await optimove.get("/_sim/listeners")).json()[-1]["body"] == {"EventTypeID": 13}


async def test_executed_campaigns_are_listed_by_channel_and_day(optimove: httpx2.AsyncClient) -> None:
    today = datetime.now(UTC).date()
    path = "/current/actions/GetExecutedCampaignsByChannel"
    for number in (1, 2, 3):
        await optimove.post("/_sim/campaigns", json=CAMPAIGN | {"id": number})
    await optimove.post("/_sim/campaigns", json=CAMPAIGN | {"id": 4, "channel": 604})
    for number in (2, 3, 4):
        await optimove.post(f"/_sim/campaigns/{number}/fire")
    await optimove.post("/_sim/campaigns/3/cancel")
    days = [today - timedelta(days=1), today, today + timedelta(days=1)]  # the day may end meanwhile
    answers = [(await optimove.get(path, params={"ChannelID": 504, "Date": str(day)})).json() for day in days]
    assert [row for rows in answers for row in rows] == [{"CampaignID": 2}, {"CampaignID": 3}]
    assert answers[0] == []
    await optimove.post("/_sim/quirks", json={"executed_cancelled": "absent", "ids": "strings"})
    answers = [(await optimove.get(path, params={"ChannelID": 504, "Date": str(day)})).json() for day in days]
    assert [row for rows in answers for row in rows] == [{"CampaignID": "2"}]
    assert (await optimove.get(path, params={"ChannelID": 504, "Date": "today"})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"TemplateID": 1, "TemplateName": "no array"},
        [{"TemplateID": 1, "TemplateName": ""}],
        [{"TemplateID": 1.5, "TemplateName": "x"}],
        [{"TemplateID": -1, "TemplateName": "x"}],
        ["x"],
        [{"TemplateID": number, "TemplateName": "x"} for number in range(101)],
    ],
)
async def test_wrong_templates_are_refused_all_together(optimove: httpx2.AsyncClient, body: Any) -> None:
    path = "/current/integrations/AddChannelTemplates?ChannelID=504"
    answer = await optimove.post(path, json=body)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert (await optimove.get("/current/integrations/GetChannelTemplates?ChannelID=504")).json() == []


async def test_a_hundred_templates_and_a_hundred_metrics_fit_in_a_call(optimove: httpx2.AsyncClient) -> None:
    templates = [{"TemplateID": number, "TemplateName": "x"} for number in range(100)]
    path = "/current/integrations/AddChannelTemplates?ChannelID=504"
    assert (await optimove.post(path, json=templates)).status_code == 200
    path = "/current/integrations/UpdateCampaignMetrics"
    assert (await optimove.post(path, json=[METRIC] * 100)).status_code == 200
    assert (await optimove.post(path, json=[METRIC] * 101)).status_code == 400


async def test_rows_can_be_read_once_the_campaign_is_fired(optimove: httpx2.AsyncClient) -> None:
    await optimove.post("/_sim/campaigns", json=CAMPAIGN)
    assert await rows_of(optimove) == []
    await optimove.post("/_sim/campaigns/90211/fire")
    assert len(await rows_of(optimove)) == 12
    assert await rows_of(optimove, CampaignID=4) == []
    assert await rows_of(optimove, ChannelID=604) == []


async def test_every_template_meets_every_send_time(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, send_at=["2031-04-02T10:00:00Z", "2031-04-02T13:30:00+02:00"])
    rows = await rows_of(optimove)
    times = ("2031-04-02 10:00:00", "2031-04-02 11:30:00")
    assert {(row["TemplateID"], row["ScheduledTime"]) for row in rows} == {(t, s) for t in (17, 18, 19) for s in times}
    assert all(set(row) == {"CustomerID", "TemplateID", "ScheduledTime"} for row in rows)


async def test_send_times_are_counted_from_the_first_firing(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove)
    first = await rows_of(optimove)
    await optimove.post("/_sim/campaigns/90211/fire")
    assert await rows_of(optimove) == first


async def test_attributes_come_in_the_order_asked(optimove: httpx2.AsyncClient) -> None:
    await optimove.post(
        "/_sim/customers",
        json={"tenant": 7001, "customers": [{"customer_id": "C-1", "EMAIL": "a@example.com", "PLAN": "gold"}]},
    )
    await fired(optimove, customers=["C-1"])
    rows = await rows_of(optimove, CustomerAttributes="PLAN;NOTHING;EMAIL")
    assert rows[0]["CustomerAttributes"] == ["gold", None, "a@example.com"]


async def test_pages_follow_each_other_without_gap_or_repeat(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove)
    pages = [await rows_of(optimove, **{"$top": 5, "$skip": skip}) for skip in (0, 5, 10, 15)]
    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert [row for page in pages for row in page] == await rows_of(optimove)


async def test_parameters_that_nobody_knows_are_ignored(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove)
    assert len(await rows_of(optimove, top=5, skip=5)) == 12


@pytest.mark.parametrize(
    "query",
    [{"$top": "-1"}, {"$skip": "x"}, {"CampaignID": "abc"}, {"ChannelID": "9"}, {"CustomerAttributesDelimiter": "?"}],
)
async def test_a_query_that_makes_no_sense_is_refused(optimove: httpx2.AsyncClient, query: dict[str, str]) -> None:
    answer = await optimove.get(SEND_DETAILS, params={"ChannelID": "504", "CampaignID": "90211"} | query)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)


async def test_raw_rows_stand_between_the_others_as_they_were_given(optimove: httpx2.AsyncClient) -> None:
    raw = [{"CustomerID": None}, "no object", 7, {"TemplateID": "\ud800"}]  # the last is half of a surrogate pair
    entry = json.dumps(CAMPAIGN | {"customers": 2, "rows": raw})
    await optimove.post("/_sim/campaigns", content=entry)
    await optimove.post("/_sim/campaigns/90211/fire")
    rows = await rows_of(optimove)
    assert [rows[1], *rows[3:]] == raw
    assert [rows[0]["CustomerID"], rows[2]["CustomerID"]] == ["C-000001", "C-000002"]
    pages = [await rows_of(optimove, **{"$top": 1, "$skip": skip}) for skip in range(7)]
    assert [row for page in pages for row in page] == rows


async def test_the_rows_of_a_campaign_are_shown_with_all_attributes(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove)
    shown = (await optimove.get("/_sim/customers?tenant=7001&campaign=90211")).json()
    served = await rows_of(optimove, CustomerAttributes="EMAIL;MOBILE")
    assert [
        row | {"CustomerAttributes": [row["CustomerAttributes"][name] for name in ("EMAIL", "MOBILE")]} for row in shown
    ] == served


async def test_interactions_add_up(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove)
    path = "/current/integrations/UpdateCampaignInteractions"
    for body in (INTERACTION, INTERACTION, INTERACTION | {"EventID": 2, "RecipientGroupID": 4}):
        answer = await optimove.post(path, json=body)
        assert (answer.status_code, answer.content) == (200, b"")
    (campaign,) = (await optimove.get("/_sim/state")).json()["campaigns"]
    assert [(row["EventID"], row["RecipientGroupID"], row["customers"]) for row in campaign["interactions"]] == [
        (3, 1, 4),
        (2, 4, 2),
    ]
    assert (await optimove.get("/_sim/interactions")).json()[0]["body"] == INTERACTION


@pytest.mark.parametrize(
    "wrong",
    [
        {"InteractionDate": None},
        {"InteractionDate": "2031-4-2"},
        {"InteractionDate": "20310402"},
        {"CustomerIDs": "C-1"},
        {"CustomerIDs": [1]},
        {"CustomerIDs": ["C-1"] * 10_001},
        {"ChannelID": 9},
        {"EventID": None},
    ],
)
async def test_interactions_that_make_no_sense_are_refused(optimove: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await optimove.post("/current/integrations/UpdateCampaignInteractions", json=INTERACTION | wrong)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)
    assert (await optimove.get("/_sim/interactions")).json() == []


async def test_ten_thousand_customers_fit_in_a_call(optimove: httpx2.AsyncClient) -> None:
    body = INTERACTION | {"CustomerIDs": [f"C-{number}" for number in range(10_000)]}
    assert (await optimove.post("/current/integrations/UpdateCampaignInteractions", json=body)).status_code == 200


async def test_calls_are_remembered_with_their_answers(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, customers=500)
    await rows_of(optimove)
    await optimove.post("/current/integrations/UpdateCampaignMetrics", json=[METRIC | {"ChannelID": 9}])
    read, refused = (await optimove.get("/_sim/calls")).json()
    assert (read["call"], read["status"], read["rows"], read["answer"]) == (
        "GetCustomerSendDetailsByChannel",
        200,
        500,
        None,
    )
    assert read["query"] == {"ChannelID": "504", "CampaignID": "90211"}
    assert (refused["status"], refused["answer"], refused["body"][0]["ChannelID"]) == (
        400,
        "ChannelID 9 is not valid.",
        9,
    )


async def test_a_body_that_is_no_json_is_refused(optimove: httpx2.AsyncClient) -> None:
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        answer = await optimove.post(
            "/current/integrations/UpdateCampaignMetrics",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400
