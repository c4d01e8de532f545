"""Both clients over real HTTP, against a server that answers (or does not) as told."""

import asyncio
import gzip
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from optirelay.optimove import (
    Broken,
    Call,
    CampaignInteractions,
    CannotConnect,
    ChannelTemplate,
    CustomerEvent,
    Moved,
    NoAnswer,
    OptimoveClient,
    OptimoveError,
    RateLimited,
    Refused,
    SyncOptimoveClient,
    TooLong,
    Unauthorized,
    add_channel_templates,
    get_channel_templates,
    get_customer_send_details_by_channel,
    register_event_listener,
    save_event,
    update_campaign_interactions,
)

T = TypeVar("T")

SAMPLES = Path(__file__).parent.parent / "samples" / "optimove"
KEY = "k3y-0f-acme"
TEMPLATES = get_channel_templates(452)
INTERACTIONS = update_campaign_interactions(
    CampaignInteractions(
        campaign_id=1, channel_id=2, template_id=3, event_id=3, interaction_on=date(2031, 4, 2), customer_ids=["C-1"]
    )
)

Step = bytes | float  # written; or waited for, in seconds


def answer(status: str, body: bytes | str = b"", *headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    """Gives each request the next script, then closes where a script ends with None."""

    scripts: list[list[Step | None]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    client: type[OptimoveClient] | type[SyncOptimoveClient] = OptimoveClient

    def say(self, *steps: Step | None) -> None:
        self.scripts.append(list(steps))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heard.append(head + await reader.readexactly(_length(head)))
                for step in self.scripts.pop(0):
                    if step is None:
                        return
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@pytest.fixture(params=[OptimoveClient, SyncOptimoveClient])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    it = Server(client=request.param)
    async with await asyncio.start_server(it.serve, "127.0.0.1", 0) as listening:
        it.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield it


@dataclass
class Aside:
    """The sync client in a thread of its own for each call, so that the server goes on meanwhile."""

    client: SyncOptimoveClient

    async def send(self, call: Call[T]) -> T:
        return await asyncio.to_thread(self.client.send, call)


@asynccontextmanager
async def client_of(server: Server, path: str = "", **options: Any) -> AsyncIterator[OptimoveClient | Aside]:
    options = {"timeout": timedelta(seconds=5)} | options
    if server.client is OptimoveClient:
        async with OptimoveClient(server.url + path, KEY, **options) as client:
            yield client
    else:
        with SyncOptimoveClient(server.url + path, KEY, **options) as client:
            yield Aside(client)


async def error_of(server: Server, call: Call[Any] = TEMPLATES, **options: Any) -> OptimoveError:
    async with client_of(server, **options) as client:
        with pytest.raises(OptimoveError) as caught:
            await client.send(call)
    assert caught.value.call == call.name
    assert caught.value.repeatable is call.repeatable
    assert call.name in str(caught.value)
    return caught.value


async def test_a_get_carries_the_key_and_reads_its_answer(server: Server) -> None:
    server.say(answer("200 OK", (SAMPLES / "channel_templates.json").read_bytes()))
    async with client_of(server) as client:
        assert (await client.send(TEMPLATES))[0] == ChannelTemplate(17, "Loan nudge SMS")
    head = server.heard[0].decode().split("\r\n")
    assert head[0] == "GET /current/integrations/GetChannelTemplates?ChannelID=452 HTTP/1.1"
    assert {f"X-API-KEY: {KEY}", "Accept: application/json", "Content-Type: application/json"} <= set(head)


async def test_a_post_carries_its_body_and_takes_an_empty_answer(server: Server) -> None:
    server.say(answer("200 OK"))
    async with client_of(server) as client:
        await client.send(register_event_listener(13, "https://partner.example.com/optimove/acme/13", 452))
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /current/general/RegisterEventListener HTTP/1.1\r\n")
    assert head.lower().count(b"content-type:") == 1
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert body == (b'{"EventTypeID":13,"ListenerURL":"https://partner.example.com/optimove/acme/13","ChannelID":452}')


async def test_every_2xx_is_success(server: Server) -> None:
    for status in ("202 Accepted", "204 No Content"):
        server.say(f"HTTP/1.1 {status}\r\n{'' if '204' in status else 'Content-Length: 0'}\r\n\r\n".encode(), None)
    async with client_of(server) as client:
        await client.send(INTERACTIONS)
        await client.send(INTERACTIONS)


async def test_a_page_is_asked_for_and_read(server: Server) -> None:
    server.say(answer("200 OK", gzip.compress((SAMPLES / "send_details.json").read_bytes()), "Content-Encoding: gzip"))
    async with client_of(server) as client:
        page = await client.send(
            get_customer_send_details_by_channel(
                campaign_id=90211, channel_id=452, attributes=["FIRST_NAME", "PHONE"], skip=0, top=10_000
            )
        )
    assert len(page) == 2
    target = server.heard[0].decode().split(" ")[1]
    path, _, query = target.partition("?")
    assert path == "/current/customers/GetCustomerSendDetailsByChannel"
    assert query.replace("%24", "$").replace("%3B", ";").split("&") == [
        "ChannelID=452",
        "CampaignID=90211",
        "$top=10000",
        "$skip=0",
        "CustomerAttributes=FIRST_NAME;PHONE",
    ]


@pytest.mark.parametrize(
    ("path", "base"),
    [("", "/current"), ("/", "/current"), ("/v3", "/v3"), ("/v3.0/", "/v3.0"), ("/current/", "/current")],
)
async def test_the_version_is_added_unless_the_address_has_a_path(server: Server, path: str, base: str) -> None:
    server.say(answer("200 OK", "[]"))
    async with client_of(server, path) as client:
        await client.send(TEMPLATES)
    assert server.heard[0].startswith(f"GET {base}/integrations/GetChannelTemplates?".encode())


@pytest.mark.parametrize(
    "url",
    ["", "api5.optimove.net", "ftp://x", "https://", "https://u:p@x", "https://x?k=1", "https://x#f", "https://x:y"],
)
def test_an_address_that_is_none_is_a_value_error_that_does_not_show_it(url: str) -> None:
    for client in (OptimoveClient, SyncOptimoveClient):
        with pytest.raises(ValueError, match="address of Optimove's API") as caught:
            client(url, KEY)
        assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "key\n", "schlüssel"])
def test_a_key_that_no_header_carries_is_a_value_error(key: str) -> None:
    for client in (OptimoveClient, SyncOptimoveClient):
        with pytest.raises(ValueError, match="API key"):
            client("https://api5.optimove.net", key)


async def test_the_key_is_never_shown(server: Server) -> None:
    name = server.client.__name__
    assert repr(server.client("https://api5.optimove.net/", KEY)) == f"{name}('https://api5.optimove.net/current')"
    server.say(answer("401 Unauthorized", f"The key {KEY} is revoked"))
    assert KEY not in str(await error_of(server))


@pytest.mark.parametrize(
    "url",
    [
        "https://partner.example.com/s3cret",
        "https%3A%2F%2Fpartner.example.com%2Fs3cret",
        "http:\\/\\/partner.example.com\\/s3cret",
    ],
)
async def test_a_url_with_its_secret_is_never_shown(server: Server, url: str) -> None:
    server.say(answer("400 Bad Request", f'"Cannot reach {url}, sorry"'))
    text = str(await error_of(server, register_event_listener(13, "https://partner.example.com/s3cret")))
    assert "s3cret" not in text
    assert "Cannot reach http" in text


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_key_that_is_not_accepted_is_unauthorized(server: Server, status: str) -> None:
    server.say(answer(status, "no such key"))
    error = await error_of(server)
    assert isinstance(error, Unauthorized)
    assert str(error) == f"Optimove does not accept our key for GetChannelTemplates ({status[:3]}): no such key"


DATE = "Date: Wed, 02 Apr 2031 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ((), None),
        (("Retry-After: 7",), timedelta(seconds=7)),
        (("Retry-After: 0",), timedelta(0)),
        (("Retry-After: Wed, 02 Apr 2031 10:00:30 GMT", DATE), timedelta(seconds=30)),
        (("Retry-After: Wed, 02 Apr 2031 09:00:00 GMT", DATE), timedelta(0)),
        (("Retry-After: Wed, 02 Apr 2031 10:00:30 GMT",), None),
        (("Retry-After: Wed, 02 Apr 2031 10:00:30 -0000", DATE), timedelta(seconds=30)),
        (("Retry-After: soon", DATE), None),
        (("Retry-After: " + "9" * 30,), None),
    ],
)
async def test_too_many_calls_say_how_long_to_wait(
    server: Server, headers: tuple[str, ...], wait: timedelta | None
) -> None:
    server.say(answer("429 Too Many Requests", (SAMPLES / "rate_limited.json").read_bytes(), *headers))
    error = await error_of(server)
    assert isinstance(error, RateLimited)
    assert error.retry_after == wait
    assert "API group" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"), [("302 Found", Moved), ("308 Permanent Redirect", Moved), ("303 See", Broken)]
)
async def test_a_redirect_is_not_followed(server: Server, status: str, kind: type[OptimoveError]) -> None:
    server.say(answer(status, "", f"Location: {server.url}/elsewhere"))
    error = await error_of(server, INTERACTIONS)
    assert type(error) is kind
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "405 Method Not Allowed"])
async def test_what_optimove_does_not_take_is_refused(server: Server, status: str) -> None:
    server.say(answer(status, (SAMPLES / "error_text.json").read_bytes(), f"Location: {server.url}/elsewhere"))
    error = await error_of(server, INTERACTIONS)
    assert isinstance(error, Refused)
    assert str(error) == f'Optimove refuses UpdateCampaignInteractions ({status[:3]}): "Method Not Allowed"'
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "408 Request Timeout"])
async def test_what_fails_at_optimove_is_broken_and_tried_once(server: Server, status: str) -> None:
    server.say(answer(status, "<html>\n<b>down</b>\x1b[31m</html>"))
    error = await error_of(server, INTERACTIONS)
    assert isinstance(error, Broken)
    assert not error.repeatable
    assert str(error) == f"Optimove failed at UpdateCampaignInteractions ({status[:3]}): <html> <b>down</b> [31m</html>"
    assert len(server.heard) == 1


async def test_a_message_quotes_at_most_200_characters(server: Server) -> None:
    server.say(answer("500 Oops", "x" * 1_000_000))
    assert str(await error_of(server)).endswith(": " + "x" * 200)


async def test_a_status_counts_although_its_text_is_cut_or_never_comes(server: Server) -> None:
    server.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno", None)
    assert isinstance(await error_of(server), Unauthorized)
    server.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nno", 1.5, None)
    assert isinstance(await error_of(server, timeout=timedelta(seconds=0.5)), Refused)


@pytest.mark.parametrize("body", ["{}", "[{]", '[{"TemplateID":17}]', "\xff"])
async def test_garbage_where_a_list_was_promised_is_broken_and_not_quoted(server: Server, body: str) -> None:
    server.say(answer("200 OK", body.encode("latin-1")))
    error = await error_of(server)
    assert isinstance(error, Broken)
    assert error.repeatable
    assert str(error).startswith("Optimove's answer to GetChannelTemplates is not what it promises: ")
    assert "{" not in str(error)


@pytest.mark.parametrize("call", [TEMPLATES, INTERACTIONS])
async def test_an_error_text_with_a_2xx_is_broken_and_quoted(server: Server, call: Call[Any]) -> None:
    server.say(answer("200 OK", (SAMPLES / "error_text.json").read_bytes()))
    error = await error_of(server, call)
    assert isinstance(error, Broken)
    assert str(error).endswith("carries an error: Method Not Allowed")


async def test_a_firewalls_page_with_a_2xx_is_broken_and_quoted(server: Server) -> None:
    server.say(answer("200 OK", "<html>Request blocked</html>"))
    error = await error_of(server, add_channel_templates(452, []))
    assert isinstance(error, Broken)
    assert str(error).endswith("is not JSON: <html>Request blocked</html>")


async def test_an_answer_that_does_not_unpack_is_broken(server: Server) -> None:
    server.say(answer("200 OK", "not gzip", "Content-Encoding: gzip"))
    assert isinstance(await error_of(server), Broken)


async def test_an_answer_that_is_too_big_unpacked_is_broken(server: Server) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < 20_000
    server.say(answer("200 OK", bomb, "Content-Encoding: gzip"))
    error = await error_of(server, max_answer_bytes=1_000_000)
    assert isinstance(error, TooLong)
    assert "more than 1000000 bytes" in str(error)


async def test_whatever_a_reader_trips_over_is_broken(server: Server) -> None:
    def trip(_: bytes) -> None:
        raise KeyError("Ana")

    server.say(answer("200 OK"))
    error = await error_of(server, Call("POST", "/x/Trip", trip, additive=True))
    assert isinstance(error, Broken)
    assert str(error) == "Optimove's answer to Trip cannot be read"


async def test_no_server_is_cannot_connect(server: Server) -> None:
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0) as gone:
        server.url = f"http://127.0.0.1:{gone.sockets[0].getsockname()[1]}"
    error = await error_of(server, INTERACTIONS)
    assert isinstance(error, CannotConnect)
    assert str(error).startswith("There is no connection to Optimove for UpdateCampaignInteractions: ConnectError")


async def test_a_server_that_does_not_speak_tls_is_cannot_connect(server: Server) -> None:
    server.say(None)
    server.url = server.url.replace("http:", "https:")
    assert isinstance(await error_of(server, INTERACTIONS, timeout=timedelta(seconds=0.3)), CannotConnect)
    assert server.heard == []


@pytest.mark.parametrize(
    "steps",
    [
        [None],
        [b"HTTP/1.1 200 OK\r\n", None],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1", None],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", None],
        [b"SSH-2.0-OpenSSH\r\n", None],
        [1.5, None],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1", 1.5, None],
    ],
    ids=["cut", "cut in the head", "cut in the body", "cut in chunks", "no HTTP", "slow", "slow half-way"],
)
async def test_written_without_a_whole_answer_is_no_answer(server: Server, steps: list[Step | None]) -> None:
    server.say(*steps)
    error = await error_of(server, INTERACTIONS, timeout=timedelta(seconds=0.5))
    assert isinstance(error, NoAnswer)
    assert not error.repeatable
    assert len(server.heard) == 1


TRICKLING = {
    "head": (b"HTTP/1.1 204 No Content\r\nX-Slow: ", b"-" * 40 + b"\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", b" " * 40),
}


@pytest.mark.parametrize("part", TRICKLING)
async def test_an_answer_that_trickles_in_is_no_answer_although_no_wait_is_long(server: Server, part: str) -> None:
    begun, slow = TRICKLING[part]
    trickle: list[Step] = [step for at in range(len(slow)) for step in (0.04, slow[at : at + 1])]
    server.say(begun, *trickle)  # whole in the end, after more than ten times the timeout
    assert isinstance(await error_of(server, INTERACTIONS, timeout=timedelta(seconds=0.12)), NoAnswer)


async def test_a_kept_connection_that_is_cut_as_we_write_is_no_answer_and_not_tried_again(server: Server) -> None:
    server.say(answer("200 OK", "[]"))
    server.say(None)
    async with client_of(server) as client:
        await client.send(TEMPLATES)
        with pytest.raises(NoAnswer):
            await client.send(INTERACTIONS)
    assert (server.connections, len(server.heard)) == (1, 2)


async def test_a_connection_is_used_again_after_success_and_replaced_after_an_error(server: Server) -> None:
    for _ in range(2):
        server.say(answer("200 OK", "[]"))
    server.say(answer("500 Oops", "x" * 100_000))
    server.say(answer("200 OK", "[]"))
    async with client_of(server) as client:
        assert await client.send(TEMPLATES) == await client.send(TEMPLATES) == []
        assert server.connections == 1
        with pytest.raises(Broken):
            await client.send(TEMPLATES)
        assert await client.send(TEMPLATES) == []


async def test_calls_at_the_same_time_do_not_disturb_each_other(server: Server) -> None:
    for _ in range(8):
        server.say(0.02, answer("200 OK", "[]"))
    async with client_of(server) as client:
        assert await asyncio.gather(*(client.send(TEMPLATES) for _ in range(8))) == [[]] * 8


async def test_a_body_that_is_no_text_is_never_written(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(ValueError):
            await client.send(add_channel_templates(452, [ChannelTemplate(1, "half of \ud83d")]))
    assert server.connections == 0


TOKEN = "tökèn-of-acme"
EVENTS = save_event(
    [
        CustomerEvent(
            event="sent",
            happened_at=datetime(2031, 4, 2, tzinfo=UTC),
            customer_id="Zoë/1",
            campaign_id=1,
            channel_id=2,
            template_id=3,
        )
    ]
)


async def test_a_signed_call_goes_to_its_own_address_signed_and_without_the_key(server: Server) -> None:
    server.say(answer("200 OK", '{"status":"success"}'))
    server.say(answer("200 OK", "[]"))
    url = f"{server.url}/of/acme/api/saveEvent"
    async with client_of(server, metrics_url=url, metrics_token=TOKEN) as client:
        await client.send(EVENTS)
        await client.send(TEMPLATES)
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /of/acme/api/saveEvent HTTP/1.1")
    assert '"customer":"Zoë/1"'.encode() in body
    signature = hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
    headers = head.lower().split(b"\r\n")
    assert f"x-optimove-signature-content: {signature}".encode() in headers
    assert {b"x-optimove-signature-version: 1", b"content-type: application/json"} <= set(headers)
    assert KEY.encode() not in head
    assert b"signature" not in server.heard[1]
    assert f"x-api-key: {KEY}".encode() in server.heard[1].lower().split(b"\r\n")


async def test_a_signature_that_is_refused_is_told_as_such_without_the_token(server: Server) -> None:
    server.say(answer("401 Unauthorized", f"bad {TOKEN}"))
    error = await error_of(server, EVENTS, metrics_url=server.url, metrics_token=TOKEN)
    assert isinstance(error, Unauthorized)
    assert "signature" in str(error)
    assert TOKEN not in str(error)


async def test_an_error_with_a_2xx_is_broken_and_never_repeatable(server: Server) -> None:
    server.say(answer("200 OK", '{"status":"error","message":"Failed to validate the event"}'))
    error = await error_of(server, EVENTS, metrics_url=server.url, metrics_token=TOKEN)
    assert isinstance(error, Broken)
    assert "Failed to validate" in str(error)


async def test_a_signed_call_needs_an_address_and_a_token(server: Server) -> None:
    async with client_of(server, metrics_url=server.url) as client:
        with pytest.raises(ValueError, match="metrics_token"):
            await client.send(EVENTS)
    with pytest.raises(ValueError, match="password"):
        OptimoveClient(server.url, KEY, metrics_url="https://u:p@metric.example")
