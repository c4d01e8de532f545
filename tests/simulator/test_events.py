"""saveEvent: signed by the tenant, all or none, and nothing too old."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

TOKEN = "demo-token"


def event(**changes: Any) -> dict[str, Any]:
    made = {"event": "opened", "category": "metric", "timestamp": at(timedelta(0)), "customer": "C-1", "context": {}}
    return {key: value for key, value in (made | changes).items() if value is not None}


def at(age: timedelta) -> str:
    return (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")


async def save(
    optimove: httpx2.AsyncClient, body: Any, *, token: str = TOKEN, version: str = "1", path: str = "/api/saveEvent"
) -> httpx2.Response:
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    signature = hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Optimove-Signature-Version": version,
        "x-optimove-signature-content": signature,
    }
    async with httpx2.AsyncClient(base_url=optimove.base_url) as client:  # without an API key
        return await client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("path", ["/api/saveEvent", "/tenants/7001/api/saveevent"])
async def test_events_that_are_signed_are_taken_one_or_many(optimove: httpx2.AsyncClient, path: str) -> None:
    for body in (event(customer="Zoë"), [event(), event(customer=None, visitor="v-1")]):
        answer = await save(optimove, body, path=path)
        assert (answer.status_code, answer.json()["status"]) == (200, "success")
    kept = (await optimove.get("/_sim/events")).json()
    assert [entry["tenant"] for entry in kept] == [7001, 7001]
    assert kept[0]["body"]["customer"] == "Zoë"
    assert len(kept[1]["body"]) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": ""},
        {"category": "other"},
        {"customer": None},
        {"context": None},
        {"timestamp": "soon"},
        {"timestamp": None},
        {"timestamp": at(timedelta(days=7, minutes=1))},
    ],
)
async def test_of_events_with_a_bad_one_none_is_taken(optimove: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await save(optimove, [event(), event(**wrong)])
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith("Failed to validate the event with the following error - ")
    assert (await optimove.get("/_sim/events")).json() == []


@pytest.mark.parametrize("how", [{"token": "another"}, {"version": "2"}])
async def test_a_signature_that_is_nobodys_is_refused(optimove: httpx2.AsyncClient, how: dict[str, str]) -> None:
    answer = await save(optimove, event(), **how)
    assert (answer.status_code, answer.json()["status"]) == (401, "error")
    assert (await optimove.get("/_sim/calls")).json()[-1]["call"] == "saveEvent"


async def test_the_token_tells_the_tenant_so_no_two_have_the_same(optimove: httpx2.AsyncClient) -> None:
    tenant = {"id": 7002, "key": "k", "channels": {"504": "Mail"}, "metrics_token": TOKEN}
    answer = await optimove.post("/_sim/tenants", json=tenant)
    assert (answer.status_code, "metrics_token is that of tenant 7001" in answer.text) == (400, True)
    assert (await optimove.post("/_sim/tenants", json=tenant | {"metrics_token": "own"})).status_code == 200
    await save(optimove, event(), token="own")
    assert (await optimove.get("/_sim/events")).json()[-1]["tenant"] == 7002


async def test_faults_meet_events_too(optimove: httpx2.AsyncClient) -> None:
    await optimove.post("/_sim/faults", json={"call": "saveEvent", "fault": "string_error"})
    assert isinstance((await save(optimove, event())).json(), str)
    assert (await optimove.get("/_sim/events")).json() == []
