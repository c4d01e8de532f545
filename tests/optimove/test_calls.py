"""Every call of the client against the one table of samples: what it sends, and what it makes of each answer."""

import inspect
import json
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from tests.optimove.calls import CALLS, SIGNED

from optirelay import optimove
from optirelay.optimove import Broken, Call, SyncOptimoveClient, Unreadable

TABLE = tomllib.loads((Path(__file__).parent.parent / "samples" / "optimove" / "calls.toml").read_text())
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
