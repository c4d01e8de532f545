"""Each switch, on both of its sides."""

import asyncio
from typing import Any

import httpx2
import pytest

from optirelay.simulator import Simulator

SEND_DETAILS = "/current/customers/GetCustomerSendDetailsByChannel?ChannelID=504&CampaignID=90211"
TEMPLATES = "/current/integrations/GetChannelTemplates?ChannelID=504"
ADD_TEMPLATES = "/current/integrations/AddChannelTemplates?ChannelID=504"
METRICS = "/current/integrations/UpdateCampaignMetrics"


async def with_quirks(optimove: httpx2.AsyncClient, **quirks: Any) -> None:
    assert (await optimove.post("/_sim/quirks", json=quirks)).status_code == 200


async def fire(optimove: httpx2.AsyncClient, **changes: Any) -> None:
    campaign = {"id": 90211, "channel": 504, "templates": [17], "customers": 30} | changes
    assert (await optimove.post("/_sim/campaigns", json=campaign)).json() == {"id": 90211}
    await optimove.post("/_sim/campaigns/90211/fire")


async def test_pages_are_never_longer_than_the_cap(optimove: httpx2.AsyncClient) -> None:
    await fire(optimove)
    await with_quirks(optimove, page_cap=7)
    assert [len((await optimove.get(SEND_DETAILS + more)).json()) for more in ("", "&$top=100", "&$top=3")] == [7, 7, 3]
    await with_quirks(optimove, page_cap=10_000)
    assert len((await optimove.get(SEND_DETAILS)).json()) == 30


@pytest.mark.parametrize(("ids", "read"), [("numbers", int), ("strings", str)])
async def test_rows_may_tell_the_control_group_and_recipient_groups(
    optimove: httpx2.AsyncClient, ids: str, read: type[Any]
) -> None:
    await fire(optimove)
    assert set((await optimove.get(SEND_DETAILS)).json()[0]) == {"CustomerID", "TemplateID", "ScheduledTime"}
    await with_quirks(optimove, control_group="rows", recipient_groups="rows", ids=ids)
    rows = (await optimove.get(SEND_DETAILS)).json()
    assert [place for place, row in enumerate(rows) if row["ActionID"] == read(1)] == [9, 19, 29]
    assert {row["ActionID"] for row in rows} == {read(1), read(2)}
    assert [row["RecipientGroupID"] for row in rows[:4]] == [read(1), read(2), read(1), read(2)]


async def test_pages_are_stable_or_shift_or_never_end(optimove: httpx2.AsyncClient) -> None:
    async def reading() -> list[str]:
        pages = [(await optimove.get(f"{SEND_DETAILS}&$top=10&$skip={skip}")).json() for skip in (0, 10, 20, 30)]
        return [row["CustomerID"] for page in pages for row in page]

    await fire(optimove)
    stable = await reading()
    assert len(set(stable)) == len(stable) == 30
    await with_quirks(optimove, paging="shifting")
    first, second = await reading(), await reading()
    assert len(first) == len(second) == 30
    assert set(first) < set(stable)
    assert first[9] == first[10]  # the last of a page is the first of the next
    assert set(first) | set(second) == set(stable)
    await with_quirks(optimove, paging="wrapping")
    wrapped = await reading()
    assert len(wrapped) == 40
    assert wrapped[:10] == wrapped[30:]
    assert set(wrapped) == set(stable)
    await with_quirks(optimove, paging="endless")
    assert await reading() == stable[:10] * 4


async def test_the_budget_slides_and_belongs_to_the_key(optimove: httpx2.AsyncClient) -> None:
    other = {"id": 7002, "key": "other-key", "channels": {"504": "Mail"}}
    await optimove.post("/_sim/tenants", json=other)
    await with_quirks(optimove, calls="2/0.5s")
    assert [(await optimove.get(TEMPLATES)).status_code for _ in range(3)] == [200, 200, 429]
    assert (await optimove.get(TEMPLATES, headers={"X-API-KEY": "other-key"})).status_code == 200
    refused = await optimove.get(TEMPLATES)
    assert refused.json() == {
        "status": 429,
        "error": "Too Many Requests",
        "message": "The rate limit of this API group is exceeded. Please try again later.",
    }
    await asyncio.sleep(0.5)
    assert (await optimove.get(TEMPLATES)).status_code == 200


async def test_the_budget_is_fifty_calls_in_ten_seconds() -> None:
    async with (
        Simulator() as simulator,
        httpx2.AsyncClient(base_url=simulator.url, headers={"X-API-KEY": "demo-key"}) as client,
    ):
        statuses = [(await client.get(TEMPLATES)).status_code for _ in range(51)]
    assert statuses == [200] * 50 + [429]


@pytest.mark.parametrize(
    ("attributes", "key", "value"),
    [
        ("array", "CustomerAttributes", ["a@example.com", None]),
        ("joined", "CustomerAttributes", "a@example.com;NULL"),
        ("singular", "CustomerAttribute", "a@example.com;NULL"),
    ],
)
async def test_attributes_are_written_as_today_or_as_before(
    optimove: httpx2.AsyncClient, attributes: str, key: str, value: Any
) -> None:
    await with_quirks(optimove, attributes=attributes)
    person = {"customer_id": "C-1", "EMAIL": "a@example.com"}
    await optimove.post("/_sim/customers", json={"tenant": 7001, "customers": [person]})
    await fire(optimove, customers=["C-1"])
    (row,) = (await optimove.get(f"{SEND_DETAILS}&CustomerAttributes=EMAIL;PLAN")).json()
    assert row[key] == value


async def test_the_delimiter_of_joined_values_can_be_chosen(optimove: httpx2.AsyncClient) -> None:
    await with_quirks(optimove, attributes="joined")
    await fire(optimove, customers=1)
    asked = f"{SEND_DETAILS}&CustomerAttributes=FIRST_NAME;COUNTRY&CustomerAttributesDelimiter=,"
    (row,) = (await optimove.get(asked)).json()
    assert row["CustomerAttributes"].count(",") == 1


@pytest.mark.parametrize(("ids", "template_id", "event"), [("numbers", 17, 13), ("strings", "17", "13")])
async def test_ids_are_numbers_or_strings(optimove: httpx2.AsyncClient, ids: str, template_id: Any, event: Any) -> None:
    await with_quirks(optimove, ids=ids)
    await optimove.post(ADD_TEMPLATES, json=[{"TemplateID": 17, "TemplateName": "Loan"}])
    listener = {"EventTypeID": 13, "ListenerURL": "http://127.0.0.1:9/"}
    await optimove.post("/current/general/RegisterEventListener", json=listener)
    await fire(optimove)
    assert (await optimove.get(SEND_DETAILS)).json()[0]["TemplateID"] == template_id
    assert (await optimove.get(TEMPLATES)).json()[0]["TemplateID"] == template_id
    assert (await optimove.get("/current/general/GetRegisteredEventListeners")).json()[0]["EventTypeID"] == event


@pytest.mark.parametrize(("metrics", "value"), [("replace", 800), ("add", 1700)])
async def test_a_second_total_replaces_or_adds(optimove: httpx2.AsyncClient, metrics: str, value: int) -> None:
    await with_quirks(optimove, metrics=metrics)
    await fire(optimove)
    for total in (900, 800):
        body = {"ChannelID": 504, "CampaignID": 90211, "TemplateID": 17, "MetricID": 1, "MetricValue": total}
        answer = await optimove.post(METRICS, json=[body])
        assert (answer.status_code, answer.content) == (200, b"")
    (campaign,) = (await optimove.get("/_sim/state")).json()["campaigns"]
    assert campaign["metrics"] == [{"TemplateID": 17, "MetricID": 1, "MetricValue": value}]
    assert len((await optimove.get("/_sim/metrics")).json()) == 2


@pytest.mark.parametrize(("known", "status", "name"), [("rename", 200, "New"), ("error", 400, "Old")])
async def test_a_known_template_is_renamed_or_refused(
    optimove: httpx2.AsyncClient, known: str, status: int, name: str
) -> None:
    await with_quirks(optimove, known_template=known)
    await optimove.post(ADD_TEMPLATES, json=[{"TemplateID": 17, "TemplateName": "Old"}])
    both = [{"TemplateID": 18, "TemplateName": "Other"}, {"TemplateID": 17, "TemplateName": "New"}]
    assert (await optimove.post(ADD_TEMPLATES, json=both)).status_code == status
    names = {row["TemplateID"]: row["TemplateName"] for row in (await optimove.get(TEMPLATES)).json()}
    assert names == ({17: name, 18: "Other"} if status == 200 else {17: name})


@pytest.mark.parametrize(("quirk", "status"), [("ignore", 200), ("error", 400)])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("general/UnregisterEventListener", {"EventTypeID": 13, "ChannelID": 504}),
        ("integrations/DeleteChannelTemplates", [{"ChannelID": 504, "TemplateID": 17}]),
        ("integrations/DeleteChannelApps", [{"ChannelID": 504, "AppID": "ios"}]),
    ],
)
async def test_deleting_what_is_not_there_is_nothing_or_an_error(
    optimove: httpx2.AsyncClient, path: str, body: Any, quirk: str, status: int
) -> None:
    await with_quirks(optimove, delete_unknown=quirk)
    assert (await optimove.post(f"/current/{path}", json=body)).status_code == status


@pytest.mark.parametrize(
    ("quirks", "named"),
    [
        ({"page_cap": 0}, "page_cap"),
        ({"page_cap": "many"}, "page_cap"),
        ({"calls": "fifty"}, "calls"),
        ({"calls": "50/0s"}, "calls"),
        ({"ids": "roman"}, "ids"),
        ({"metrics": ["add"]}, "metrics"),
        ({"triggered_keys": "snake"}, "camel, pascal"),
        ({"colour": "red"}, "colour"),
        (["ids"], "object"),
    ],
)
async def test_a_quirk_that_is_none_is_refused(optimove: httpx2.AsyncClient, quirks: Any, named: str) -> None:
    answer = await optimove.post("/_sim/quirks", json=quirks)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
