"""A running simulator as an object of Python, and as a fixture in anyone's tests."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.simulator.listener import Listener

from optirelay.simulator import BadEntry, Simulator

TEMPLATES = "/current/integrations/GetChannelTemplates?ChannelID=504"


def test_a_thread_tells_it_what_to_do_and_hears_what_it_was_told() -> None:
    with Simulator() as optimove:
        with httpx2.Client(base_url=optimove.url, headers={"X-API-KEY": optimove.key}) as client:
            optimove.customers({"customer_id": "C-1", "EMAIL": "ana@example.com"})
            campaign = optimove.campaign(channel=504, templates=[17], customers=["C-1"])
            assert optimove.fire(campaign) == 0
            query: dict[str, Any] = {"ChannelID": 504, "CampaignID": campaign, "CustomerAttributes": "EMAIL"}
            (row,) = client.get("/current/customers/GetCustomerSendDetailsByChannel", params=query).json()
            assert row["CustomerAttributes"] == ["ana@example.com"]
            assert optimove.cancel(campaign) == 0
            optimove.fault("GetChannelTemplates", "error_before", times=1)
            assert [client.get(TEMPLATES).status_code for _ in range(2)] == [500, 200]
            optimove.quirk(calls="1/60s")
            assert client.get(TEMPLATES).status_code == 429
            optimove.tenant(id=7002, key="other", channels={"505": "Text"})
            assert client.get(TEMPLATES, headers={"X-API-KEY": "other"}).status_code == 400
        assert [call["status"] for call in optimove.told("calls")] == [200, 500, 200, 429, 400]
        assert optimove.state()["campaigns"][0]["state"] == "cancelled"
        told = optimove.told("calls")
        told[0]["status"] = "changed"
        assert optimove.told("calls")[0]["status"] == 200


async def test_orders_are_taken_in_the_loop_too_and_fire(listener: Listener) -> None:
    async with Simulator() as optimove, httpx2.AsyncClient(base_url=optimove.url) as client:
        headers = {"X-API-KEY": optimove.key}
        for event in (2, 3, 4, 11, 13):
            body = {"EventTypeID": event, "ListenerURL": listener.url}
            await client.post("/current/general/RegisterEventListener", json=body, headers=headers)
        assert optimove.fire_day() == 2  # although there is no campaign
        campaign = optimove.campaign(channel=504, templates=[17])
        assert optimove.fire(campaign, events=[13]) == 1
        assert optimove.cancel(campaign) == 1
        assert optimove.trigger(channel=604, templates=[17], customers=["C-000001"], event="login", campaign=5) == 1
        assert optimove.customer_event("C-000001", "login") == 1
        bodies = await listener.until(6)
    assert sorted(body.get("EventTypeID") or body["eventTypeID"] for body in bodies) == [2, 3, 4, 11, 11, 13]
    assert all(set(body) == {"EventTypeID", "TimeStamp"} for body in bodies if body.get("EventTypeID") in (2, 3))


def test_an_order_that_is_wrong_names_the_key() -> None:
    with Simulator() as optimove:
        with pytest.raises(BadEntry, match="channel is 9"):
            optimove.campaign(channel=9, templates=[17])
        with pytest.raises(BadEntry, match="there is no campaign 4"):
            optimove.fire(4)
        with pytest.raises(BadEntry, match="some of"):
            optimove.fire_day(13)
        with pytest.raises(BadEntry, match="shows nothing"):
            optimove.told("nonsense")
    with pytest.raises(RuntimeError, match="does not run"):
        optimove.told("calls")


TESTS = """
import sys
import pytest

def test_nothing_is_loaded_before_it_is_asked_for():
    assert "optirelay.simulator.server" not in sys.modules
    assert "uvicorn" not in sys.modules

def test_a_fresh_optimove(optimove):
    assert optimove.url.startswith("http://127.0.0.1:")
    assert optimove.state()["tenants"][0]["customers"] == 5000
    optimove.campaign(channel=504, templates=[17])

def test_the_next_one_knows_nothing_of_it(optimove):
    assert optimove.state()["campaigns"] == []

@pytest.mark.optimove_scenario(seed=9, quirks={"page_cap": 5})
def test_a_scenario_as_keywords(optimove):
    assert optimove.state()["quirks"]["page_cap"] == 5

@pytest.mark.optimove_scenario("scenario.toml")
def test_a_scenario_as_a_file(optimove):
    assert optimove.state()["seed"] == 11

class TestOfOneScenario:
    @pytest.fixture
    def optimove_scenario(self):
        return {"seed": 12}

    def test_an_overridden_fixture(self, optimove):
        assert optimove.state()["seed"] == 12
"""


def test_pytest_has_it_as_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "scenario.toml").write_text("seed = 11")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_the_marker_is_explained(tmp_path: Path) -> None:
    done: Any = subprocess.run(
        [sys.executable, "-m", "pytest", "--markers"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert "optimove_scenario" in done.stdout
