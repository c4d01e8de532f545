"""Attributes and preferences of customers: changed, added, erased, and told later what came of it."""

from typing import Any

import httpx2
import pytest
from tests.simulator.listener import Listener

from optirelay.simulator import firing

UPDATE, ADD = "/Customers/UpdateCustomerAttributes", "/Customers/AddCustomerAttribute"
ANA = {"customer_id": "C-1", "EMAIL": "ana@example.com", "TIER": "Silver"}
CHANGERS = "/current/customers/GetCustomerAttributeChangers"


@pytest.fixture(autouse=True)
async def _in_a_moment(optimove: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "SOON_SECONDS", 0.02)
    assert (await optimove.post("/_sim/customers", json={"customers": [ANA]})).status_code == 200


def update(*changes: tuple[str, str, Any], url: str | None = None) -> dict[str, Any]:
    entries = [
        {"CustomerId": who, "Attributes": [{"RealFieldName": name, "Value": value}]} for who, name, value in changes
    ]
    return {"CustomerNewAttributesValuesList": entries} | ({"CallbackUrl": url} if url else {})


async def values(optimove: httpx2.AsyncClient, customer: str = "C-1") -> dict[str, Any]:
    rows = (await optimove.get(f"/Customers/{customer}/Attributes")).json()
    return {row["RealFieldName"]: row["Value"] for row in rows}


async def test_new_values_are_read_everywhere_and_told_to_be_there(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await optimove.post("/_sim/campaigns", json={"id": 1, "channel": 504, "templates": [17], "customers": ["C-1"]})
    await optimove.post("/_sim/campaigns/1/fire")
    await optimove.post(UPDATE, json=update(("C-1", "TIER", "Bronze"), ("C-000002", "TIER", None)))
    changes = (("C-1", "TIER", "Gold"), ("C-000001", "BALANCE", "-12.50"))
    answer = await optimove.post(UPDATE, json=update(*changes, url=listener.url))
    (result,) = await listener.until(1)
    assert (answer.status_code, result) == (200, {"isSuccess": True, "requestId": answer.json()["requestId"]})
    assert ((await values(optimove))["TIER"], (await values(optimove, "C-000001"))["BALANCE"]) == ("Gold", "-12.50")
    query = "ChannelID=504&CampaignID=1&CustomerAttributes=TIER;EMAIL"
    (row,) = (await optimove.get(f"/Customers/GetCustomerSendDetailsByChannel?{query}")).json()
    assert row["CustomerAttributes"] == ["Gold", "ana@example.com"]
    assert (await optimove.get(f"{CHANGERS}?ChangedCustomerAttribute=TIER&CustomerAttributes=EMAIL")).json() == [
        {
            "CustomerID": "C-1",
            "InitialCustomerAttribute": "Silver",
            "FinalCustomerAttribute": "Gold",
            "CustomerAttributes": ["ana@example.com"],
        }
    ]
    assert (await optimove.get("/_sim/attributes?current=1")).json() == [
        {"tenant": 7001, "CustomerID": "C-1", "Attributes": {"TIER": "Gold"}},
        {"tenant": 7001, "CustomerID": "C-000002", "Attributes": {"TIER": None}},
        {"tenant": 7001, "CustomerID": "C-000001", "Attributes": {"BALANCE": "-12.50"}},
    ]
    assert (await optimove.get("/_sim/callbacks")).json()[0]["body"] == result


async def test_what_cannot_be_changed_is_named_and_the_rest_is_changed(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    tenant = {"id": 7001, "key": "demo-key", "channels": {"504": "Mail"}, "customers": 9}
    await optimove.post("/_sim/tenants", json=tenant | {"closed_attributes": ["COUNTRY"]})
    wrong = (
        ("C-404", "EMAIL", "x", "INVALID_CUSTOMER"),
        ("C-000002", "COLOUR", "red", "INVALID_FIELD"),
        ("C-000002", "BALANCE", "much", "INVALID_VALUE"),
        ("C-000002", "COUNTRY", "FR", "UPDATE_FIELD_TEMPORARY_UNAVAILABLE"),
    )
    changes = [one[:3] for one in wrong]
    await optimove.post(UPDATE, json=update(*changes, ("C-000002", "EMAIL", "new@example.com"), url=listener.url))
    (result,) = await listener.until(1)
    assert result["isSuccess"] is False
    assert result["errors"] == [{"error": why, "customerId": who, "realFieldName": name} for who, name, _, why in wrong]
    assert (await values(optimove, "C-000002"))["EMAIL"] == "new@example.com"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (update(*[("C-1", "TIER", "x")] * 1000), 200),
        (update(*[("C-1", "TIER", "x")] * 1001), 400),
        ({"CustomerNewAttributesValuesList": [{"CustomerID": "C-1", "Attributes": [{}] * 11}]}, 400),
        (update(("C-1", "TIER", "x"), url="nowhere"), 400),
    ],
)
async def test_an_update_has_limits(optimove: httpx2.AsyncClient, body: dict[str, Any], status: int) -> None:
    assert (await optimove.post(UPDATE, json=body)).status_code == status


async def test_an_attribute_that_is_added_has_its_default_everywhere(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    body = {"Name": "SmsOptIn", "Type": "varchar(5)", "DefaultValue": "false", "CallbackURL": listener.url}
    answer = await optimove.post(ADD, json=body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert await listener.until(1) == [{"attributeName": "SmsOptIn", "isSuccess": True}]
    await optimove.post(UPDATE, json=update(("C-1", "SmsOptIn", "true")))
    assert [(await values(optimove, who))["SmsOptIn"] for who in ("C-1", "C-000001")] == ["true", "false"]
    names = [row["RealFieldName"] for row in (await optimove.get("/current/model/GetCustomerAttributeList")).json()]
    assert names[-2:] == ["TIER", "SmsOptIn"]


async def test_an_attribute_that_cannot_be_added_is_told_why(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    wrong = [("EMAIL", "INT", None, "2"), ("A", "TEXT", None, "3"), ("A", "DATE", "soon", "4")]
    for name, kind, default, _ in wrong:
        body = {"Name": name, "Type": kind, "DefaultValue": default, "CallbackURL": listener.url}
        assert (await optimove.post(ADD, json=body)).status_code == 200
    await optimove.post("/_sim/faults", json={"call": "AddCustomerAttribute", "fault": "fails_later"})
    await optimove.post(ADD, json={"Name": "A", "Type": "INT", "CallbackURL": listener.url})
    for number in range(41):
        await optimove.post(ADD, json={"Name": f"A{number}", "Type": "INT"})
    await optimove.post(ADD, json={"Name": "ONE_TOO_MANY", "Type": "INT", "CallbackURL": listener.url})
    results = await listener.until(5)
    assert [result["errorId"] for result in results] == ["2", "3", "4", "5", "1"]
    assert all(not one["isSuccess"] and one["errorMsg"].startswith("Attribute was not added, ") for one in results)
    assert "A" not in await values(optimove)


async def test_results_come_late_never_or_twice_and_an_answer_may_be_202(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await optimove.post("/_sim/quirks", json={"attribute_callbacks": "never", "update_status": 202})
    answer = await optimove.post(UPDATE, json=update(("C-1", "TIER", "a"), url=f"{listener.url}/never"))
    assert answer.status_code == 202
    for quirks, path in (
        ({"attribute_callbacks": "late", "late_seconds": 3600}, "/late"),
        ({"late_seconds": 0}, "/at-once"),
        ({"attribute_callbacks": "soon"}, "/soon"),
        ({"attribute_callbacks": "twice"}, "/twice"),
    ):
        await optimove.post("/_sim/quirks", json=quirks)
        await optimove.post(UPDATE, json=update(("C-1", "TIER", "b"), url=f"{listener.url}{path}"))
    await listener.until(4)
    assert sorted(path for path, _ in listener.heard) == ["/at-once", "/soon", "/twice", "/twice"]


async def test_a_failure_that_is_told_later_is_for_calls_that_tell_later(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    answer = await optimove.post("/_sim/faults", json={"call": "AddChannelApps", "fault": "fails_later"})
    assert (answer.status_code, "UpdateCustomerAttributes" in answer.json()["error"]) == (400, True)
    await optimove.post("/_sim/faults", json={"call": "UpdateCustomerAttributes", "fault": "fails_later"})
    await optimove.post(UPDATE, json=update(("C-1", "TIER", "b"), url=listener.url))
    (result,) = await listener.until(1)
    assert result["errors"][0]["error"] == "UPDATE_FIELD_TEMPORARY_UNAVAILABLE"
    assert (await values(optimove))["TIER"] == "Silver"


async def test_a_customer_is_made_or_changed_or_the_errors_stand_in_the_answer(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    async def upsert(name: str, **more: Any) -> Any:
        body = {"CustomerId": "NEW", "Attributes": [{"RealFieldName": name, "Value": "Ana"}], **more}
        answer = await optimove.put("/Customers/UpsertCustomer", json=body)
        assert answer.status_code == 200
        return answer.json() if answer.content else None

    assert await upsert("COLOUR") == {
        "errors": [{"error": "INVALID_FIELD", "customerId": "NEW", "realFieldName": "COLOUR"}]
    }
    assert (await optimove.get("/Customers/NEW/Attributes")).json() == "The customer was not found."
    assert await upsert("FIRST_NAME", CallbackUrl=listener.url) is None
    assert (await listener.until(1))[0]["isSuccess"] is True
    assert (await values(optimove, "NEW"))["FIRST_NAME"] == "Ana"


async def test_what_is_personal_is_erased_and_who_was_never_known_is_named(optimove: httpx2.AsyncClient) -> None:
    erase = "/current/customers/RemoveCustomerPII"
    for _ in range(2):
        answer = await optimove.post(erase, json={"CustomerIDs": ["C-1", "nobody"]})
        assert answer.json() == {"FailedCustomerIDs": ["nobody"]}
    left = await values(optimove)
    assert (left["EMAIL"], left["TIER"]) == (None, "Silver")
    assert (await optimove.post(erase, json={"CustomerIDs": ["C-1"] * 50_001})).status_code == 400


async def test_preferences_are_kept_by_channel_app_and_customer(optimove: httpx2.AsyncClient) -> None:
    path = "/current/integrations/SetCustomerChannelPreference"
    for mode, customers, app in ((1, ["C-1", "C-2"], None), (2, ["C-2"], None), (2, ["C-1"], "ios")):
        body = {"ChannelID": 504, "CustomerIDs": customers, "CommunicationMode": mode, "AppID": app}
        answer = await optimove.post(path, json=body)
        assert (answer.status_code, answer.content) == (200, b"")
    rows = (await optimove.get("/_sim/preferences?current=1")).json()
    assert [(row["AppID"], row["CustomerID"], row["CommunicationMode"]) for row in rows] == [
        (None, "C-1", 1),
        (None, "C-2", 2),
        ("ios", "C-1", 2),
    ]
    counts = (await optimove.get("/_sim/state")).json()["tenants"][0]["preferences"]
    assert counts[0] == {"ChannelID": 504, "AppID": None, "CommunicationMode": 1, "customers": 1}
    assert len((await optimove.get("/_sim/preferences")).json()) == 3
    for wrong in ({"CustomerIDs": ["C-1"] * 50_001}, {"ChannelID": 9}, {"CommunicationMode": None}):
        body = {"ChannelID": 504, "CustomerIDs": ["C-1"], "CommunicationMode": 1} | wrong
        assert (await optimove.post(path, json=body)).status_code == 400


PREFERENCE = "/current/integrations/SetCustomerChannelPreference"
THREE = {
    "UpdateCustomerAttributes": (UPDATE, update(("C-1", "TIER", "Gold")), "attributes"),
    "AddCustomerAttribute": (ADD, {"Name": "SmsOptIn", "Type": "VARCHAR(5)"}, "attributes"),
    "SetCustomerChannelPreference": (
        PREFERENCE,
        {"ChannelID": 504, "CustomerIDs": ["C-1"], "CommunicationMode": 2},
        "preferences",
    ),
}


@pytest.mark.parametrize("call", THREE)
async def test_whatever_can_go_wrong_can_with_calls_that_share_opt_ins(optimove: httpx2.AsyncClient, call: str) -> None:
    path, body, kind = THREE[call]
    not_done = ("rate_limited", "error_before", "cut_before", "garbage", "string_error")
    done = ("error_after", "cut_after", "slow")
    for fault in (*not_done, *done):
        before = len((await optimove.get(f"/_sim/{kind}")).json())
        await optimove.post("/_sim/faults", json={"call": call, "fault": fault, "seconds": 0})
        if fault.startswith("cut"):
            with pytest.raises(httpx2.RemoteProtocolError):
                await optimove.post(path, json=body)
        else:
            status = {"rate_limited": 429, "error_before": 500, "error_after": 500}.get(fault, 200)
            assert (await optimove.post(path, json=body)).status_code == status
        assert len((await optimove.get(f"/_sim/{kind}")).json()) - before == (fault in done)
    assert (await optimove.get("/_sim/state")).json()["faults"] == []


async def test_how_things_stand_is_shown_of_one_tenant_alone(optimove: httpx2.AsyncClient) -> None:
    other = {"id": 7002, "key": "other-key", "channels": {"504": "Mail"}, "customers": 100}
    await optimove.post("/_sim/tenants", json=other)
    ids = ["C-000099", "0000000041", "41"]  # made ids, zeros in front among them
    headers = {"x-api-key": "other-key"}
    await optimove.post(UPDATE, json=update(*((one, "COUNTRY", "XX") for one in ids)), headers=headers)
    await optimove.post(UPDATE, json=update(("C-1", "TIER", "Gold")))
    body = {"ChannelID": 504, "CustomerIDs": ids, "CommunicationMode": 2}
    await optimove.post(PREFERENCE, json=body, headers=headers)

    async def seen(what: str) -> list[tuple[int, Any]]:
        return [(row["tenant"], row.get("CustomerID")) for row in (await optimove.get(f"/_sim/{what}")).json()]

    for kind in ("attributes", "preferences"):
        assert await seen(f"{kind}?current=1&tenant=7002") == [(7002, one) for one in ids]
        assert await seen(f"{kind}?tenant=7002") == [(7002, None)]
    assert await seen("attributes?current=1&tenant=7001") == [(7001, "C-1")]
    assert len(await seen("attributes?current=1")) == 4
    assert await seen("preferences?tenant=7001") == []
    answer = await optimove.get("/_sim/attributes?current=1&tenant=7003")
    assert (answer.status_code, "7002" in answer.json()["error"]) == (400, True)
