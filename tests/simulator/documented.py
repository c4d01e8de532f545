"""A simulator in which every sample of the documents has an answer, for programs that know nothing but HTTP."""

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from optirelay.simulator import Simulator

TABLE = Path(__file__).parent.parent / "samples" / "optimove" / "calls.toml"
CALLS: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["call"]
CHANNELS = {"15": "Mail", "452": "Text scheduled", "506": "Push"}
NAMES = ("FIRST_NAME", "PHONE", "COUNTRY", "TIER", "VISITS", "INSTALLATION_DATE", "SmsOptIn")
PERSON = dict(zip(NAMES, ("Ana", "15550100123", "DE", None, "2", "", "false"), strict=True))
PEOPLE = [{"customer_id": name, **PERSON} for name in ("C-004711", "0192837821", "C-1", "a/b? é")]
SCENARIO = {
    "tenants": [{"id": 7001, "key": "demo-key", "metrics_token": "demo-token", "channels": CHANNELS}],
    "quirks": {"calls": "1000/1s"},
}
CAMPAIGN = {"id": 90211, "channel": 452, "templates": [17, 18], "promo_codes": ["LOAN5", "LOAN7"]}
# What has to have been told before an answer has rows.
BEFORE = (
    ("general/RegisterEventListener", {"EventTypeID": 13, "ChannelID": 452, "ListenerURL": "http://127.0.0.1:9/13"}),
    ("integrations/AddChannelTemplates?ChannelID=452", [{"TemplateID": 17, "TemplateName": "Loan nudge SMS"}]),
    ("integrations/AddChannelTemplates?ChannelID=15", [{"TemplateID": 5, "TemplateName": "Monthly letter"}]),
    ("integrations/AddPromotions", [{"PromoCode": "LOAN5", "PromotionName": "Loan 5%"}]),
)
# Newer fields, which an older sample does not have yet.
NEWER = {
    "GetExecutedCampaignDetails": {"Tags", "Channels", "TestGroupSize", "ControlGroupSize"},
    "GetCustomerOneTimeActionsByCampaign": {"RecipientGroupID"},
}


class Program:
    """Somebody's own few lines; the key goes into a header."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        """The status and the text of the answer; an HTTPError for what is refused."""
        headers |= {"X-API-KEY": "demo-key", "Content-Type": "application/json"}
        request = Request(self.url + path, body.encode() if body else None, headers, method=method)
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()


@contextmanager
def documented() -> Iterator[Program]:
    """The simulator, with what the samples speak of."""
    with Simulator(scenario=SCENARIO) as simulator:
        program = Program(simulator.url)
        for path, entry in (("customers", {"customers": PEOPLE}), ("campaigns", CAMPAIGN)):
            program.send("POST", f"/_sim/{path}", json.dumps(entry))
        for path, told in BEFORE:
            program.send("POST", f"/current/{path}", json.dumps(told))
        yield program


def prepare(optimove: Program, name: str) -> None:
    """The campaign is where the call needs it, and somebody's tier has changed."""
    on_hold = name in ("GetProcessedCampaignCustomers", "UpdateCustomerPromotionStatus")
    optimove.send("POST", "/_sim/campaigns/90211/fire", json.dumps({"events": [5] if on_hold else [13]}))
    if name == "GetCanceledCampaignCustomers":
        optimove.send("POST", "/_sim/campaigns/90211/cancel")
    if name == "GetCustomerAttributeChangers":
        values = [{"RealFieldName": "TIER", "Value": "Gold"}]
        body = {"CustomerNewAttributesValuesList": [{"CustomerID": "C-1", "Attributes": values}]}
        optimove.send("POST", "/Customers/UpdateCustomerAttributes", json.dumps(body))
    if name in ("GetCampaignInteractionCustomers", "GetCustomerChannelInteractions"):
        (sample,) = (call for call in CALLS if call["name"] == "UpdateCampaignInteractions")
        (asked,) = (call for call in CALLS if call["name"] == name)
        body = json.loads(sample["body"]) | {"EventID": asked["query"].get("EventID", 3), "CustomerIDs": ["C-004711"]}
        body["CustomerIDs"] += [asked["query"].get("CustomerID", "C-1")]
        optimove.send("POST", "/current/integrations/UpdateCampaignInteractions", in_our_days(json.dumps(body)))


def in_our_days(text: str) -> str:
    """The samples' day is today."""
    return re.sub(r"2031-04-\d\d", f"{datetime.now(UTC):%Y-%m-%d}", text)


def check(ours: Any, documented: Any, newer: set[str]) -> None:
    """The same keys, and values of the same types; null is of every type."""
    if documented is None or ours is None:
        return
    if isinstance(documented, str) and isinstance(ours, bool):
        return  # older booleans
    assert type(ours) is type(documented), (ours, documented)
    if isinstance(documented, dict):
        assert set(ours) - newer == set(documented) - newer
        for key in set(ours) & set(documented):
            check(ours[key], documented[key], newer)
    elif isinstance(documented, list) and documented and isinstance(documented[0], dict):
        assert ours, "there has to be a row to compare"
        for row in ours:
            check(row, documented[0], newer)
