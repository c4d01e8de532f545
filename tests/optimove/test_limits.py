"""What a call is not made for: said before anything is sent, with the number or the name that is wrong."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from optirelay import optimove
from optirelay.optimove import (
    Call,
    CampaignInteractions,
    CampaignMetric,
    ChannelApp,
    ChannelTemplate,
    CustomerEvent,
    NewAttributeValues,
    Promotion,
)

DAY = date(2031, 4, 2)
AT = datetime(2031, 4, 2, 8, 40, tzinfo=UTC)
EVENT = CustomerEvent(event="sent", happened_at=AT, customer_id="C-1", campaign_id=1, channel_id=2, template_id=3)


def interactions(count: int, **limit: int) -> Call[None]:
    told = CampaignInteractions(
        campaign_id=1, channel_id=2, template_id=3, event_id=3, interaction_on=DAY, customer_ids=["C"] * count
    )
    return optimove.update_campaign_interactions(told, **limit)


def statuses(count: int, **limit: int) -> Call[None]:
    told = {f"C-{number}": True for number in range(count)}
    return optimove.update_customer_promotion_status(1, told, AT, **limit)


LIMITED: dict[str, tuple[int, str, Callable[..., Call[Any]]]] = {
    "AddChannelTemplates": (
        100,
        "templates",
        lambda count, **limit: optimove.add_channel_templates(1, [ChannelTemplate(1, "A")] * count, **limit),
    ),
    "DeleteChannelTemplates": (
        100,
        "templates",
        lambda count, **limit: optimove.delete_channel_templates(1, [1] * count, **limit),
    ),
    "AddChannelApps": (
        100,
        "apps",
        lambda count, **limit: optimove.add_channel_apps(1, [ChannelApp("a", "A")] * count, **limit),
    ),
    "DeleteChannelApps": (
        100,
        "apps",
        lambda count, **limit: optimove.delete_channel_apps(1, ["a"] * count, **limit),
    ),
    "UpdateCampaignMetrics": (
        100,
        "metrics",
        lambda count, **limit: optimove.update_campaign_metrics([CampaignMetric(1, 2, 3, 0, 1)] * count, **limit),
    ),
    "UpdateCampaignInteractions": (10_000, "customers", interactions),
    "saveEvent": (10_000, "events", lambda count, **limit: optimove.save_event([EVENT] * count, **limit)),
    "SetCustomerChannelPreference": (
        50_000,
        "customers",
        lambda count, **limit: optimove.set_customer_channel_preference(1, ["C"] * count, 2, **limit),
    ),
    "RemoveCustomerPII": (
        50_000,
        "customers",
        lambda count, **limit: optimove.remove_customer_pii(["C"] * count, **limit),
    ),
    "UpdateCustomerAttributes": (
        1_000,
        "customers",
        lambda count, **limit: optimove.update_customer_attributes(
            [NewAttributeValues("C", {"A": "1"})] * count, **limit
        ),
    ),
    "AddPromotions": (
        100,
        "promotions",
        lambda count, **limit: optimove.add_promotions([Promotion("A", "A")] * count, **limit),
    ),
    "DeletePromotions": (
        100,
        "promotions",
        lambda count, **limit: optimove.delete_promotions(["A"] * count, **limit),
    ),
    "UpdateCustomerPromotionStatus": (10_000, "customers", statuses),
}


@pytest.mark.parametrize("name", LIMITED)
def test_more_than_one_call_takes_is_a_value_error_that_names_the_limit(name: str) -> None:
    limit, what, make = LIMITED[name]
    assert make(limit).name == name
    with pytest.raises(ValueError, match=f"at most {limit} {what} a call, not {limit + 1}"):
        make(limit + 1)


@pytest.mark.parametrize("name", LIMITED)
def test_a_limit_can_be_given(name: str) -> None:
    limit, what, make = LIMITED[name]
    make(limit + 1, limit=limit + 1)
    with pytest.raises(ValueError, match=f"at most 1 {what} a call, not 2"):
        make(2, limit=1)


def test_attributes_of_one_customer_have_a_limit_of_their_own() -> None:
    eleven = NewAttributeValues("C-1", {f"A{number}": "x" for number in range(11)})
    optimove.update_customer_attributes([eleven], attributes_limit=11)
    with pytest.raises(ValueError, match="at most 10 attributes of a customer a call, not 11"):
        optimove.update_customer_attributes([eleven])


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a template without a name": (
        lambda: optimove.add_channel_templates(1, [ChannelTemplate(17, "A"), ChannelTemplate(19, " ")]),
        r"\[19\]",
    ),
    "an app without a name": (lambda: optimove.add_channel_apps(1, [ChannelApp("ios", "")]), "'ios'"),
    "an app without an id": (lambda: optimove.add_channel_apps(1, [ChannelApp("", "iOS")]), "an id and a name"),
    "a promotion without a name": (lambda: optimove.add_promotions([Promotion("LOAN5", " ")]), "'LOAN5'"),
    "an attribute asked for without a name": (
        lambda: optimove.get_customer_attribute_changers("TIER", attributes=[""]),
        "not empty",
    ),
    "two attributes that changed": (lambda: optimove.get_customer_attribute_changers("A;B"), 'has no ";"'),
    "a customer without a name": (lambda: optimove.get_customer_attributes(" "), "not empty"),
    "a customer who is the way up": (lambda: optimove.get_customer_attributes(".."), "dots alone"),
    "interactions of nobody": (
        lambda: optimove.get_customer_channel_interactions("", start_on=DAY, end_on=DAY),
        "not empty",
    ),
    "interactions back in time": (
        lambda: optimove.get_customer_channel_interactions("C-1", start_on=DAY, end_on=date(2031, 4, 1)),
        "2031-04-01, comes before the first, 2031-04-02",
    ),
    "an attribute without a name": (lambda: optimove.add_customer_attribute(" ", "INT"), "a name"),
    "an attribute of no type": (lambda: optimove.add_customer_attribute("A", "TEXT"), "not 'TEXT'"),
    "an attribute of no length": (lambda: optimove.add_customer_attribute("A", "VARCHAR(0)"), "not 'VARCHAR"),
    "a value without a name": (
        lambda: optimove.update_customer_attributes([NewAttributeValues("C-1", {" ": "x"})]),
        "has a name",
    ),
    "a customer to be made without a name": (
        lambda: optimove.upsert_customer(NewAttributeValues("", {"A": "x"})),
        "not empty",
    ),
    "a time without a zone": (
        lambda: optimove.update_customer_promotion_status(1, {"C-1": True}, datetime(2031, 4, 2)),  # noqa: DTZ001
        "needs a zone",
    ),
    "no gateway": (lambda: optimove.set_triggered_conditional_execution_gateway(""), "not empty"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_optimove_cannot_take_is_a_value_error_that_says_why(what: str) -> None:
    make, why = WRONG[what]
    with pytest.raises(ValueError, match=why):
        make()


@pytest.mark.parametrize("type_", ["DECIMAL(19,4)", "INT", "BIGINT", "DATE", "VARCHAR(1)", "NVARCHAR(250)"])
def test_an_attribute_has_one_of_the_documented_types(type_: str) -> None:
    assert optimove.add_customer_attribute("A", type_).body == {"Name": "A", "Type": type_}
