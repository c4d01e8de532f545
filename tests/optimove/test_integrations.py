"""Templates, metrics and interactions: what goes to Optimove, and how much at once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from optirelay.optimove import (
    MAX_CUSTOMERS,
    MAX_METRICS,
    MAX_TEMPLATES,
    CampaignInteractions,
    CampaignMetric,
    ChannelApp,
    ChannelTemplate,
    CustomerEvent,
    Interaction,
    Metric,
    Unreadable,
    add_channel_apps,
    add_channel_templates,
    delete_channel_apps,
    delete_channel_templates,
    get_channel_templates,
    save_event,
    update_campaign_interactions,
    update_campaign_metrics,
)

SAMPLES = Path(__file__).parent.parent / "samples" / "optimove"
TEMPLATES = [ChannelTemplate(17, "Loan nudge SMS"), ChannelTemplate(18, "Welcome", "ios-main")]


def sample(name: str) -> Any:
    return msgspec.json.decode((SAMPLES / name).read_bytes())


def interactions(customer_ids: list[str]) -> CampaignInteractions:
    return CampaignInteractions(
        campaign_id=90211,
        channel_id=452,
        template_id=17,
        event_id=Interaction.CLICKED,
        interaction_on=date(2031, 4, 2),
        customer_ids=customer_ids,
    )


def test_templates_are_added_as_documented() -> None:
    call = add_channel_templates(452, TEMPLATES)
    assert (call.method, call.path) == ("POST", "/integrations/AddChannelTemplates")
    assert call.query == {"ChannelID": 452}
    assert call.body == sample("sent_add_channel_templates.json")
    assert call.repeatable


def test_a_template_without_a_name_is_a_value_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"\[19\]"):
        add_channel_templates(452, [*TEMPLATES, ChannelTemplate(19, " ")])


def test_templates_are_read() -> None:
    call = get_channel_templates(452)
    assert (call.method, call.path, call.query) == ("GET", "/integrations/GetChannelTemplates", {"ChannelID": 452})
    assert call.read((SAMPLES / "channel_templates.json").read_bytes()) == TEMPLATES
    assert call.read(b"[]") == []


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null"])
def test_an_empty_answer_to_a_list_is_an_empty_list(body: bytes) -> None:
    assert get_channel_templates(452).read(body) == []


@pytest.mark.parametrize("body", [b"{}", b'[{"TemplateID":17}]', b'[{"TemplateName":"x"}]', b"[[]]"])
def test_what_is_no_list_of_templates_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        get_channel_templates(452).read(body)


def test_templates_are_deleted_each_with_its_channel() -> None:
    call = delete_channel_templates(452, [17, 18])
    assert (call.method, call.path, call.repeatable) == ("POST", "/integrations/DeleteChannelTemplates", True)
    assert call.query == {}
    assert call.body == [{"ChannelID": 452, "TemplateID": 17}, {"ChannelID": 452, "TemplateID": 18}]


def test_apps_are_added_and_deleted() -> None:
    call = add_channel_apps(506, [ChannelApp("ios-main", "Acme iOS")])
    assert (call.method, call.path, call.query) == ("POST", "/integrations/AddChannelApps", {"ChannelID": 506})
    assert call.body == [{"AppID": "ios-main", "AppName": "Acme iOS"}]
    call = delete_channel_apps(506, ["ios-main"])
    assert (call.method, call.path, call.query) == ("POST", "/integrations/DeleteChannelApps", {})
    assert call.body == [{"ChannelID": 506, "AppID": "ios-main"}]
    with pytest.raises(ValueError, match="'android'"):
        add_channel_apps(506, [ChannelApp("android", " ")])


def test_metrics_are_totals_unless_told_otherwise() -> None:
    items = [CampaignMetric(90211, 452, 17, Metric.SENT, 925), CampaignMetric(90211, 452, 17, Metric.BOUNCED, 12)]
    call = update_campaign_metrics(items)
    assert (call.method, call.path) == ("POST", "/integrations/UpdateCampaignMetrics")
    assert call.body == sample("sent_campaign_metrics.json")
    assert call.repeatable
    assert not update_campaign_metrics(items, additive=True).repeatable


def test_interactions_add_up_so_they_are_never_repeatable() -> None:
    call = update_campaign_interactions(interactions(["C-004711", "C-004712"]))
    assert (call.method, call.path) == ("POST", "/integrations/UpdateCampaignInteractions")
    assert call.body == sample("sent_campaign_interactions.json")
    assert not call.repeatable


def test_interactions_of_one_app_name_it() -> None:
    call = update_campaign_interactions(replace(interactions(["C-1"]), app_id="ios-main", recipient_group_id=2))
    assert (call.body["AppID"], call.body["RecipientGroupID"]) == ("ios-main", 2)


def test_customers_who_interacted_are_not_shown() -> None:
    told = interactions(["C-004711"])
    assert "C-004711" not in repr(told) + repr(update_campaign_interactions(told))


def test_more_than_the_limit_is_a_value_error_that_names_it() -> None:
    metric = CampaignMetric(1, 2, 3, 0, 1)
    add_channel_templates(1, TEMPLATES[:1] * MAX_TEMPLATES)
    update_campaign_metrics([metric] * MAX_METRICS)
    update_campaign_interactions(interactions(["C"] * MAX_CUSTOMERS))
    with pytest.raises(ValueError, match="at most 100 templates a call, not 101"):
        add_channel_templates(1, TEMPLATES[:1] * (MAX_TEMPLATES + 1))
    with pytest.raises(ValueError, match="at most 100 metrics a call, not 101"):
        update_campaign_metrics([metric] * (MAX_METRICS + 1))
    with pytest.raises(ValueError, match="at most 10000 customers a call, not 10001"):
        update_campaign_interactions(interactions(["C"] * (MAX_CUSTOMERS + 1)))


def test_the_limits_are_settings() -> None:
    add_channel_templates(1, TEMPLATES[:1] * 101, limit=101)
    with pytest.raises(ValueError, match="at most 1 metrics"):
        update_campaign_metrics([CampaignMetric(1, 2, 3, 0, 1)] * 2, limit=1)
    with pytest.raises(ValueError, match="at most 1 customers"):
        update_campaign_interactions(interactions(["A", "B"]), limit=1)


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
