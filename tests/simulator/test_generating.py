"""So many notifications a second: how many, to whom, which of them twice, and what became of them."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx2
import pytest
import uvloop
from tests.simulator.listener import Listener, listening
from tests.simulator.test_triggers import TRIGGER, listen, post, trigger, wrong

from optirelay.simulator import Simulator, firing, generating, posting
from optirelay.simulator.customers import made_id

FAST: dict[str, Any] = TRIGGER | {"per_second": 100_000}


@pytest.fixture(autouse=True)
def _in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating, "DUPLICATES_OVER_SECONDS", 0.1)
    monkeypatch.setattr(firing, "SHUFFLED_OVER_SECONDS", 0.1)
    monkeypatch.setattr(firing, "PAUSE_SECONDS", 0.02)


async def finished(optimove: httpx2.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (shown := await trigger(optimove))["running"]:
            await asyncio.sleep(0.02)
    return shown


async def test_a_share_is_sent_again_byte_for_byte_and_only_the_newest_are_kept(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)
    answer = await post(
        optimove, "triggers/generate", **FAST, count=1200, customers=500, duplicates=0.25, connections=3
    )
    assert answer == {"id": 58831, "count": 1200}
    shown = await finished(optimove)
    counts = {"fired": 1200, "sent": 1500, "duplicates": 300, "answered": 1500, "failed": 0, "retried": 0}
    assert {name: shown[name] for name in counts} == counts
    assert Counter(Counter(listener.contents).values()) == {1: 900, 2: 300}
    distinct = [json.loads(content) for content in set(listener.contents)]
    assert len({(body["customerID"], body["timeStamp"]) for body in distinct}) == 1200
    assert set(Counter(body["customerID"] for body in distinct).values()) == {2, 3}
    assert len(listener.connections) == 3
    state = (await optimove.get("/_sim/state")).json()
    assert (len(state["notifications"]), state["notifications_not_kept"]) == (1000, 500)
    assert (await optimove.get("/_sim/state?summary=1")).json()["notifications"] == 1500


async def test_to_whom_and_what_depends_on_the_seed_and_the_run_alone(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)

    async def run(campaign: int) -> list[tuple[str, int]]:
        listener.heard.clear()
        await post(optimove, "triggers/generate", **FAST | {"campaign": campaign, "templates": [17, 18]}, count=20)
        await listener.until(20)
        return sorted((body["customerID"], body["templateID"]) for _, body in listener.heard)

    first, second, other = await run(1), await run(1), await run(2)
    assert first != second
    assert first != other
    order = generating.spread(range(5000), "7:(7001, '1'):1")
    assert [customer for customer, _ in first] == sorted(made_id(next(order) + 1) for _ in range(20))


async def test_shuffled_notifications_overtake_each_other(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await post(optimove, "quirks", notifications="shuffled")
    await listen(optimove, listener.url)
    await post(optimove, "triggers/generate", **FAST, count=30, customers=["C-000001"], connections=1)
    stamps = [body["timeStamp"] for body in await listener.until(30)]
    assert stamps != sorted(stamps)


async def test_they_go_out_by_the_clock(optimove: httpx2.AsyncClient, listener: Listener) -> None:
    await listen(optimove, listener.url)
    began = time.monotonic()
    assert (await post(optimove, "triggers/generate", **TRIGGER, per_second=20, seconds=0.5))["count"] == 10
    await listener.until(10)
    assert time.monotonic() - began >= 9 / 20


async def test_what_is_not_answered_200_is_tried_again_or_given_up(
    optimove: httpx2.AsyncClient, listener: Listener
) -> None:
    await listen(optimove, listener.url)
    listener.statuses = [503, 503]
    await post(optimove, "triggers/generate", **FAST, count=3)
    shown = await finished(optimove)
    assert (shown["sent"], shown["answered"], shown["failed"], shown["retried"]) == (3, 3, 0, 2)
    await listen(optimove, "http://127.0.0.1:9/nobody")
    await post(optimove, "triggers/generate", count=2, per_second=1000, tries=2)
    shown = await finished(optimove)
    assert (shown["sent"], shown["answered"], shown["failed"], shown["retried"]) == (5, 3, 2, 4)
    last = (await optimove.get("/_sim/notifications")).json()[-1]
    assert (last["tries"], last["status"], "refused" in last["error"].lower()) == (2, None, True)


def test_any_event_loop_will_do() -> None:
    async def run() -> dict[str, Any]:
        async with (
            listening() as listener,
            Simulator() as simulator,
            httpx2.AsyncClient(base_url=simulator.url, headers={"X-API-KEY": "demo-key"}) as optimove,
        ):
            await listen(optimove, listener.url)
            await post(optimove, "triggers/generate", **FAST, count=10)
            return await finished(optimove)

    assert uvloop.run(run())["answered"] == 10


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"SMTP ready\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",  # and nothing more
    ],
)
async def test_any_answer_of_a_listener_is_read_and_the_next_one_too(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = answer.endswith(b"2\r\n\r\n")
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.1 if cut else 30)
    open_connections: set[asyncio.BaseTransport] = set()

    class Says(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport: asyncio.Transport = transport
            open_connections.add(transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer)
            if not answer or b"close" in answer:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            open_connections.remove(self.transport)

    server = await asyncio.get_running_loop().create_server(Says, "127.0.0.1", 0)
    line = posting.Line(posting.Address(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a%20b?c=d"))
    told = []
    for _ in range(2):
        try:
            told.append(await line.post(b"{}"))
        except posting.NoAnswer:
            told.append(0)
    line.close()
    while open_connections:
        await asyncio.sleep(0.01)
    server.close()
    await server.wait_closed()
    status = 204 if b"204" in answer else 200 if b"200" in answer and not cut else 0
    assert told == [status, status]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "count is missing; give either count or seconds"),
        ({"count": 1, "seconds": 1}, "either count or seconds"),
        ({"count": 0}, "count is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"count": 1, "per_second": 0}, "per_second is 0"),
        ({"count": 1, "duplicates": 1.5}, "duplicates is 1.5; give a number from 0 to 1"),
        ({"count": 1, "connections": 5000}, "connections is 5000"),
        ({"count": 1, "tries": 0}, "tries is 0"),
        ({"count": 1, "customers": 0}, "at least one"),
        ({"count": 1, "visitor": True}, "visitor is no key"),
    ],
)
async def test_what_is_wrong_about_a_load_is_named(
    optimove: httpx2.AsyncClient, body: dict[str, Any], named: str
) -> None:
    await listen(optimove, "http://127.0.0.1:9/nobody")
    assert named in await wrong(optimove, "triggers/generate", **TRIGGER | body)
    assert (await optimove.get("/_sim/triggers")).json() == []
