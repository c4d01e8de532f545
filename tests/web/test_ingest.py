"""What Optimove is answered, and what is kept."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import House, open_house

GOOD = b'{"EventTypeID":13,"TimeStamp":"2031-04-02 06:12:02","CampaignID":90211,"ChannelID":504}'
LISTENER = f"/optimove/acme/{LISTENER_SECRET}"


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0) as opened:
        yield opened


async def kept(house: House) -> int:
    async with house.ctx.store.transaction() as everyone:
        return len(await everyone.take_notifications(10_000, 2**40))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (GOOD, 200),
        (b'{"eventtypeid":"13"}', 200),
        (b'{"EventTypeID":13.0,"CampaignID":"x"}', 200),
        (b'{"EventTypeID":99,"Whatever":[1,{"a":null}]}', 200),
        (b'\xef\xbb\xbf{"EventTypeID":4}', 200),
        (b"", 400),
        (b"   ", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"13"', 400),
        (b"null", 400),
        (b"{}", 400),
        (b'{"EventTypeID":null}', 400),
        (b'{"EventTypeID":"soon"}', 400),
        (b'{"EventTypeID":true}', 400),
        (b'{"EventTypeID":13,"x":NaN}', 400),
        (b'{"EventTypeID":13,"x":"\xff"}', 400),
        (b'{"EventTypeID":13,"x":' + b"[" * 40 + b"]" * 40 + b"}", 400),
        (b'{"EventTypeID":13,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (GOOD + b"x" * 2 * 1024 * 1024, 413),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else str(value),
)
async def test_a_notification_is_answered_as_promised(body: bytes, status: int, house: House) -> None:
    assert await house.notify(body) == status
    assert await kept(house) == (1 if status == 200 else 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/optimove/acme/wrong-secret-wrong-secret", 404),
        ("POST", f"/optimove/nobody/{LISTENER_SECRET}", 404),
        ("POST", f"{LISTENER}/more", 404),
        ("POST", "/optimove/acme", 404),
        ("GET", "/", 404),
        ("GET", LISTENER, 405),
        ("PUT", LISTENER, 405),
        ("GET", "/optimove/acme/wrong-secret-wrong-secret", 404),
        ("POST", "/healthz", 405),
        ("GET", "/healthz", 200),
    ],
)
async def test_paths_and_methods_that_are_not_ours_are_refused(
    method: str, path: str, status: int, house: House
) -> None:
    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        answer = await client.request(method, path, content=GOOD if method != "GET" else None)
    assert answer.status_code == status
    assert await kept(house) == 0


async def test_the_same_bytes_twice_are_one_notification(house: House) -> None:
    assert [await house.notify(GOOD) for _ in range(3)] == [200, 200, 200]
    assert await kept(house) == 1


async def test_many_at_once_are_all_kept(house: House) -> None:
    bodies = [b'{"EventTypeID":13,"CampaignID":%d,"ChannelID":504}' % n for n in range(300)]
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        answers = await asyncio.gather(*(client.post(LISTENER, content=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert await kept(house) == 300


async def test_a_body_without_a_length_is_measured_all_the_same(house: House) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        answer = await client.post(LISTENER, content=chunks())
    assert answer.status_code == 413


async def test_a_store_that_is_away_is_a_503_and_nothing_is_acknowledged(
    house: House, server: str, database: str
) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
            answer = await client.post(LISTENER, content=GOOD)
            ready = await client.get("/readyz")
        connection.execute(f"alter database {name} with allow_connections true")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert ready.status_code == 503
    assert "database" in ready.json()["why"]

    async def kept_again() -> bool:
        return await house.notify(GOOD) == 200

    await house.until(kept_again)


async def test_readiness_tells_whether_a_worker_reported(house: House) -> None:
    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        before = await client.get("/readyz")
        await house.ctx.store.seen("a-worker", "here", 1)
        after = await client.get("/readyz")
    assert (before.status_code, after.status_code) == (503, 200)
    assert "worker" in before.json()["why"]


async def test_an_unknown_channel_id_is_kept_and_shown(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        assert await house.notify(GOOD.replace(b"504", b"777")) == 200
        assert await house.notify(b'{"EventTypeID":13,"CampaignID":"abc","ChannelID":504}') == 200

        async def told() -> bool:
            return {"unknown_channel_id", "unreadable_notification"} <= await house.problems()

        await house.until(told)
