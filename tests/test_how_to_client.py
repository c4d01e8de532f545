"""The page on the client alone: what it shows is run against the simulator."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from http.server import HTTPServer
from typing import Any

import pytest

from optirelay import optimove as client
from optirelay.optimove import Interaction, Metric, NoAnswer, OptimoveError, SyncOptimoveClient
from optirelay.simulator import Simulator
from tests.pages import page, run_python

PAGE = page("client")
SCENARIO = {
    "tenants": [{"id": 7001, "key": "demo-key", "channels": {"504": "Mail"}, "customers": 25}],
    "campaigns": [{"id": 90211, "channel": 504, "templates": [17], "events": [], "rows": [{"TemplateID": 17}]}],
    "quirks": {"page_cap": 10},
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(scenario=SCENARIO) as simulator:
        yield simulator


@pytest.fixture
def shown(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[dict[str, Any]]:
    """All that the page's Python defines, and has done."""
    (exported,) = re.findall(r"^export (.*)$", PAGE, re.MULTILINE)
    for name, _, value in (word.partition("=") for word in exported.split()):
        monkeypatch.setenv(name, value.replace("http://127.0.0.1:8500", simulator.url))
    names = run_python(PAGE)
    yield names
    names["behind_a_proxy"].close()


@pytest.fixture
def optimove(simulator: Simulator) -> Iterator[SyncOptimoveClient]:
    with SyncOptimoveClient(simulator.url, simulator.key) as optimove:
        yield optimove


def calls(simulator: Simulator, name: str) -> int:
    return sum(call["call"] == name for call in simulator.told("calls"))


def test_the_first_calls_add_templates_list_them_and_register(
    shown: dict[str, Any], optimove: SyncOptimoveClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capsys.readouterr().out == "17 Welcome back\n18 We miss you\n2 templates\n"
    (listener,) = optimove.send(client.get_registered_event_listeners())
    assert listener.listener_url == "https://vendor.example.com/optimove/s3cret"


def test_paging_gives_every_recipient_and_tells_what_is_none(
    shown: dict[str, Any], simulator: Simulator, optimove: SyncOptimoveClient, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator.fire(90211)
    capsys.readouterr()
    people = [*shown["recipients"](optimove, 90211)]
    assert len({customer_id for customer_id, *_ in people}) == len(people) == 25
    assert all(template == 17 and isinstance(time, datetime) and time.tzinfo for _, template, time, *_ in people)
    assert any(email for *_, email, _ in people)
    assert capsys.readouterr().out == "not a message: CustomerID is missing\n"
    assert calls(simulator, "GetCustomerSendDetailsByChannel") == 4


def test_what_is_reported_arrives(shown: dict[str, Any], simulator: Simulator, optimove: SyncOptimoveClient) -> None:
    shown["report_counts"](optimove, 90211, {(17, Metric.SENT): 925, (17, Metric.BOUNCED): 12})
    shown["MAX_CUSTOMERS"] = 2
    shown["report_many"](optimove, 90211, 17, Interaction.SENT, ["C-1", "C-2", "C-3"])
    (metrics,) = simulator.told("metrics")
    assert [(one["MetricID"], one["MetricValue"]) for one in metrics["body"]] == [(0, 925), (9, 12)]
    assert [one["body"]["CustomerIDs"] for one in simulator.told("interactions")] == [["C-1", "C-2"], ["C-3"]]


def test_what_does_no_harm_is_sent_again_and_what_adds_up_is_not(
    shown: dict[str, Any], simulator: Simulator, optimove: SyncOptimoveClient
) -> None:
    waits: list[float] = []
    for fault in ("rate_limited", "cut_after"):
        simulator.fault("GetChannelTemplates", fault)
    before = calls(simulator, "GetChannelTemplates")
    assert len(shown["send_patiently"](optimove, client.get_channel_templates(504), sleep=waits.append)) == 2
    assert (waits, calls(simulator, "GetChannelTemplates") - before) == ([2, 4], 3)
    simulator.fault("UpdateCampaignInteractions", "cut_after")
    interactions = client.CampaignInteractions(
        campaign_id=90211,
        channel_id=504,
        template_id=17,
        event_id=Interaction.SENT,
        interaction_on=date(2031, 4, 2),
        customer_ids=["C-1"],
    )
    with pytest.raises(NoAnswer):
        shown["send_patiently"](optimove, client.update_campaign_interactions(interactions), sleep=waits.append)
    assert (len(waits), len(simulator.told("interactions"))) == (2, 1)


def test_the_result_of_a_change_is_read(
    shown: dict[str, Any], simulator: Simulator, optimove: SyncOptimoveClient, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    optimove.send(client.add_customer_attribute("SMS_OPT_IN", "VARCHAR(5)"))
    with HTTPServer(("127.0.0.1", 0), shown["Results"]) as server:
        server.timeout = 30
        shown["Results"].log_message = lambda *_: None
        callback = f"http://127.0.0.1:{server.server_port}/"
        for customers in (["C-000001"], ["nobody"]):
            shown["opt_in"](optimove, customers, callback)
            server.handle_request()
    good, bad, why = capsys.readouterr().out.splitlines()
    assert good.endswith(" done")
    assert bad.endswith(" not done for all")
    assert why == "SMS_OPT_IN of nobody INVALID_CUSTOMER never"


def test_each_error_has_its_row() -> None:
    def names(kind: type[OptimoveError]) -> set[str]:
        return {inner.__name__ for inner in kind.__subclasses__()}.union(*map(names, kind.__subclasses__()))

    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", PAGE, re.MULTILINE)) == names(OptimoveError)


def test_each_limit_is_the_one_that_is_kept() -> None:
    said = {
        name: int(number.replace(",", "")) for number, name in re.findall(r"([\d,]+) [a-z ]+ \(`(MAX_\w+)`\)", PAGE)
    }
    kept = {name: getattr(client, name) for name in client.__all__ if name.startswith("MAX_")}
    assert said == {name: most for name, most in kept.items() if isinstance(most, int) and name != "MAX_ANSWER_BYTES"}


def test_of_our_dependencies_the_client_needs_two() -> None:
    look = (
        "import re, sys; from importlib.metadata import packages_distributions, requires; import optirelay.optimove;"
        "ours = {re.match(r'[\\w-]+', one)[0] for one in requires('optirelay') if 'extra' not in one};"
        "found = packages_distributions();"
        "print(*sorted(ours & {name for module in list(sys.modules) for name in found.get(module, ())}))"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split() == [
        "httpx2",
        "msgspec",
    ]
