"""Where an outgoing URL may lead: every spelling of a private address, and nothing may be reached by it."""

import asyncio
import gzip
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address, ip_network

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from optirelay.net import (
    LARGEST_ANSWER,
    NO_ANSWER,
    NOTHING_WRITTEN,
    GuardedHttp,
    Network,
    RefusedAddress,
    is_public,
    no_connection,
    read_limited,
    server_of,
)
from tests.channels.webhook_receivers import Act, Receiver, Reply, reply

THIS_MACHINE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OURS = (ip_network("127.0.0.2/32"), ip_network("127.0.0.3/32"))  # allowed; others of this machine are not
BY_NAME = "receiver.example.com"


class Listener:
    """Waits on both addresses of this machine, where nothing of ours may come."""

    port: int
    connections = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Listener"]:
        four = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self.port = four.sockets[0].getsockname()[1]
        six = await asyncio.start_server(self._count, "::1", self.port)
        try:
            yield self
        finally:
            four.close()
            six.close()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


class Names(AbstractResolver):
    """Each look-up gets the next answer, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def http(
    allow: Sequence[Network] = (), *, names: AbstractResolver | None = None, timeout_seconds: float = 30.0
) -> AsyncIterator[GuardedHttp]:
    guarded = GuardedHttp(allow, limit=10, timeout_seconds=timeout_seconds, resolver=names)
    try:
        yield guarded
    finally:
        await guarded.aclose()


async def asked(guarded: GuardedHttp, url: str, body: bytes = b"{}") -> tuple[int, bytes]:
    async with await guarded.request("POST", url, body=body) as response:
        return response.status, (await read_limited(response))[0]


HOSTS_OF_THIS_MACHINE = [
    # as literals
    "127.0.0.1",
    "127.0.0.2",
    "127.1.2.3",
    "127.255.255.254",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    # as the system's resolver understands them
    "localhost",
    "LOCALHOST",
    "localhost.",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.1",
    "127.1",
    "127.0.1",
    "127.0x1",
    "127.000.000.001",
    "0",
    "0.0",
    "0x0",
    "1%32%37.0.0.1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    # inside of IPv6
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::FFFF:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fe80::5efe:127.0.0.1]",
    "[2a00::5efe:127.0.0.1]",
    "[2a00::200:5efe:7f00:1]",
]
PRIVATE_ADDRESSES = [
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "233.252.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:169.254.169.254",
    "::ffff:172.16.0.1",
    "::ffff:192.168.0.1",
    "::ffff:224.0.0.1",
    "::ffff:255.255.255.255",
    "::ffff:0:10.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::192.168.0.1",
    "64:ff9b::100.64.0.1",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:ffff::1",
    "100::1",
    "2001::1",
    "2001:0:ffff:ffff::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "2002:a00:1::1",
    "2002:c0a8:1::1",
    "2002:808:808::1",
    "2600::5efe:10.0.0.1",
    "2600::200:5efe:192.168.0.1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%lo",
    "fe80::5efe:10.0.0.1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff00::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::5efe",
    "2600::5efe:8.8.8.8",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


def test_more_than_a_hundred_forms_are_tried() -> None:
    assert len({*HOSTS_OF_THIS_MACHINE, *PRIVATE_ADDRESSES}) > 100


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_no_spelling_of_this_machine_reaches_it(scheme: str) -> None:
    async with Listener().running() as listener, http() as guarded:
        for host in HOSTS_OF_THIS_MACHINE:
            url = f"{scheme}://{host}:{listener.port}/"
            with pytest.raises(NOTHING_WRITTEN) as raised:
                await asked(guarded, url)
            assert refused_or_misspelt(raised.value), host
        assert listener.connections == 0


def refused_or_misspelt(error: Exception) -> bool:
    """Not merely unreachable."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return True
    if isinstance(error, aiohttp.ClientConnectorError):
        return isinstance(error.os_error, RefusedAddress)
    return isinstance(error, aiohttp.InvalidURL)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
async def test_a_private_address_is_refused_as_a_literal_and_behind_a_name(address: str) -> None:
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    async with Listener().running() as listener, http(names=Names([address])) as guarded:
        for url in (f"https://{host}:{listener.port}/", f"https://{BY_NAME}:{listener.port}/"):
            with pytest.raises(aiohttp.ClientConnectorError) as raised:
                await asked(guarded, url)
            assert isinstance(raised.value.os_error, RefusedAddress)
        assert listener.connections == 0


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
async def test_a_public_address_is_let_through_but_not_unencrypted(address: str) -> None:
    assert is_public(ip_address(address))
    async with http() as guarded:
        guarded._check(address, plain=False)
        with pytest.raises(RefusedAddress, match="unencrypted; write https://, or if it is meant, name the network"):
            guarded._check(address, plain=True)
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(aiohttp.ClientConnectorError, match="unencrypted"):
            await asked(guarded, f"http://{host}/")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["127.0.0.3", "127.0.0.1"],  # one that may be reached, where nobody is, and one that may not
        ["127.0.0.1", "127.0.0.3"],
        ["127.0.0.3", "::1", "127.0.0.1"],
        ["::1", "127.0.0.1"],
        ["10.0.0.1", "192.168.0.1", "127.0.0.1"],
    ],
)
async def test_each_address_behind_a_name_is_looked_at(addresses: list[str]) -> None:
    async with Listener().running() as listener, http(OURS, names=Names(addresses)) as guarded:
        for scheme in ("https", "http"):
            with pytest.raises(aiohttp.ClientConnectorError):
                await asked(guarded, f"{scheme}://{BY_NAME}:{listener.port}/")
        assert listener.connections == 0


async def test_a_name_that_comes_to_mean_another_address_is_looked_at_each_time() -> None:
    async with Listener().running() as listener, Receiver(host="127.0.0.2", port=listener.port).running() as receiver:
        receiver.always = reply(close=True, connection="close")
        names = Names(["127.0.0.2"], ["127.0.0.1"])
        async with http(OURS, names=names) as guarded:
            url = f"http://{BY_NAME}:{listener.port}/"
            assert await asked(guarded, url) == (200, b"")
            connector = guarded._sessions["http"].connector
            assert isinstance(connector, aiohttp.TCPConnector)
            connector.clear_dns_cache()
            with pytest.raises(aiohttp.ClientConnectorError) as raised:
                await asked(guarded, url)
        assert isinstance(raised.value.os_error, RefusedAddress)
        assert names.asked == 2
        assert len(receiver.requests) == 1
        assert listener.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    async with Listener().running() as listener, Receiver(host="127.0.0.2").running() as receiver:
        targets = [
            f"http://127.0.0.1:{listener.port}/",
            f"http://[::1]:{listener.port}/",
            receiver.url,
            "/other",
            "//x",
        ]
        async with http(THIS_MACHINE) as guarded:
            for target in targets:
                receiver.then(reply(status, location=target))
                assert await asked(guarded, receiver.url) == (status, b"")
        assert listener.connections == 0
        assert len(receiver.requests) == len(targets)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Listener().running() as listener, Receiver(host="127.0.0.2").running() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
        receiver.always = reply()
        async with http(OURS) as guarded:
            assert await asked(guarded, receiver.url) == (200, b"")
        assert listener.connections == 0


async def test_no_cookie_is_kept() -> None:
    async with Receiver().running() as receiver, http(THIS_MACHINE) as guarded:
        receiver.always = reply(set_cookie="session=1; Path=/")
        for _ in range(2):
            await asked(guarded, receiver.url)
        assert all("cookie" not in request.headers for request in receiver.requests)


@pytest.mark.parametrize(
    ("network", "host"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("127.0.0.0/8", "[::ffff:127.0.0.1]"),
        ("127.0.0.0/8", "localhost"),
        ("127.0.0.0/8", "0x7f.1"),
        ("::1/128", "[::1]"),
        ("0.0.0.0/0", "127.0.0.1"),
    ],
)
async def test_an_allowed_network_is_reached(network: str, host: str) -> None:
    async with Receiver(host="::1" if "::1" in network else "127.0.0.1").running() as receiver:
        receiver.always = reply(204)
        async with http([ip_network(network)]) as guarded:
            assert await asked(guarded, f"http://{host}:{receiver.port}/") == (204, b"")


@pytest.mark.parametrize("network", ["10.0.0.0/8", "127.0.0.2/32", "::1/128", "::/1"])
async def test_another_allowed_network_does_not_help(network: str) -> None:
    async with Listener().running() as listener, http([ip_network(network)]) as guarded:
        with pytest.raises(aiohttp.ClientConnectorError):
            await asked(guarded, f"http://127.0.0.1:{listener.port}/")
        assert listener.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "tcp://127.0.0.1:80/",
        "ws://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1",
        "//127.0.0.1/",
        "",
        "http://",
    ],
)
async def test_what_is_no_http_is_no_url(url: str) -> None:
    async with http(THIS_MACHINE) as guarded:
        with pytest.raises(NOTHING_WRITTEN):
            await asked(guarded, url)


class TestReadLimited:
    async def read(
        self, receiver: Receiver, *, limit: int = LARGEST_ANSWER, seconds: float = 30.0
    ) -> tuple[bytes, bool]:
        async with (
            receiver.running(),
            http(THIS_MACHINE, timeout_seconds=seconds) as guarded,
            await guarded.request("GET", receiver.url) as response,
        ):
            return await read_limited(response, limit)

    async def test_as_much_as_the_limit_is_read_whole(self) -> None:
        assert await self.read(Receiver(always=Reply(body=b"x" * 1000)), limit=1000) == (b"x" * 1000, True)
        assert await self.read(Receiver(always=Reply(body=b"x" * LARGEST_ANSWER))) == (b"x" * LARGEST_ANSWER, True)
        assert await self.read(Receiver(always=Reply())) == (b"", True)

    async def test_of_more_the_beginning_is_read(self) -> None:
        assert await self.read(Receiver(always=Reply(body=b"x" * 1001)), limit=1000) == (b"x" * 1000, False)
        assert await self.read(Receiver(always=Reply(body=b"x" * 10_000_000))) == (b"x" * LARGEST_ANSWER, False)

    async def test_of_what_is_packed_the_limit_counts_unpacked(self) -> None:

        packed = Reply(body=gzip.compress(b"x" * 50_000_000), headers=(("Content-Encoding", "gzip"),))
        assert await self.read(Receiver(always=packed)) == (b"x" * LARGEST_ANSWER, False)

    async def test_a_cut_body_is_read_to_the_cut(self) -> None:
        assert await self.read(Receiver(always=Act.HALF_BODY)) == (b'{"provider_id"', False)

    async def test_a_body_that_never_ends_is_read_until_the_time_is_over(self) -> None:
        body, whole = await self.read(Receiver(always=Act.SLOW_BODY), seconds=3.0)
        assert not whole
        assert body.strip() == b""


class TestConnections:
    async def test_a_connection_is_used_again_and_not_after_it_was_closed(self) -> None:
        async with Receiver(always=reply()).running() as receiver, http(THIS_MACHINE) as guarded:
            for connections in (1, 2, 3):
                for _ in range(3):
                    await asked(guarded, receiver.url)
                assert receiver.connections == connections
                await receiver.close_idle()

    @pytest.mark.skipif(
        sys.version_info >= (3, 12), reason="there aiohttp writes at once, and the close comes too late"
    )
    async def test_a_server_that_closes_after_each_answer_without_a_word_gets_each_request(self) -> None:
        async with Receiver(always=reply(close=True)).running() as receiver, http(THIS_MACHINE) as guarded:
            for _ in range(50):
                assert await asked(guarded, receiver.url) == (200, b"")
            assert len(receiver.requests) == 50

    async def test_an_idle_connection_is_closed_before_common_servers_do(self) -> None:
        async with Receiver(always=reply()).running() as receiver, http(THIS_MACHINE) as guarded:
            await asked(guarded, receiver.url)
            await asyncio.sleep(1.7)
            await asked(guarded, receiver.url)
            assert receiver.connections == 2

    async def test_a_large_body_arrives_whole(self) -> None:
        body = b"0123456789abcdef" * 200_000
        async with Receiver(always=reply()).running() as receiver, http(THIS_MACHINE) as guarded:
            await asked(guarded, receiver.url, body)
            [request] = receiver.requests
        assert request.body == body
        assert request.headers["content-length"] == str(len(body))

    async def test_an_early_answer_to_a_large_body_harms_no_later_request(self) -> None:
        async with Receiver(always=reply()).running() as receiver, http(THIS_MACHINE) as guarded:
            receiver.then(Reply(413, unread=True))
            with suppress(*NO_ANSWER):  # the rest of the body may meet a closed door
                assert (await asked(guarded, receiver.url, b"x" * 20_000_000))[0] == 413
            assert await asked(guarded, receiver.url) == (200, b"")


class TestSentences:
    """What an operator reads; the path and query of a URL may hold a secret and never stand in it."""

    async def sentence(
        self, url: str, *allow: Network, names: AbstractResolver | None = None, seconds: float = 30.0
    ) -> str:
        async with http(allow, names=names, timeout_seconds=seconds) as guarded:
            with pytest.raises(NOTHING_WRITTEN) as raised:
                await asked(guarded, url)
        assert "SECRET" not in no_connection(url, raised.value)
        return no_connection(url, raised.value)

    async def test_a_refused_address(self) -> None:
        assert await self.sentence("https://10.1.2.3/SECRET?key=SECRET") == (
            "10.1.2.3:443 may not be reached: 10.1.2.3 is no public address, and nothing goes there; "
            "if it is meant, name the network in [service] allow_networks"
        )

    async def test_several_refused_addresses(self) -> None:
        sentence = await self.sentence(f"https://{BY_NAME}/SECRET", names=Names(["10.0.0.1", "10.0.0.2", "fd00::1"]))
        assert sentence.startswith(f"{BY_NAME}:443 may not be reached: ")
        assert sentence.endswith("name the network in [service] allow_networks")

    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            sentence = await self.sentence(f"http://127.0.0.1:{port}/SECRET", *THIS_MACHINE)
        assert sentence.startswith(f"no connection to 127.0.0.1:{port} (")
        assert sentence.endswith("check `url`")

    async def test_the_name_is_not_known(self) -> None:
        class Nobody(Names):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
            ) -> list[ResolveResult]:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        assert await self.sentence(f"https://{BY_NAME}/SECRET", names=Nobody()) == (
            f"the name of {BY_NAME}:443 is not known (Name or service not known); check `url`"
        )

    async def test_an_odd_spelling(self) -> None:
        assert "addresses are written like 192.0.2.1" in await self.sentence("http://2130706433/SECRET")

    async def test_tls_where_the_server_speaks_plain(self) -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/SECRET"
            assert "no TLS with 127.0.0.1" in await self.sentence(url, *THIS_MACHINE)

    async def test_a_server_that_never_shakes_hands(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            sentence = await self.sentence(f"https://127.0.0.1:{port}/SECRET", *THIS_MACHINE, seconds=2.0)
        assert sentence == f"127.0.0.1:{port} does not answer in time; check `url` and what stands between"

    def test_the_server_of_a_url(self) -> None:
        assert server_of("https://gateway.example.com/send?key=1") == "gateway.example.com:443"
        assert server_of("http://[::1]:80/") == "::1:80"
