"""What providers are answered, and what is kept of what they tell."""

import asyncio
import json
import os
import random
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import httpx2
import psutil
import psycopg
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict
from standardwebhooks import Webhook
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay.signatures import read_key, sign

OLD, NEW = (f"whsec_{b64encode(secrets.token_bytes(32)).decode()}" for _ in range(2))
TEXTS = {
    "kind": "sms",
    "scheduled_id": 505,
    "address": "attribute:MOBILE",
    "provider": "webhook",
    "callback_secret": ["callback-secret-1", "callback-secret-2"],
    "webhook": {"url": "https://gateway.example.com/send", "secret": [NEW, OLD]},
}
MAILS = {"kind": "email", "scheduled_id": 504, "provider": "null", "callback_secret": "callback-secret-3"}
SILENT = {"kind": "email", "scheduled_id": 506, "provider": "null"}
SIGNED, UNSIGNED = "/callbacks/acme/texts/callback-secret-1", "/callbacks/acme/mails/callback-secret-3"
GOOD = b'{"event_id":"e-1","id":"s_nobody","event":"delivered","at":"2031-04-02T10:00:04Z","reason":null}'


@pytest_asyncio.fixture
async def house(make_settings: MakeSettings) -> AsyncIterator[House]:
    channels = {"texts": TEXTS, "mails": MAILS, "silent": SILENT}
    async with open_house(make_settings, workers=0, tenant={"channels": channels}) as opened:
        yield opened


def signed(body: bytes, *, secret: str = NEW, webhook_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """Headers by a library that is not ours, where it can."""
    at = at or datetime.now(UTC)
    try:
        signature = Webhook(secret).sign(webhook_id, at, body.decode())
    except UnicodeDecodeError:  # only text can be signed there
        signature = sign([read_key(secret)], webhook_id, int(at.timestamp()), body)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


async def post(house: House, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        return await client.post(path, content=body, headers=headers)


async def kept(house: House) -> int:
    async with house.ctx.store.transaction() as everyone:
        return len(await everyone.take_callbacks(10_000))


BODIES: list[tuple[bytes, int, int]] = [
    (GOOD, 200, 1),
    (b'{"event":"delivered"}', 200, 1),
    (b'{"event":"a word of theirs","id":17,"event_id":4,"at":1700000000}', 200, 1),
    (b'{"event":"opened","id":null,"at":"soon","permanent":"yes","more":{"deep":[1,2,{"er":3}]}}', 200, 1),
    (b'{"events":[%b,%b]}' % (GOOD, GOOD.replace(b"e-1", b"e-2")), 200, 2),
    (b'{"events":[%b,17,null,{"id":"x"},{"event":" "}]}' % GOOD, 200, 1),
    (b'{"events":[]}', 200, 0),
    (b'{"event":"sent","event":"opened"}', 200, 1),
    (b'\xef\xbb\xbf{"event":"delivered"}', 200, 1),
    (b'\xef\xbb\xbf{"events":[' + b",".join([GOOD] * 40) + b"]}", 200, 40),
    (b"", 400, 0),
    (b"  ", 400, 0),
    (b"{", 400, 0),
    (b"[]", 400, 0),
    (b"null", 400, 0),
    (b'"delivered"', 400, 0),
    (b"{}", 400, 0),
    (b'{"event":null}', 400, 0),
    (b'{"event":""}', 400, 0),
    (b'{"event":5}', 400, 0),
    (b'{"events":{"event":"sent"}}', 400, 0),
    (b'{"event":"sent","x":NaN}', 400, 0),
    (b'{"event":"sent","x":"\xff"}', 400, 0),
    (b'{"event":"sent","x":' + b"[" * 40 + b"]" * 40 + b"}", 400, 0),
    (b'{"event":"sent","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", 400, 0),
    (GOOD + b" " * 1024 * 1024, 413, 0),
]
"""What is posted, how it is answered, and how many events of it are kept."""


async def test_a_callback_is_answered_as_promised(house: House) -> None:
    for number, (body, status, events) in enumerate(BODIES, start=1):
        answer = await post(house, UNSIGNED, body)
        assert answer.status_code == status, (body[:100], answer.text)
        if status == 200:
            assert answer.json() == {"kept": events}, body[:100]
        assert await kept(house) == sum(status == 200 for _, status, _ in BODIES[:number]), body[:100]


WAYS = [
    ("POST", "/callbacks/acme/texts/wrong-secret", 404),
    ("POST", "/callbacks/acme/mails/callback-secret-1", 404),
    ("POST", "/callbacks/acme/silent/callback-secret-1", 404),
    ("POST", "/callbacks/acme/silent/", 404),
    ("POST", "/callbacks/acme/nothing/callback-secret-1", 404),
    ("POST", "/callbacks/nobody/texts/callback-secret-1", 404),
    ("POST", "/callbacks/acme/texts", 404),
    ("POST", f"{SIGNED}/more", 404),
    ("GET", "/callbacks/acme/texts/wrong-secret", 404),
    ("GET", SIGNED, 405),
    ("DELETE", UNSIGNED, 405),
    ("POST", SIGNED, 401),
    ("POST", UNSIGNED, 200),
    ("POST", "/callbacks/acme/texts/callback-secret-2", 401),
]


async def test_who_may_call_back_is_known_by_the_url_and_the_signature(house: House) -> None:
    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        for method, path, status in WAYS:
            answer = await client.request(method, path, content=GOOD if method == "POST" else None)
            assert answer.status_code == status, (method, path)


async def test_what_is_wrong_is_told_in_the_promised_order(house: House) -> None:
    large = b"x" * (1024 * 1024 + 1)
    assert (await post(house, "/callbacks/acme/texts/wrong-secret", large)).status_code in (404, 413)
    assert (await post(house, SIGNED, large, signed(b"x"))).status_code == 413
    assert (await post(house, SIGNED, b"{")).status_code == 401
    assert (await post(house, SIGNED, b"{", signed(b"{"))).status_code == 400
    assert (await post(house, SIGNED, b"{}", signed(b"{}"))).status_code == 400


async def test_either_secret_will_do_while_they_rotate_and_no_other(house: House) -> None:
    stranger = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    statuses = [
        (await post(house, SIGNED, GOOD, signed(GOOD, secret=secret, webhook_id=f"m{n}"))).status_code
        for n, secret in enumerate((OLD, NEW, stranger))
    ]
    assert statuses == [200, 200, 401]
    now = datetime.now(UTC)  # one for both: a signature is of its second
    both = signed(GOOD, secret=stranger, at=now)
    both["webhook-signature"] += " " + signed(GOOD, at=now)["webhook-signature"]
    assert (await post(house, SIGNED, GOOD, both)).status_code == 200


async def test_an_old_time_stamp_and_one_of_tomorrow_are_refused(house: House) -> None:
    now = datetime.now(UTC)
    for away, status in ((-290, 200), (290, 200), (-310, 401), (310, 401)):
        headers = signed(GOOD, at=now + timedelta(seconds=away), webhook_id=f"m{away}")
        assert (await post(house, SIGNED, GOOD, headers)).status_code == status, away


async def test_the_same_id_again_is_the_same_callback_for_seven_days(house: House) -> None:
    other = GOOD.replace(b"delivered", b"opened")
    for body in (GOOD, GOOD, other):
        assert (await post(house, SIGNED, body, signed(body))).json() == {"kept": 1}
    assert await kept(house) == 1
    assert (await post(house, SIGNED, GOOD, signed(GOOD, webhook_id="msg_2"))).status_code == 200
    assert await kept(house) == 2
    for days, again in ((6.9, 2), (7.1, 2)):
        async with house.ctx.store.transaction() as everyone:
            await everyone.settle_callbacks(await everyone.take_callbacks(10), "done")
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            received = datetime.now(UTC) - timedelta(days=days)
            await ledger.connection.execute("update callback set received_at = %s", (received,))
        await post(house, SIGNED, other, signed(other))
        assert await kept(house) == (0 if days < 7 else 1), again


async def test_without_a_signature_the_same_bytes_are_the_same_callback(house: House) -> None:
    for body in (GOOD, GOOD, GOOD + b" "):
        await post(house, UNSIGNED, body)
    assert await kept(house) == 2


async def test_a_store_that_is_away_is_a_503_and_the_sender_comes_again(
    house: House, server: str, database: str
) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        answer = await post(house, SIGNED, GOOD, signed(GOOD))
        connection.execute(f"alter database {name} with allow_connections true")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0

    async def kept_again() -> bool:
        return (await post(house, SIGNED, GOOD, signed(GOOD))).status_code == 200

    await house.until(kept_again)


HUNDREDS = int(os.environ.get("OPTIRELAY_MALFORMED", "4000")) // 800 * 8


def mutations(dice: random.Random) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Genuine callbacks with something wrong, for ever."""
    while True:
        event: dict[str, Any] = {"event_id": secrets.token_hex(4), "id": "s_x", "event": "opened"}
        body = bytearray(json.dumps(event).encode())
        headers = signed(bytes(body), webhook_id=secrets.token_hex(8))
        match dice.randrange(6):
            case 0:  # the body is not what was signed
                body[dice.randrange(len(body))] ^= 1 << dice.randrange(7)
            case 1:  # some octets are missing, and what is left is signed
                body = body[: dice.randrange(len(body))]
                headers = signed(bytes(body), webhook_id=secrets.token_hex(8))
            case 2:
                name = dice.choice(list(headers))
                headers[name] = "".join(chr(dice.randrange(33, 127)) for _ in range(dice.randrange(80)))
            case 3:
                del headers[dice.choice(list(headers))]
            case 4:  # no JSON, and signed
                body = bytearray(dice.choice((b"[1]", b"{", b"\xff\xfe", b'{"event":{}}', b"7", b'{"x":NaN}')))
                headers = signed(bytes(body), webhook_id=secrets.token_hex(8))
            case 5:
                stamp = dice.choice(("-1", "0", "9" * 30, "1e9", "", "1 2", "\u0663".encode().hex()))
                headers["webhook-timestamp"] = stamp
        yield bytes(body), headers


async def test_thousands_of_malformed_callbacks_harm_nobody(house: House) -> None:
    """With a good one after each 100: no 5xx, nothing kept of them, no memory that grows."""
    broken, statuses = mutations(random.Random(7)), []
    good = [json.dumps({"event": "opened", "id": "s_x", "event_id": f"good-{n}"}).encode() for n in range(HUNDREDS)]

    async def some(client: aiohttp.ClientSession, number: int) -> None:
        for _ in range(100):
            body, headers = next(broken)
            async with client.post(SIGNED, data=body, headers=headers) as answer:
                statuses.append(answer.status)
        body = good[number]
        async with client.post(SIGNED, data=body, headers=signed(body, webhook_id=f"good-{number}")) as answer:
            assert await answer.json() == {"kept": 1}

    async with aiohttp.ClientSession(base_url=house.web_url) as client:
        for first in range(0, HUNDREDS, 8):
            await asyncio.gather(*(some(client, number) for number in range(first, first + 8)))
            if first == 8:
                before = psutil.Process().memory_info().rss
    assert set(statuses) <= {400, 401}
    assert len(statuses) == 100 * HUNDREDS
    assert await kept(house) == HUNDREDS
    assert psutil.Process().memory_info().rss - before < 30_000_000
