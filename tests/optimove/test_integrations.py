"""Templates, metrics and interactions: what the table of samples does not say."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from optirelay.optimove import (
    CampaignInteractions,
    CampaignMetric,
    ChannelTemplate,
    CustomerEvent,
    Interaction,
    Metric,
    Unreadable,
    add_channel_templates,
    get_channel_templates,
    save_event,
    update_campaign_interactions,
    update_campaign_metrics,
)

TEMPLATES = [ChannelTemplate(17, "Loan nudge SMS"), ChannelTemplate(18, "Welcome", "ios-main")]


def interactions(customer_ids: list[str]) -> CampaignInteractions:
    return CampaignInteractions(
        campaign_id=90211,
        channel_id=452,
        template_id=17,
        event_id=Interaction.CLICKED,
        interaction_on=date(2031, 4, 2),
        customer_ids=customer_ids,
    )


def test_a_template_without_a_name_is_a_value_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"\[19\]"):
        add_channel_templates(452, [*TEMPLATES, ChannelTemplate(19, " ")])


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null"])
def test_an_empty_answer_to_a_list_is_an_empty_list(body: bytes) -> None:
    assert get_channel_templates(452).read(body) == []


@pytest.mark.parametrize("body", [b"{}", b'[{"TemplateID":17}]', b'[{"TemplateName":"x"}]', b"[[]]"])
def test_what_is_no_list_of_templates_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        get_channel_templates(452).read(body)


def test_counts_that_add_up_are_not_repeatable() -> None:
    assert not update_campaign_metrics([CampaignMetric(1, 2, 3, Metric.SENT, 1)], additive=True).repeatable


def test_interactions_of_one_app_name_it() -> None:
    call = update_campaign_interactions(replace(interactions(["C-1"]), app_id="ios-main", recipient_group_id=2))
    assert (call.body["AppID"], call.body["RecipientGroupID"]) == ("ios-main", 2)


def test_customers_who_interacted_are_not_shown() -> None:
    told = interactions(["C-004711"])
    assert "C-004711" not in repr(told) + repr(update_campaign_interactions(told))


@pytest.mark.parametrize(
    "body", [b"", b" \r\n", b"\xef\xbb\xbf", b'{"ResponseCode":200}', b'{"responseCode":"202"}', b"null", b"{}", b"[]"]
)
def test_a_call_without_payload_takes_every_way_to_say_nothing(body: bytes) -> None:
    add_channel_templates(452, TEMPLATES).read(body)


@pytest.mark.parametrize(
    "body", [b'"Bad channel"', b'{"ResponseCode":500}', b'{"ResponseCode":"no"}', b'{"errors":["x"]}', b"false", b"OK"]
)
def test_a_call_without_payload_notices_an_error(body: bytes) -> None:
    with pytest.raises(Unreadable):
        add_channel_templates(452, TEMPLATES).read(body)


DELIVERED = CustomerEvent(
    event="delivered",
    happened_at=datetime(2031, 4, 2, 12, 0, 7, 250_000, timezone(timedelta(hours=2))),
    customer_id="C-004711",
    campaign_id=90211,
    channel_id=452,
    template_id=17,
)


def test_events_are_saved_one_by_one_in_a_signed_call_that_is_never_repeatable() -> None:
    call = save_event(
        [DELIVERED, replace(DELIVERED, recipient_group_id=2, happened_at=datetime(2031, 4, 2, tzinfo=UTC))]
    )
    assert (call.method, call.name, call.signed, call.repeatable) == ("POST", "saveEvent", True, False)
    context = {"campaign_id": 90211, "channel_id": 452, "template_id": 17}
    event = {"event": "delivered", "category": "metric", "customer": "C-004711"}
    assert call.body == [
        event | {"timestamp": "2031-04-02T10:00:07Z", "context": context},
        event | {"timestamp": "2031-04-02T00:00:00Z", "context": context | {"recipient_group_id": 2}},
    ]
    assert "C-004711" not in repr(DELIVERED) + repr(call)
    with pytest.raises(ValueError, match="at most 1 events a call, not 2"):
        save_event([DELIVERED] * 2, limit=1)


@pytest.mark.parametrize(
    "body", [b"", b'{"status":"success","message":"5"}', b"{}", b'[{"status":"Success"}]', b"true"]
)
def test_events_that_were_saved(body: bytes) -> None:
    save_event([DELIVERED]).read(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"error","message":"x"}',
        b'[{"status":"success"},{"Status":"ERROR"}]',
        b'"no"',
        b'{"errors":[1]}',
        b"<",
    ],
)
def test_events_that_were_not(body: bytes) -> None:
    with pytest.raises(Unreadable):
        save_event([DELIVERED]).read(body)
