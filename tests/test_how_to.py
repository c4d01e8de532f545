"""The how-to pages: what they show is run."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from optirelay.model import CampaignId, ChannelKind, ChannelName, Message, Sid
from optirelay.settings import read
from optirelay.stages import campaigns, content, notifications, templates, triggers
from tests.pages import blocks, page, run_python

PAGE, TRIGGERED = page("webhook"), page("triggered")
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
MESSAGE = {"id": "s_1", "to": "+33612345678", "from": "ACME", "text": "Hello Ana"}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All that the page's Python defines."""
    monkeypatch.setenv("ACME_GATEWAY_SECRET", SECRET)
    return run_python(PAGE)


@pytest.fixture
def receiver(shown: dict[str, Any]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), shown["Receiver"]) as server:
        server.timeout = 30
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/send"
        server.shutdown()
        thread.join()


def post(url: str, body: Any, *, secret: str = SECRET) -> httpx2.Response:
    raw, now = json.dumps(body), datetime.now(UTC)
    signature = Webhook(secret).sign("m-1", now, raw)
    headers = {"webhook-id": "m-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return httpx2.post(url, content=raw, headers={**headers, "Connection": "close"})


def test_the_receiver_takes_both_shapes_and_knows_a_repeat(
    receiver: str, shown: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"type": "message.send", "timestamp": "2031-04-02T10:00:00Z", "data": MESSAGE}
    assert [post(receiver, one).json() for _ in range(2)] == [{"provider_id": "s_1"}] * 2
    both = {
        "type": "messages.send",
        "timestamp": one["timestamp"],
        "data": {"messages": [MESSAGE, MESSAGE | {"id": "2"}]},
    }
    results = [{"id": "s_1", "status": "accepted"}, {"id": "2", "status": "accepted"}]
    assert post(receiver, both).json() == {"results": results}
    assert capsys.readouterr().out.count("to +33612345678 by ACME : Hello Ana\n") == 2
    assert shown["KNOWN"] == {"s_1", "2"}
    stranger = post(receiver, one, secret="whsec_" + "A" * 32)
    assert (stranger.status_code, len(shown["KNOWN"])) == (401, 2)
    assert httpx2.post(receiver, content=b"{}", headers={"Connection": "close"}).status_code == 401


def test_what_tells_an_event_signs_it(receiver: str, shown: dict[str, Any]) -> None:
    event = json.loads(blocks("json", PAGE)[2])
    answer = shown["tell"](
        receiver, {**event, "type": "message.send", "data": MESSAGE}
    )  # a receiver checks it as we do
    assert answer == {"provider_id": "s_1"}


def test_the_settings_shown_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_GATEWAY_SECRET", SECRET)
    monkeypatch.setenv("ACME_TEXTS_CALLBACK", "a-callback-secret")
    (toml,) = blocks("toml", PAGE)
    document = tomllib.loads(toml)
    document["tenants"]["acme"] |= {
        "api_url": "https://api5.optimove.net",
        "api_key": "key",
        "listener_secret": "a-listener-secret-0",
    }
    webhook = read(document, path=Path("x.toml")).tenants["acme"].channels["texts"].webhook
    assert webhook
    assert webhook.secrets[0].reveal() == SECRET


def test_the_shapes_shown_are_json() -> None:
    one, several, event = map(json.loads, blocks("json", PAGE))
    assert one["data"].keys() >= MESSAGE.keys()
    assert several["data"]["messages"][0]["id"] == one["data"]["id"] == event["id"]


def test_the_triggered_settings_template_and_notification_shown_make_a_message() -> None:
    whole, trial = blocks("toml", TRIGGERED)
    for_trial, document = tomllib.loads(trial), tomllib.loads(whole)
    assert read(for_trial, path=Path("x.toml")).tenants["acme"].channels["newsletter"].provider == "console"
    document["tenants"]["acme"] = {**for_trial["tenants"]["acme"], **document["tenants"]["acme"]}
    channel = read(document, path=Path("x.toml")).tenants["acme"].channels["newsletter"]
    (notification,) = blocks("json", TRIGGERED)
    told, now = notifications.read(notification.encode()), datetime(2031, 4, 2, 12, 44, 10, tzinfo=UTC)
    step = campaigns.next_step(told, b"", {"newsletter": channel})
    assert step == campaigns.SendOne(CampaignId("58831"), ChannelName("newsletter"))
    met = triggers.read(told, CampaignId("58831"), b"", now, triggers.reading_of(channel, default_country=None))
    (shown,) = (block for block in re.findall(r"^```\n(---\n.*?)^```$", TRIGGERED, re.MULTILINE | re.DOTALL))
    (template,) = templates.read_directory({"loan.liquid": shown.encode()}, {"newsletter": ChannelKind.EMAIL})
    assert (met.recipient.skip, met.recipient.template_id) == (None, template.template_id)
    message = Message(
        *(1, Sid("s_1"), met.recipient.customer_id, met.recipient.address or "", now, met.recipient.personalization),
        fired=met.fired,
    )
    prepared = content.prepare(template.content, default_sender=channel.sender, kind=channel.kind, whole_mail=False)
    mail = prepared.render(
        message,
        campaign_id=met.campaign_id,
        template_id=template.template_id,
        at=now,
        unsubscribe_url="https://x.example/u/1",
    )
    assert "You looked at cars. Your code is LOAN5." in mail.text
