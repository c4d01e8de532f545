"""Starting, stopping, scenario files, the simulator's own URLs and the page."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from optirelay.simulator import BadEntry, CannotListen, Simulator

SCENARIO = """
seed = 9
[[tenants]]
id = 7009
key = "nine"
channels = { 504 = "Mail" }
customers = 10
[[campaigns]]
tenant = 7009
id = 1
channel = 504
templates = [17]
send_at = ["+0s", 2031-04-02T10:00:00Z]
events = []
[[faults]]
call = "AddChannelTemplates"
fault = "slow"
[quirks]
page_cap = 5
triggered_keys = "camel"
"""


def test_it_runs_in_a_thread() -> None:
    with Simulator() as optimove:
        url = optimove.url
        assert httpx2.get(f"{url}/_sim/state").json()["seed"] == 7
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_a_taken_address_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match=f"Cannot listen on {listen}.*another address"), Simulator(listen):
            pass


@pytest.mark.parametrize("listen", ["", "8500", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999", "[::1"])
async def test_an_address_that_is_none_is_an_error(listen: str) -> None:
    with pytest.raises(CannotListen, match="HOST:PORT"):
        async with Simulator(listen):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number: int) -> None:
    code = "from optirelay.simulator import Simulator; Simulator().run(lambda s: print(s.url, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert httpx2.get(url).status_code == 200
        process.send_signal(number)
        _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (0, b"")


def test_the_command_loads_nothing_of_the_service() -> None:
    code = (
        "import sys; from optirelay.cli import main; from optirelay.simulator import Simulator\n"
        "with Simulator(): print(sorted({name.split('.')[0] for name in sys.modules} | set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "'optirelay.simulator.server'" in loaded
    for name in ("optirelay.engine", "optirelay.settings", "optirelay.optimove", "psycopg", "pydantic", "structlog"):
        assert f"'{name}'" not in loaded, name


async def test_it_stops_soon_although_an_answer_is_waited_for() -> None:
    async with Simulator() as simulator, httpx2.AsyncClient(base_url=simulator.url) as client:
        await client.post("/_sim/faults", json={"call": "GetChannelTemplates", "fault": "slow", "seconds": 60})
        path = "/current/integrations/GetChannelTemplates?ChannelID=504"
        waiting = asyncio.create_task(client.get(path, headers={"X-API-KEY": "demo-key"}))
        await asyncio.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 30  # half of what the answer would take
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_scenario_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(SCENARIO)
    for seed, expected in ((None, 9), (3, 3)):
        async with (
            Simulator(seed=seed, scenario=file) as simulator,
            httpx2.AsyncClient(base_url=simulator.url) as client,
        ):
            state = (await client.get("/_sim/state")).json()
        assert state["seed"] == expected
        assert (state["tenants"][0]["id"], state["tenants"][0]["customers"]) == (7009, 10)
        assert (state["campaigns"][0]["id"], state["campaigns"][0]["state"]) == (1, "waiting")
        assert (state["faults"][0]["seconds"], state["quirks"]["page_cap"]) == (5.0, 5)


async def test_the_same_seed_is_the_same_optimove_and_another_is_not() -> None:
    answers = []
    for seed in (7, 7, 8):
        async with Simulator(seed=seed) as simulator, httpx2.AsyncClient(base_url=simulator.url) as client:
            answers.append((await client.get("/_sim/customers?tenant=7001")).json())
    assert answers[0] == answers[1] != answers[2]
    assert len(answers[0]) == 5000


CAMPAIGN = {"tenant": 7001, "channel": 504, "templates": [17]}


@pytest.mark.parametrize(
    ("scenario", "named"),
    [
        ({"campaign": []}, "campaign is no key here"),
        ({"seed": "seven"}, "seed"),
        ({"tenants": {}}, "tenants"),
        ({"tenants": [{"id": 1, "key": "a"}]}, "channels is missing"),
        ({"tenants": [{"id": 1, "key": "", "channels": {}}]}, "key"),
        ({"tenants": [{"id": 1, "key": "a", "channels": {"x": "Mail"}}]}, "channels"),
        ({"tenants": [{"id": n, "key": "a", "channels": {}} for n in (1, 2)]}, "key is that of tenant 1"),
        ({"campaigns": ["x"]}, "object"),
        ({"campaigns": [CAMPAIGN | {"chanel": 504}]}, "chanel"),
        ({"campaigns": [CAMPAIGN | {"tenant": 1}]}, "tenant"),
        ({"campaigns": [CAMPAIGN | {"channel": 9}]}, "[504, 604]"),
        ({"campaigns": [CAMPAIGN | {"templates": []}]}, "templates"),
        ({"campaigns": [CAMPAIGN | {"templates": ["17"]}]}, "templates"),
        ({"campaigns": [CAMPAIGN | {"send_at": "+30s"}]}, "send_at"),
        ({"campaigns": [CAMPAIGN | {"send_at": ["soon"]}]}, "send_at is 'soon'"),
        ({"campaigns": [CAMPAIGN | {"send_at": [30]}]}, "send_at"),
        ({"campaigns": [CAMPAIGN | {"fire_at": "+99999999999d"}]}, "fire_at"),
        ({"campaigns": [CAMPAIGN | {"send_at": ["-4000d"]}]}, "send_at"),
        ({"campaigns": [CAMPAIGN | {"events": [4]}]}, "cancelling"),
        ({"campaigns": [CAMPAIGN | {"events": [14]}]}, "not built yet"),
        ({"campaigns": [CAMPAIGN | {"events": [11]}]}, "11 is what triggers fire"),
        ({"campaigns": [CAMPAIGN | {"customers": 5001}]}, "5000"),
        ({"campaigns": [CAMPAIGN | {"customers": ["nobody"]}]}, "nobody"),
        ({"campaigns": [CAMPAIGN | {"customers": [1]}]}, "as text"),
        ({"campaigns": [CAMPAIGN | {"id": 1}, CAMPAIGN | {"id": 1}]}, "taken on channel 504"),
    ],
)
def test_a_wrong_scenario_names_the_key(scenario: dict[str, Any], named: str) -> None:
    with pytest.raises(BadEntry) as caught:
        Simulator(scenario=scenario)
    assert named in str(caught.value)


def test_a_scenario_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadEntry, match="cannot be read"):
        Simulator(scenario=str(tmp_path / "none.toml"))
    (tmp_path / "broken.toml").write_text("seed = ")
    with pytest.raises(BadEntry, match="is no TOML"):
        Simulator(scenario=tmp_path / "broken.toml")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_sim/nothing", 404),
        ("POST", "/_sim/nothing", 404),
        ("DELETE", "/_sim/state", 405),
        ("POST", "/_sim/attributes", 404),
        ("POST", "/_sim/campaigns", 400),
        ("GET", "/_sim/customers", 400),
        ("GET", "/_sim/customers?tenant=1", 400),
        ("GET", "/_sim/customers?tenant=7001&campaign=1", 400),
    ],
)
async def test_its_own_urls_say_what_is_wrong(
    optimove: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await optimove.request(method, path)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


async def test_a_wrong_customer_changes_nothing(optimove: httpx2.AsyncClient) -> None:
    rows = [{"customer_id": "C-1"}, {"customer_id": 2}]
    answer = await optimove.post("/_sim/customers", json={"tenant": 7001, "customers": rows})
    assert (answer.status_code, "customer_id is 2" in answer.json()["error"]) == (400, True)
    assert (await optimove.get("/_sim/state")).json()["tenants"][0]["customers"] == 5000


async def test_the_summary_counts(optimove: httpx2.AsyncClient) -> None:
    await optimove.get("/current/nothing")
    summary = (await optimove.get("/_sim/state?summary=1")).json()
    assert (summary["calls"], summary["campaigns"], summary["tenants"]) == (1, 0, 1)


async def test_the_page_shows_and_escapes_what_was_told(optimove: httpx2.AsyncClient) -> None:
    body = [{"TemplateID": 17, "TemplateName": "<script>alert(1)</script>"}]
    await optimove.post("/current/integrations/AddChannelTemplates?ChannelID=504", json=body)
    listener = {"EventTypeID": 13, "ListenerURL": 'http://127.0.0.1:9/"><b>'}
    await optimove.post("/current/general/RegisterEventListener", json=listener)
    await optimove.post("/_sim/campaigns", json=CAMPAIGN | {"id": 90211})
    await optimove.post("/_sim/campaigns/90211/fire")
    metric = {"ChannelID": 504, "CampaignID": 90211, "TemplateID": 17, "MetricID": 9, "MetricValue": 1234}
    await optimove.post("/current/integrations/UpdateCampaignMetrics", json=[metric])
    await optimove.get("/nothing?<i>=<u>")
    answer = await optimove.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    for shown in ("Mail scheduled", "&lt;script&gt;", "90211", "fired", "17 bounced: 1,234", "RegisterEventListener"):
        assert shown in page
    for hidden in ("<script", "<b>", "<i>", "<u>", "demo-key"):
        assert hidden not in page
    assert "http-equiv" in page
    assert "src=" not in page


async def test_the_page_shows_what_was_said_of_apps_promotions_attributes_and_preferences(
    optimove: httpx2.AsyncClient,
) -> None:
    change = {"CustomerID": "C-000001", "Attributes": [{"RealFieldName": "EMAIL", "Value": "<i>new"}]}
    preference = {"ChannelID": 504, "CustomerIDs": ["C-1"] * 2, "CommunicationMode": 77}
    told: list[tuple[str, Any]] = [
        ("integrations/AddChannelApps?ChannelID=504", [{"AppID": "ios-main", "AppName": "<b>Acme"}]),
        ("integrations/AddChannelTemplates?ChannelID=504", [{"TemplateID": 1, "TemplateName": "x", "AppID": "ipad"}]),
        ("integrations/AddPromotions", [{"PromoCode": "LOAN5", "PromotionName": "Loan <u>"}]),
        ("Customers/AddCustomerAttribute", {"Name": "SmsOptIn", "Type": "INT"}),
        (
            "Customers/UpdateCustomerAttributes",
            {"CustomerNewAttributesValuesList": [change]},
        ),
        ("integrations/SetCustomerChannelPreference", preference),
    ]
    for path, body in told:
        assert (await optimove.post(f"/{path}", json=body)).status_code == 200
    page = (await optimove.get("/")).text
    for shown in (
        "ios-main",
        "&lt;b&gt;Acme",
        "ipad",
        "LOAN5",
        "SmsOptIn",
        "EMAIL = &lt;i&gt;new",
        "<td>77</td><td>1</td>",
    ):
        assert shown in page
    for hidden in ("<b>", "<i>", "<u>"):
        assert hidden not in page


async def test_a_known_tenant_gets_a_new_key_and_keeps_what_it_was_told(optimove: httpx2.AsyncClient) -> None:
    body = [{"TemplateID": 17, "TemplateName": "Loan"}]
    path = "/current/integrations/AddChannelTemplates?ChannelID=504"
    await optimove.post(path, json=body)
    tenant = {"id": 7001, "key": "new-key", "channels": {"504": "Mail"}, "customers": 2}
    assert (await optimove.post("/_sim/tenants", json=tenant)).status_code == 200
    assert (await optimove.post(path, json=body)).status_code == 401
    path = "/current/integrations/GetChannelTemplates?ChannelID=504"
    assert (await optimove.get(path, headers={"X-API-KEY": "new-key"})).json() == body
    assert (await optimove.get("/_sim/state")).json()["tenants"][0]["customers"] == 2
