"""What can be read of campaigns and customers agrees with what happened and what was told; and who may read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import time_machine

CAMPAIGN = {"id": 90211, "channel": 504, "templates": [17, 18], "customers": 30, "tags": ["q2"], "notes": "spring"}
TENANT = {
    "id": 7001,
    "key": "demo-key",
    "admin_key": "admin-key",
    "access": "integrations",
    "access_channels": [504],
    "access_attributes": ["EMAIL"],
    "channels": {"504": "Mail", "604": "Triggered"},
    "customers": 30,
}


async def get(optimove: httpx2.AsyncClient, path: str, **query: Any) -> Any:
    answer = await optimove.get(f"/current/{path}", params={"CampaignID": 90211} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fired(optimove: httpx2.AsyncClient, *channels: int) -> None:
    for channel in channels:
        answer = await optimove.post("/_sim/campaigns", json=CAMPAIGN | {"channel": channel})
        assert answer.status_code == 200, answer.text
    await optimove.post("/_sim/campaigns/90211/fire")


async def test_the_rows_of_all_channels_are_paged_as_one_list(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, 504, 604)
    path = "customers/GetCustomerSendDetailsByCampaign"
    whole = await get(optimove, path, IncludeTemplateIDs="True")
    assert [row["ChannelID"] for row in whole] == [504] * 30 + [604] * 30
    pages = [await get(optimove, path, **{"IncludeTemplateIDs": "true", "$top": 25, "$skip": n}) for n in (0, 25, 50)]
    assert [row for page in pages for row in page] == whole
    details = await get(optimove, "actions/GetExecutedCampaignChannelDetails", ChannelID=604)
    assert {(row["SendID"], row["TemplateID"]) for row in whole[30:]} == {
        (row["SendID"], row["TemplateID"]) for row in details
    }
    await optimove.post("/_sim/quirks", json={"paging": "wrapping", "page_cap": 7})
    assert await get(optimove, path, IncludeTemplateIDs="true", **{"$skip": 58}) == [*whole[58:], *whole[:5]]


async def test_the_control_group_is_left_out_unless_it_is_asked_for(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, 504)
    path = "customers/GetCustomerOneTimeActionsByCampaign"
    assert len(await get(optimove, path)) == 30
    await optimove.post("/_sim/quirks", json={"control_group": "rows"})
    pages = [await get(optimove, path, ChannelID=0, **{"$top": 20, "$skip": skip}) for skip in (0, 20, 40)]
    assert [len(page) for page in pages] == [20, 7, 0]
    assert {row["ActionID"] for page in pages for row in page} == {2}
    everyone = await get(optimove, path, IncludeControlGroup="true", ChannelID=504)
    assert [row["ActionID"] for row in everyone].count(1) == 3
    assert (await get(optimove, "actions/GetCampaignDetails"))["ControlGroupSize"] == 3


async def test_details_of_a_campaign_say_what_it_is(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, 504, 604)
    details = await get(optimove, "actions/GetCampaignDetails")
    assert (details["Notes"], details["Tags"], details["IsMultiChannel"]) == ("spring", ["q2"], True)
    assert details["Channels"] == [{"Id": 504}, {"Id": 604}]
    today = datetime.now(UTC).date()
    days = [
        await get(optimove, "actions/GetExecutedCampaignDetails", Date=str(today - timedelta(n))) for n in (-1, 0, 1)
    ]
    assert [{**row, "CampaignID": None} for day in days for row in day] == [{"CampaignID": None, **details}]
    await optimove.post("/_sim/quirks", json={"campaign_flags": "texts"})
    assert (await get(optimove, "actions/GetCampaignDetails"))["IsMultiChannel"] == "true"
    assert (await optimove.get("/actions/GetCampaignDetails?CampaignID=4")).status_code == 400


async def test_the_customers_of_a_cancelled_campaign_are_kept_for_two_hours(optimove: httpx2.AsyncClient) -> None:
    path = "customers/GetCanceledCampaignCustomers"
    await optimove.post("/_sim/campaigns", json=CAMPAIGN)
    await optimove.post("/_sim/campaigns/90211/cancel")
    assert await get(optimove, path) == []  # it had not been processed
    await optimove.post("/_sim/campaigns", json=CAMPAIGN | {"id": 2})
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        for what in ("fire", "cancel"):
            await optimove.post(f"/_sim/campaigns/2/{what}")
        traveller.shift(timedelta(hours=2) - timedelta(seconds=1))
        assert len(await get(optimove, path, CampaignID=2)) == 30
        traveller.shift(timedelta(seconds=1))
        assert await get(optimove, path, CampaignID=2) == []


async def test_interactions_can_be_read_as_they_were_told(optimove: httpx2.AsyncClient) -> None:
    await fired(optimove, 504)
    today = datetime.now(UTC).date()
    tomorrow = str(today + timedelta(days=1))
    body = {"CampaignID": 90211, "ChannelID": 504, "TemplateID": 17, "EventID": 3, "InteractionDate": tomorrow}
    for customers in (["C-000001", "C-000002"], ["C-000002", "gone"]):
        sent = await optimove.post("/integrations/UpdateCampaignInteractions", json=body | {"CustomerIDs": customers})
        assert sent.status_code == 200
    path = "customers/GetCampaignInteractionCustomers"
    query = {"ChannelID": 504, "EventID": 3, "CustomerAttributes": "COUNTRY"}
    days = [await get(optimove, path, **query, Date=str(today + timedelta(n))) for n in (-1, 0, 1)]
    rows = [row for day in days for row in day]
    assert [(row["CustomerID"], row["CampaignID"], row["TemplateID"]) for row in rows] == [
        (who, 90211, 17) for who in ("C-000001", "C-000002", "gone")
    ]
    assert (len(rows[0]["CustomerAttributes"][0]), rows[2]["CustomerAttributes"]) == (2, [None])
    path = "customers/GetCustomerChannelInteractions"
    query = {"CustomerID": "C-000002", "StartDate": str(today), "EndDate": tomorrow}
    rows = await get(optimove, path, **query)
    assert [(row["Date"], row["EventID"], row["RecipientGroupID"]) for row in rows] == [(tomorrow, 3, 1)] * 2
    assert await get(optimove, path, **query, ChannelID=604) == []
    assert await get(optimove, path, **query | {"EndDate": str(today)}) == []


async def test_a_templates_details_have_its_name(optimove: httpx2.AsyncClient) -> None:
    body = [{"TemplateID": 17, "TemplateName": "Loan"}]
    await optimove.post("/integrations/AddChannelTemplates?ChannelID=504", json=body)
    path = "integrations/GetChannelTemplateDetails"
    (row,) = await get(optimove, path, ChannelID=504, TemplateID=17)
    assert (row["TemplateID"], row["TemplateName"]) == (17, "Loan")
    assert await get(optimove, path, ChannelID=504, TemplateID=18) == []


@pytest.mark.parametrize(
    ("path", "partner"),
    [
        ("actions/GetExecutionChannels", 403),
        ("customers/GetCustomerSendDetailsByCampaign?CampaignID=1", 403),
        ("Customers/C-000001/Attributes", 403),
        ("integrations/GetChannelTemplates?ChannelID=504", 200),
        ("integrations/GetChannelTemplates?ChannelID=604", 403),
        ("customers/GetCustomerSendDetailsByChannel?ChannelID=504&CampaignID=1&CustomerAttributes=EMAIL", 200),
        ("customers/GetCustomerSendDetailsByChannel?ChannelID=504&CampaignID=1&CustomerAttributes=EMAIL;MOBILE", 403),
    ],
)
async def test_a_partners_key_may_use_its_calls_channels_and_attributes_alone(
    optimove: httpx2.AsyncClient, path: str, partner: int
) -> None:
    assert (await optimove.post("/_sim/tenants", json=TENANT)).status_code == 200
    assert (await optimove.get(f"/{path}")).status_code == partner
    assert (await optimove.get(f"/{path}", headers={"X-API-KEY": "admin-key"})).status_code == 200


async def test_each_key_has_a_budget_and_statuses_of_refusals_can_be_chosen(optimove: httpx2.AsyncClient) -> None:
    await optimove.post("/_sim/tenants", json=TENANT)
    quirks = {"calls": "2/60s", "unauthorized_status": 403, "forbidden_status": 401}
    await optimove.post("/_sim/quirks", json=quirks)
    path = "/actions/GetExecutionChannels"
    statuses = [(await optimove.get(path)).status_code for _ in range(3)]
    admin = [(await optimove.get(path, headers={"X-API-KEY": "admin-key"})).status_code for _ in range(3)]
    assert (statuses, admin) == ([401, 401, 429], [200, 200, 429])
    assert (await optimove.get(path, headers={"X-API-KEY": "none"})).status_code == 403
    await optimove.post("/_sim/tenants", json=TENANT)  # what was called before counts all the same
    assert (await optimove.get(path)).status_code == 429


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"access": "all"}, "access_channels"),
        ({"access": "some"}, "integrations"),
        ({"id": 7002, "key": "admin-key"}, "key is that of tenant 7001"),
        ({"access_channels": ["504"]}, "access_channels"),
    ],
)
async def test_access_that_makes_no_sense_is_refused(
    optimove: httpx2.AsyncClient, changes: dict[str, Any], named: str
) -> None:
    await optimove.post("/_sim/tenants", json=TENANT)
    answer = await optimove.post("/_sim/tenants", json=TENANT | changes)
    assert (answer.status_code, named in answer.json()["error"]) == (400, True)
