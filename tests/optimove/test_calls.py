"""Every call of the client against the one table of samples: what it sends, and what it makes of each answer."""

import inspect
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from optirelay import optimove
from optirelay.optimove import (
    Broken,
    Call,
    CampaignInteractions,
    CampaignMetric,
    ChannelApp,
    ChannelTemplate,
    CustomerEvent,
    EventType,
    Interaction,
    Metric,
    NewAttributeValues,
    Promotion,
    SyncOptimoveClient,
    Unreadable,
)

TABLE = tomllib.loads((Path(__file__).parent.parent / "samples" / "optimove" / "calls.toml").read_text())
LISTENER = "https://partner.example.com/optimove/acme/"
CALLBACK = "https://partner.example.com/optimove/attr-callback"
SIGNED = "https://metric-7001.optimove.net/api/saveEvent"

CALLS: dict[str, Callable[[], Call[Any]]] = {
    "RegisterEventListener, of one channel": partial(
        optimove.register_event_listener, EventType.CHANNEL_EXECUTED, LISTENER + "13", 452
    ),
    "RegisterEventListener, of all channels": partial(
        optimove.register_event_listener, EventType.CLEARANCE_REQUIRED, LISTENER + "5"
    ),
    "UnregisterEventListener, of one channel": partial(
        optimove.unregister_event_listener, EventType.CHANNEL_EXECUTED, 452
    ),
    "UnregisterEventListener, of all channels": partial(optimove.unregister_event_listener, 4),
    "GetRegisteredEventListeners": partial(optimove.get_registered_event_listeners),
    "GetLastDataUpdate": partial(optimove.get_last_data_update),
    "AddChannelTemplates": partial(
        optimove.add_channel_templates,
        452,
        [ChannelTemplate(17, "Loan nudge SMS"), ChannelTemplate(18, "Welcome", "ios-main")],
    ),
    "DeleteChannelTemplates": partial(optimove.delete_channel_templates, 452, [17, 18]),
    "GetChannelTemplates": partial(optimove.get_channel_templates, 452),
    "GetChannelTemplateDetails": partial(optimove.get_channel_template_details, channel_id=15, template_id=5),
    "AddChannelApps": partial(optimove.add_channel_apps, 506, [ChannelApp("ios-main", "Acme iOS")]),
    "DeleteChannelApps": partial(optimove.delete_channel_apps, 506, ["ios-main"]),
    "GetCustomerSendDetailsByChannel": partial(
        optimove.get_customer_send_details_by_channel,
        campaign_id=90211,
        channel_id=452,
        attributes=["FIRST_NAME", "PHONE"],
    ),
    "GetCustomerSendDetailsByChannel, without attributes, a later page": partial(
        optimove.get_customer_send_details_by_channel,
        campaign_id=90211,
        channel_id=452,
        attributes=[],
        skip=20_000,
        top=100,
    ),
    "GetCustomerSendDetailsByCampaign": partial(optimove.get_customer_send_details_by_campaign, 90211),
    "GetCustomerSendDetailsByCampaign, with templates": partial(
        optimove.get_customer_send_details_by_campaign, 90211, template_ids=True
    ),
    "GetCustomerExecutionDetailsByCampaign": partial(
        optimove.get_customer_execution_details_by_campaign,
        campaign_id=90211,
        channel_id=452,
        attributes=["FIRST_NAME", "COUNTRY"],
    ),
    "GetCustomerOneTimeActionsByCampaign": partial(
        optimove.get_customer_one_time_actions_by_campaign,
        90211,
        channel_id=452,
        control_group=True,
        attributes=["FIRST_NAME", "COUNTRY"],
    ),
    "GetCustomerOneTimeActionsByCampaign, on all channels": partial(
        optimove.get_customer_one_time_actions_by_campaign, 90211
    ),
    "GetProcessedCampaignCustomers": partial(optimove.get_processed_campaign_customers, 90211),
    "GetCanceledCampaignCustomers": partial(optimove.get_canceled_campaign_customers, 90211),
    "GetCampaignInteractionCustomers": partial(
        optimove.get_campaign_interaction_customers,
        on=date(2031, 4, 2),
        channel_id=452,
        event_id=Interaction.CLICKED,
        attributes=["FIRST_NAME"],
    ),
    "GetCustomerChannelInteractions": partial(
        optimove.get_customer_channel_interactions,
        "C-004711",
        start_on=date(2031, 4, 1),
        end_on=date(2031, 4, 7),
    ),
    "GetExecutedCampaignsByChannel": partial(optimove.get_executed_campaigns_by_channel, 452, date(2031, 4, 2)),
    "GetExecutedCampaignChannelDetails": partial(
        optimove.get_executed_campaign_channel_details, campaign_id=90211, channel_id=452
    ),
    "GetExecutedCampaignDetails": partial(optimove.get_executed_campaign_details, date(2031, 4, 2)),
    "GetCampaignDetails": partial(optimove.get_campaign_details, 90211),
    "GetExecutionChannels": partial(optimove.get_execution_channels),
    "GetCustomerAttributes": partial(optimove.get_customer_attributes, "C-004711"),
    "GetCustomerAttributes, of a customer whose id is no path": partial(optimove.get_customer_attributes, "a/b? é"),
    "GetCustomerAttributeList": partial(optimove.get_customer_attribute_list),
    "GetCustomerAttributeChangers": partial(
        optimove.get_customer_attribute_changers, "TIER", attributes=["FIRST_NAME", "COUNTRY"]
    ),
    "AddCustomerAttribute": partial(
        optimove.add_customer_attribute, "SmsOptIn", "VARCHAR(5)", default_value="false", callback_url=CALLBACK
    ),
    "UpdateCustomerAttributes": partial(
        optimove.update_customer_attributes,
        [NewAttributeValues("C-004711", {"SmsOptIn": True, "INSTALLATION_DATE": date(2031, 4, 2), "VISITS": 3})],
        callback_url=CALLBACK,
    ),
    "UpsertCustomer": partial(
        optimove.upsert_customer, NewAttributeValues("C-004711", {"SmsOptIn": "true"}), callback_url=CALLBACK
    ),
    "SetCustomerChannelPreference": partial(optimove.set_customer_channel_preference, 452, ["C-004711", "C-004712"], 2),
    "RemoveCustomerPII": partial(optimove.remove_customer_pii, ["C-1", "C-2"]),
    "UpdateCampaignMetrics": partial(
        optimove.update_campaign_metrics,
        [CampaignMetric(90211, 452, 17, Metric.SENT, 925), CampaignMetric(90211, 452, 17, Metric.BOUNCED, 12)],
    ),
    "UpdateCampaignInteractions": partial(
        optimove.update_campaign_interactions,
        CampaignInteractions(
            campaign_id=90211,
            channel_id=452,
            template_id=17,
            event_id=Interaction.CLICKED,
            interaction_on=date(2031, 4, 2),
            customer_ids=["C-004711", "C-004712"],
        ),
    ),
    "saveEvent": partial(
        optimove.save_event,
        [
            CustomerEvent(
                event="delivered",
                happened_at=datetime(2031, 4, 2, 10, 0, 7, tzinfo=UTC),
                customer_id="C-004711",
                campaign_id=90211,
                channel_id=452,
                template_id=17,
            )
        ],
    ),
    "AddPromotions": partial(optimove.add_promotions, [Promotion("LOAN5", "Loan 5%")]),
    "GetPromotions": partial(optimove.get_promotions),
    "DeletePromotions": partial(optimove.delete_promotions, ["LOAN5"]),
    "UpdateCustomerPromotionStatus": partial(
        optimove.update_customer_promotion_status,
        90211,
        {"C-1": True, "C-2": False},
        datetime(2031, 4, 2, 8, 40, tzinfo=UTC),
    ),
    "triggered_conditional_execution_gateway": partial(
        optimove.set_triggered_conditional_execution_gateway, LISTENER + "may-we"
    ),
}
READERS = {
    "AddCustomerAttribute": optimove.read_attribute_added,
    "UpdateCustomerAttributes": optimove.read_attributes_updated,
}


def key_of(entry: dict[str, Any]) -> str:
    return f"{entry['name']}, {entry['case']}" if "case" in entry else str(entry["name"])


@dataclass
class Told:
    """One body of the table, and what is to be made of it."""

    key: str
    form: str
    body: str
    reads: str | None  # JSON; None where it is an error
    error: str

    def __str__(self) -> str:
        return f"{self.key}: {self.form}"


def told_in(entry: dict[str, Any], bodies: list[dict[str, str]], default: str | None = None) -> list[Told]:
    return [
        Told(
            key_of(entry),
            body["form"],
            body["body"],
            None if "error" in body else body.get("reads", default),
            body.get("error", ""),
        )
        for body in bodies
    ]


ENTRIES = {key_of(entry): entry for entry in TABLE["call"]}
ANSWERS = [
    told
    for entry in TABLE["call"]
    for told in [
        *told_in(entry, TABLE["nothing"] if entry.get("nothing") else [], "null"),
        *told_in(entry, entry.get("answer", [])),
    ]
]
CALLBACKS = [told for entry in TABLE["callback"] for told in told_in(entry, entry["body"])]
FUNCTIONS = {
    name: function
    for name in optimove.__all__
    if inspect.isfunction(function := getattr(optimove, name))
    and str(inspect.signature(function).return_annotation).partition("[")[0].endswith("Call")
}


def exchange(call: Call[Any], body: str) -> tuple[httpx2.Request, Any]:
    """What the client sends, and what it makes of the answer; what it raises is given back as well."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, content=body.encode())

    with SyncOptimoveClient(
        "https://api5.optimove.net",
        "k3y",
        metrics_url=SIGNED,
        metrics_token="t0ken",
        transport=httpx2.MockTransport(answer),
    ) as client:
        try:
            read = client.send(call)
        except Broken as error:
            read = error
    return requests[0], read


def plain(read: Any) -> Any:
    """As JSON has it; of a page its rows."""
    return json.loads(msgspec.json.encode(list(read) if isinstance(read, optimove.SendDetailsPage) else read))


def test_the_table_has_every_call_of_the_client_and_no_other() -> None:
    assert ENTRIES.keys() == CALLS.keys()
    assert {call.func.__name__ for call in CALLS.values() if isinstance(call, partial)} == FUNCTIONS.keys()
    assert len(FUNCTIONS) == 39


def test_every_call_of_the_table_has_an_answer_as_documented_or_inferred() -> None:
    assert {told.key for told in ANSWERS if told.reads is not None} == ENTRIES.keys()
    assert all(entry["section"] and entry["source"] for entry in ENTRIES.values())


@pytest.mark.parametrize("key", CALLS)
def test_a_call_sends_exactly_what_the_table_says(key: str) -> None:
    entry, call = ENTRIES[key], CALLS[key]()
    request, _ = exchange(call, "")
    address = SIGNED if entry.get("signed") else "https://api5.optimove.net/current" + entry["path"]
    assert (request.method, str(request.url).partition("?")[0]) == (entry["method"], address)
    assert dict(request.url.params) == {name: str(value) for name, value in entry.get("query", {}).items()}
    assert request.content.decode() == entry.get("body", "")
    assert ("X-API-KEY" in request.headers) is not entry.get("signed", False)
    assert call.name == entry["name"]
    assert call.repeatable is not entry.get("additive", False)


@pytest.mark.parametrize("told", ANSWERS, ids=str)
def test_an_answer_is_read_as_the_table_says(told: Told) -> None:
    _, read = exchange(CALLS[told.key](), told.body)
    if told.reads is None:
        assert isinstance(read, Broken)
        assert told.error in str(read)
    else:
        assert plain(read) == json.loads(told.reads)


@pytest.mark.parametrize("told", CALLBACKS, ids=str)
def test_a_callback_is_read_as_the_table_says(told: Told) -> None:
    if told.reads is None:
        with pytest.raises(Unreadable, match=told.error):
            READERS[told.key](told.body.encode())
    else:
        assert plain(READERS[told.key](told.body.encode())) == json.loads(told.reads)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_call_says_where_it_is_written(name: str) -> None:
    text = FUNCTIONS[name].__doc__ or ""
    assert "https://" in text or "github " in text
    assert text.partition("\n")[0].endswith((".", ":"))


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    for name in optimove.__all__:
        it = getattr(optimove, name)
        if inspect.isclass(it) or inspect.isfunction(it):
            text = it.__doc__ or ""
            assert text, f"{name} has no docstring"
            assert not text.startswith(f"{name}("), f"{name} has the docstring that dataclass makes"
