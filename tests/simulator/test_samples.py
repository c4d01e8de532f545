"""The documents' samples, call by call, over plain HTTP from a program that shares no code with our client."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.simulator.documented import CALLS, NEWER, Program, check, documented, in_our_days, prepare


@pytest.fixture
def optimove() -> Iterator[Program]:
    with documented() as program:
        yield program


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call['name']} {call.get('case', '')}".strip())
def test_each_sample_is_answered_as_it_is_documented(optimove: Program, call: dict[str, Any]) -> None:
    prepare(optimove, call["name"])
    query = call.get("query", {}) | ({"$skip": 0} if "$skip" in call.get("query", {}) else {})
    path = in_our_days(call["path"] + (f"?{urlencode(query)}" if query else ""))
    headers: dict[str, str] = {}
    body = in_our_days(call["body"]) if "body" in call else None
    if call.get("signed"):
        body, headers = signed(json.loads(body or ""))
    for version in ("/current", ""):
        status, text = optimove.send(call["method"], version + path, body, **headers)
        assert status == 200
        if call.get("nothing"):
            assert text == ""
    answers = [
        answer for answer in call.get("answer", []) if "error" not in answer and answer["body"] not in ("", "[]")
    ]
    if answers:
        check(json.loads(text), json.loads(answers[0]["body"]), NEWER.get(call["name"], set()))


def signed(events: list[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """Events of this moment, with the signature that stands for a key."""
    body = json.dumps([event | {"timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"} for event in events])
    signature = hmac.new(b"demo-token", body.encode(), hashlib.sha256).hexdigest()
    return body, {"X-Optimove-Signature-Version": "1", "x-optimove-signature-content": signature}


def test_the_table_has_every_call_that_the_simulator_answers(optimove: Program) -> None:
    from optirelay.simulator.calls import CALLS as ANSWERED

    assert {call["name"] for call in CALLS} == {call.name for call in ANSWERED}
