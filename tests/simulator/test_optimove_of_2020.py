"""The client `optimove` 2.0.0 of 2020, from PyPI, at work against the simulator; its login alone is another."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from optimove.client import Client

from optirelay.simulator import Simulator


class KeyClient(Client):  # type: ignore[misc]  # it has no types
    """Key in a header, as Optimove wants it since 2024; no login, no token that expires."""

    def _headers(self) -> dict[str, str]:
        return {"X-API-KEY": "demo-key", "Accept": "application/json", "Content-type": "application/json"}

    def _refresh_token(self) -> None:
        pass


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(scenario={"quirks": {"calls": "1000/1s"}}) as simulator:
        yield simulator


def test_it_works_with_templates_and_apps(simulator: Simulator) -> None:
    client = KeyClient(url=simulator.url)
    assert client.integrations.add_channel_apps(504, {"ios-main": "Acme iOS"})
    templates = [{"id": 17, "name": "Welcome"}, {"id": 18, "name": "Loan", "app_id": "ios-main"}]
    assert client.integrations.add_channel_templates(504, templates)
    assert client.integrations.get_channel_templates(504) == {17: "Welcome", 18: "Loan"}
    assert client.integrations.delete_channel_templates([{"channel_id": 504, "template_id": 17}])
    assert client.integrations.get_channel_templates(504) == {18: "Loan"}
    assert client.integrations.delete_channel_apps([{"channel_id": 504, "app_id": "ios-main"}])
    assert simulator.current("apps") == []


def test_it_pages_through_send_details_with_attributes(simulator: Simulator) -> None:
    client = KeyClient(url=simulator.url)
    campaign = simulator.campaign(channel=504, templates=[17, 18], customers=25)
    simulator.fire(campaign)
    rows: list[dict[str, Any]] = []
    while page := client.customers.get_customer_send_details_by_channel(
        504, campaign, ["EMAIL", "COUNTRY"], top=10, skip=len(rows)
    ):
        rows += page
    assert [len({row[key] for row in rows}) for key in ("customer_id", "template_id")] == [25, 2]
    people = simulator.state()["tenants"][0]["customers"]
    assert people == 5000
    assert all(set(row["attributes"]) == {"EMAIL", "COUNTRY"} for row in rows)
    assert len([row for row in rows if "@" in (row["attributes"]["EMAIL"] or "")]) > 20


def test_it_posts_metrics_and_reads_what_was_executed(simulator: Simulator) -> None:
    client = KeyClient(url=simulator.url)
    campaign = simulator.campaign(channel=504, templates=[17], customers=5)
    simulator.fire(campaign)
    metric = {"channel_id": 504, "campaign_id": campaign, "template_id": 17, "metric": 0, "value": 5}
    assert client.integrations.update_campaign_metrics([metric])
    (shown,) = simulator.state()["campaigns"]
    assert shown["metrics"] == [{"TemplateID": 17, "MetricID": 0, "MetricValue": 5}]
    today = datetime.now(UTC).date().isoformat()
    assert campaign in client.actions.get_executed_campaigns_by_channel(504, today)
    assert client.actions.get_campaign_details(campaign)["campaign_type"] == "Test/Control"
    assert [row["template_id"] for row in client.actions.get_executed_campaign_channel_details(campaign, 504)] == [17]
    assert len(client.customers.get_customer_send_details_by_campaign(campaign, include_templates_ids=True)) == 5
    assert client.actions.get_execution_channels() == {504: "Mail scheduled", 604: "Mail triggered"}
    assert client.general.get_last_data_update() < today
    assert "EMAIL" in client.model.get_customer_attribute_list()


def test_it_registers_a_listener_and_takes_it_back(simulator: Simulator) -> None:
    client = KeyClient(url=simulator.url)
    assert client.general.register_event_listener(1, "http://127.0.0.1:9/")
    assert [row["EventTypeID"] for row in simulator.current("listeners")] == [1]
    assert client.general.unregister_event_listener(1)
    assert simulator.current("listeners") == []


def test_it_works_with_promotions(simulator: Simulator) -> None:
    client = KeyClient(url=simulator.url)
    assert client.integrations.add_promotions({"LOAN5": "Loan 5%", "LOAN7": "Loan 7%"})
    assert client.integrations.delete_promotions(["LOAN7"])
    assert client.integrations.get_promotions() == {"LOAN5": "Loan 5%"}
