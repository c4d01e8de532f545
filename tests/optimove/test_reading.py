"""What answers are read into: tolerant of the form, never of the meaning; and nothing personal is shown."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from optirelay.optimove import (
    AttributeChange,
    AttributeNotAdded,
    AttributeNotChanged,
    Call,
    CampaignCustomer,
    CustomerAttribute,
    ExecutionDetail,
    NewAttributeValues,
    OneTimeAction,
    UnchangedAttribute,
    Unreadable,
    get_campaign_details,
    get_canceled_campaign_customers,
    get_customer_attributes,
    get_customer_execution_details_by_campaign,
    get_executed_campaigns_by_channel,
    get_last_data_update,
    read_attribute_added,
    read_attributes_updated,
    remove_customer_pii,
    update_customer_attributes,
    update_customer_promotion_status,
    upsert_customer,
)

DETAILS = get_campaign_details(90211)
EXECUTED = get_customer_execution_details_by_campaign(campaign_id=1, channel_id=2, attributes=["A", "B"])


def read(call: Call[Any], answer: object) -> Any:
    return call.read(msgspec.json.encode(answer))


@pytest.mark.parametrize(
    ("told", "is_recurrence"),
    [(True, True), ("true", True), ("TRUE", True), ("False", False), (0, False), ("1", True), (None, None), ("", None)],
)
def test_a_boolean_is_json_or_text(told: object, is_recurrence: bool | None) -> None:
    assert read(DETAILS, {"IsRecurrence": told}).is_recurrence is is_recurrence


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("IsRecurrence", "perhaps", "IsRecurrence is neither true nor false"),
        ("Duration", "a week", "Duration is not a number"),
        ("Duration", -1, "Duration is not a number"),
        ("Tags", "q2", "Tags is not a list"),
        ("Channels", [452], "not an object"),
        ("Channels", [{"Name": "SMS"}], "Channels is not a number"),
        ("Notes", {"text": "x"}, "Notes is not a text"),
    ],
)
def test_what_means_nothing_is_unreadable_and_names_the_field(field: str, value: object, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(DETAILS, {field: value})


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'"No such campaign"', b"7"])
def test_what_is_no_object_is_unreadable(body: bytes) -> None:
    for call in (DETAILS, get_last_data_update()):
        with pytest.raises(Unreadable):
            call.read(body)


@pytest.mark.parametrize("body", [b'"No such channel"', b"{}", b"[{}]", b"[1]", b'[{"CampaignID":true}]'])
def test_what_is_no_list_of_campaigns_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        get_executed_campaigns_by_channel(452, date(2031, 4, 2)).read(body)


@pytest.mark.parametrize("day", ["2031-02-30", "02/04/2031", "", None, 20310402])
def test_a_day_that_is_none_is_unreadable(day: object) -> None:
    with pytest.raises(Unreadable, match="Date"):
        read(get_last_data_update(), {"Date": day})


def test_a_broken_row_is_named_by_its_place_and_never_quoted() -> None:
    rows = [{"CustomerID": "C-1"}, {"CustomerID": "C-2", "CustomerAttributes": ["Ana", "15550100123", "x"]}]
    with pytest.raises(Unreadable, match=r"^row 2: CustomerAttributes has 3 values for the 2 that were") as caught:
        read(EXECUTED, rows)
    assert "Ana" not in str(caught.value)


@pytest.mark.parametrize("customer_id", [None, "", " ", True, ["C-1"], "\0"])
def test_a_row_of_nobody_is_unreadable(customer_id: object) -> None:
    with pytest.raises(Unreadable, match="row 1: CustomerID"):
        read(get_canceled_campaign_customers(1), [{"CustomerID": customer_id}])


@pytest.mark.parametrize(
    ("told", "promo_codes"),
    [
        (None, ()),
        ("", ()),
        (" , ", ()),
        ("A7", ("A7",)),
        ("A7,B8 ,C9", ("A7", "B8", "C9")),
        (["A7", "", None], ("A7",)),
        (["A,7"], ("A,7",)),
        (77, ("77",)),
    ],
)
def test_promotion_codes_come_as_text_or_array(told: object, promo_codes: tuple[str, ...]) -> None:
    (one,) = read(get_canceled_campaign_customers(1), [{"CustomerID": "C-1", "PromoCode": told}])
    assert one == CampaignCustomer("C-1", None, promo_codes)


def test_no_value_is_none_however_it_is_said() -> None:
    for told in (["NULL", None], "NULL;NULL", [], None):
        (one,) = read(EXECUTED, [{"CustomerID": "C-1", "CustomerAttributes": told}])
        assert one.attributes == (None, None)


def test_values_of_attributes_are_text_whatever_they_were() -> None:
    (one,) = read(EXECUTED, [{"CustomerID": "C-1", "CustomerAttributes": [True, 7]}])
    assert one.attributes == ("true", "7")
    with pytest.raises(Unreadable, match="neither text, number, boolean nor null"):
        read(get_customer_attributes("C-1"), [{"RealFieldName": "A", "Value": {"x": "Ana"}}])


def test_customers_that_were_not_forgotten_are_a_list() -> None:
    with pytest.raises(Unreadable, match="FailedCustomerIDs is not a list"):
        read(remove_customer_pii(["C-1"]), {"FailedCustomerIDs": "C-1"})


def test_values_are_sent_as_text() -> None:
    values = NewAttributeValues(
        "C-1",
        {
            "yes": True,
            "no": False,
            "count": 7,
            "sum": Decimal("1.50"),
            "day": date(2031, 4, 2),
            "time": datetime(2031, 4, 2, 12, tzinfo=timezone(timedelta(hours=2))),
            "text": "NULL",
        },
    )
    sent = {one["RealFieldName"]: one["Value"] for one in upsert_customer(values).body["Attributes"]}
    assert sent == {
        "yes": "true",
        "no": "false",
        "count": "7",
        "sum": "1.50",
        "day": "2031-04-02",
        "time": "2031-04-02 10:00:00",
        "text": "NULL",
    }
    assert update_customer_attributes([values]).body["CustomerNewAttributesValuesList"][0]["CustomerID"] == "C-1"


def test_a_time_is_sent_in_utc() -> None:
    at = datetime(2031, 4, 2, 12, tzinfo=timezone(timedelta(hours=2)))
    assert update_customer_promotion_status(1, {}, at).body["TimeStamp"] == "2031-04-02 10:00:00"


def test_a_reason_that_we_know_has_its_name() -> None:
    (unchanged,) = read_attributes_updated(
        b'{"isSuccess":false,"requestId":"r","errors":[{"error":"invalid","customerId":"C-9","realFieldName":"A"}]}'
    ).errors
    assert unchanged == UnchangedAttribute("invalid", "C-9", "A")
    for number, why in enumerate(AttributeNotChanged, 1):
        body = {"isSuccess": False, "requestId": "r", "errors": [{"error": number}]}
        assert read_attributes_updated(msgspec.json.encode(body)).errors[0].why is why
    told = read_attribute_added(b'{"attributeName":"A","isSuccess":false,"errorId":"1"}')
    assert told.why_not is AttributeNotAdded.TOO_MANY


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'"x"', b'{"isSuccess":true}', b"\xff"])
def test_a_callback_that_is_none_is_a_value_error(body: bytes) -> None:
    for reader in (read_attribute_added, read_attributes_updated):
        with pytest.raises(ValueError):
            reader(body)


@pytest.mark.parametrize("errors", ["x", [1], {"error": "x"}])
def test_errors_of_a_callback_are_a_list_of_objects(errors: object) -> None:
    body = {"isSuccess": False, "requestId": "r", "errors": errors}
    with pytest.raises(Unreadable):
        read_attributes_updated(msgspec.json.encode(body))


def test_personal_values_are_not_shown() -> None:
    shown = [
        ExecutionDetail("C-1", 1, 2, 3, "A", datetime(2031, 4, 2, tzinfo=UTC), (), ("Ana",)),
        OneTimeAction("C-1", 1, 2, 3, ("Ana",)),
        AttributeChange("C-1", "Ana", "Ana", ("Ana",)),
        CustomerAttribute("FIRST_NAME", "", "", "Ana"),
        NewAttributeValues("C-1", {"FIRST_NAME": "Ana"}),
        update_customer_attributes([NewAttributeValues("C-1", {"FIRST_NAME": "Ana"})]),
        UnchangedAttribute("INVALID_CUSTOMER", "Ana", "A"),
    ]
    assert "Ana" not in repr(shown)
