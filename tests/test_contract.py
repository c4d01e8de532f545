"""The client and the simulator, which share no code, agree call by call on what the documents' samples say."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from optirelay.optimove import Call, SendDetailsPage, SyncOptimoveClient
from tests.optimove.calls import CALLS
from tests.simulator.documented import CALLS as SAMPLES
from tests.simulator.documented import NEWER, Program, check, documented, in_our_days, prepare


@pytest.fixture
def optimove() -> Iterator[Program]:
    with documented() as program:
        yield program


def today(call: Call[Any]) -> Call[Any]:
    """The same of today, from the first row on."""
    query = {name: 0 if name == "$skip" else in_our_days(str(value)) for name, value in call.query.items()}
    body = None if call.body is None else msgspec.Raw(in_our_days(msgspec.json.encode(call.body).decode()).encode())
    return replace(call, query=query, body=body)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample['name']} {sample.get('case', '')}".strip())
def test_the_client_reads_what_the_simulator_answers_as_it_reads_the_documents(
    optimove: Program, sample: dict[str, Any]
) -> None:
    prepare(optimove, sample["name"])
    call = today(CALLS[sample["name"] + (f", {sample['case']}" if "case" in sample else "")]())
    with SyncOptimoveClient(
        optimove.url, "demo-key", metrics_url=f"{optimove.url}/api/saveEvent", metrics_token="demo-token"
    ) as client:
        if sample.get("signed"):
            call = replace(call, body=msgspec.Raw(of_this_moment(call)))
        read = client.send(call)
    documented = [answer for answer in sample.get("answer", []) if answer.get("reads", "[]") not in ("[]", "null")]
    if documented:
        ours = json.loads(msgspec.json.encode(list(read) if isinstance(read, SendDetailsPage) else read))
        check(ours, json.loads(documented[0]["reads"]), NEWER.get(sample["name"], set()))
    (told,) = [entry for entry in calls_of(optimove) if entry["call"] == sample["name"]][-1:]
    assert (told["status"], told["method"]) == (200, sample["method"])
    if "body" in sample and not sample.get("signed"):
        assert told["body"] == json.loads(in_our_days(sample["body"]))


def of_this_moment(call: Call[Any]) -> bytes:
    """Optimove takes no event that is older than seven days."""
    return bytes(call.body).replace(b"T10:00:07Z", b"T00:00:00Z")


def calls_of(optimove: Program) -> list[dict[str, Any]]:
    _, text = optimove.send("GET", "/_sim/calls")
    return list(json.loads(text))


def test_every_call_of_the_client_is_one_that_the_simulator_answers() -> None:
    assert {call().name for call in CALLS.values()} == {sample["name"] for sample in SAMPLES}
