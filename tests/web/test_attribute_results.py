"""What Optimove is answered that posts what came of an attribute call, and what is kept of it."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay.store import ATTRIBUTES_CHANNEL

NEW, OLD = "a-new-listener-secret-of-some-length", "an-old-listener-secret-of-some-length"
RESULTS = f"/optimove/acme/{NEW}/attributes"
GOOD = b'{"isSuccess":true,"requestId":"5b1d6c52-9f3c-4a3e-8d6a-7f0f8f9f0a11"}'
LARGEST = 1024 * 1024


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    async with open_house(make_settings, workers=0, tenant={"listener_secret": [NEW, OLD]}) as opened:
        yield opened


async def kept(house: House) -> list[tuple[int | None, bytes]]:
    """The call and the body of each, as they came."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select call, body from attribute_result order by id")
        return [(call, bytes(body)) for call, body in await cursor.fetchall()]


async def post(house: House, body: bytes, path: str = RESULTS, method: str = "POST") -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        return await client.request(method, path, content=body)


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


async def test_a_result_is_kept_as_it_came_or_refused(house: House) -> None:
    good = [
        GOOD,
        b'{"attributeName":"SmsOptIn","isSuccess":false,"errorId":"2","errorMsg":"Attribute was not added"}',
        b"{}",
        b'\xef\xbb\xbf{"Whatever":[1,{"a":null}]}',
        b'{"x":"\\u0000","x":2}',
        padded(LARGEST),
    ]
    bad = {
        b"": 400,
        b"  ": 400,
        b"{": 400,
        b"[]": 400,
        b'"x"': 400,
        b"null": 400,
        b'{"isSuccess":true,"x":NaN}': 400,
        b'{"x":"\xff"}': 400,
        b'{"x":' + b"[" * 32 + b"]" * 32 + b"}": 400,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}": 400,
        padded(LARGEST + 1): 413,
        b"{" * (LARGEST + 1): 413,
    }
    for body in good:
        answer = await post(house, body)
        assert (answer.status_code, answer.content) == (200, b"")
    with capture_logs() as logged:
        for body, status in bad.items():
            assert (await post(house, body)).status_code == status, body[:40]
    assert "isSuccess" not in str(logged)
    assert await kept(house) == [(None, body) for body in good]


async def test_its_address_says_which_call_it_is_about_if_it_says_a_number(house: House) -> None:
    queries = {
        "": None,
        "?": None,
        "?call=123": 123,
        "?call=0": 0,
        "?x=1&call=7&y=2": 7,
        "?call=6&call=8": 8,
        f"?call={2**63 - 1}": 2**63 - 1,
        f"?call={2**63}": None,
        f"?call={'9' * 5000}": None,
        "?call=-1": None,
        "?call=1.5": None,
        "?call=": None,
        "?call=%FF": None,
        "?call=%00": None,
        "?call=%D9%A3": None,
        "?call=twelve": None,
        "?Call=9": None,
    }
    for query in queries:
        assert (await post(house, GOOD, RESULTS + query)).status_code == 200, query
    assert [call for call, _ in await kept(house)] == list(queries.values())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/optimove/acme/a-wrong-listener-secret-of-some-length/attributes", 404),
        ("POST", f"/optimove/nobody/{NEW}/attributes", 404),
        ("POST", f"{RESULTS}/", 404),
        ("POST", f"/optimove/acme/{NEW}/Attributes", 404),
        ("GET", "/optimove/acme/a-wrong-listener-secret-of-some-length/attributes", 404),
        ("GET", RESULTS, 405),
        ("PUT", RESULTS, 405),
    ],
)
async def test_addresses_and_methods_that_are_not_ours_are_refused(
    method: str, path: str, status: int, house: House
) -> None:
    answer = await post(house, padded(LARGEST + 1), path, method)
    assert answer.status_code == status
    assert (answer.headers.get("Allow") == "POST") == (status == 405)
    assert await kept(house) == []


async def test_while_a_secret_is_rotated_results_come_with_either(house: House) -> None:
    for secret in (OLD, NEW):
        assert (await post(house, GOOD, f"/optimove/acme/{secret}/attributes?call=5")).status_code == 200
    assert await kept(house) == [(5, GOOD)] * 2


async def test_many_at_once_are_all_kept_and_whoever_reads_them_is_woken(house: House) -> None:
    woken = asyncio.ensure_future(anext(house.ctx.store.listen()))
    await asyncio.sleep(0)
    bodies = [json.dumps({"isSuccess": True, "requestId": str(number)}).encode() for number in range(200)]

    async def told() -> bool:  # it takes a moment until somebody listens
        await post(house, b"{}")
        return woken.done()

    await house.until(told)
    assert await woken == ATTRIBUTES_CHANNEL
    before = len(await kept(house))
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        paths = [f"{RESULTS}?call={number}" if number % 2 else RESULTS for number in range(200)]
        answers = await asyncio.gather(
            *(client.post(path, content=body) for path, body in zip(paths, bodies, strict=True))
        )
    assert {answer.status_code for answer in answers} == {200}
    expected = [(number if number % 2 else None, body) for number, body in enumerate(bodies)]
    assert sorted((await kept(house))[before:], key=lambda row: row[1]) == sorted(expected, key=lambda row: row[1])


async def test_a_store_that_is_away_is_a_503_and_nothing_is_acknowledged(
    house: House, server: str, database: str
) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        with capture_logs() as logged:
            answer = await post(house, GOOD)
        connection.execute(f"alter database {name} with allow_connections true")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert [entry["event"] for entry in logged] == ["attribute_result_not_kept"]
    assert "isSuccess" not in str(logged)

    async def kept_again() -> bool:
        return (await post(house, GOOD)).status_code == 200

    await house.until(kept_again)
