"""HTTP out to addresses that somebody else names: where it may lead is checked at each socket that is opened."""

import io
import socket
import ssl
from collections.abc import Mapping, Sequence
from errno import EACCES
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

LARGEST_ANSWER = 64 * 1024
"""Octets of an answer that are read, unpacked."""
IDLE_SECONDS = 1.5
"""How long a connection is kept that nobody uses. Common servers close it after two seconds (gunicorn) or five, and a
POST written to a connection that the server closed a moment ago would be in doubt, although nobody has read it."""
LONGEST_CONNECT_SECONDS = 10.0
_TRIES_UNWRITTEN = 3
_LARGE_BODY = 512 * 1024  # octets; from here on it is written piece by piece


class ClosedBefore(aiohttp.ServerConnectionError):
    """The server closes each connection before a request can be written to it."""


NOTHING_WRITTEN = (
    ClosedBefore,
    aiohttp.ClientConnectorError,  # also of names, certificates, TLS and addresses that are refused here
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""What `request` raises before the first octet of a request can have left."""
NO_ANSWER = (aiohttp.ClientError, TimeoutError)
"""What else it raises: the request may be there, and may have been done."""

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast; a list of our own, because Python's
# differs from version to version.
_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
]
# https://www.iana.org/assignments/iana-ipv6-special-registry: nothing but global unicast, and of that not what is for
# protocols (Teredo among it), documents and 6to4.
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of an address that ends with one of IPv4


class RefusedAddress(OSError):
    """An address that nothing of ours may reach; its text is a sentence with the mend."""

    def __init__(self, sentence: str) -> None:
        super().__init__(EACCES, sentence)

    def __str__(self) -> str:
        return str(self.strerror)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet: not private, local, shared, reserved, for many, for documents,
    or an IPv6 form of such an IPv4 address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    number = int(address)
    if address.ipv4_mapped is not None or address in _NAT64:
        return is_public(IPv4Address(number & 0xFFFFFFFF))
    if address not in _UNICAST_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    return (number >> 32) & 0xFFFFFFFF not in _ISATAP or is_public(IPv4Address(number & 0xFFFFFFFF))


class GuardedHttp:
    """Requests to URLs that somebody else names. Nothing leaves for an address that is not public, nor in plain HTTP,
    except to `allow_networks`.

    What counts is the address of each socket, whatever named it: a literal in any spelling, or a name, which may mean
    another address each time. A redirect is an answer and is never followed. No proxy and no password comes from the
    environment, no cookie is kept, certificates are verified against the system's store (or SSL_CERT_FILE).

    `timeout_seconds` is for a whole request, down to the last octet of its answer; up to a half of it, and at most
    LONGEST_CONNECT_SECONDS, for the connection. At most `limit` connections to each kind of URL, http and https.
    To be used from one event loop.
    """

    def __init__(
        self,
        allow_networks: Sequence[Network] = (),
        *,
        limit: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allowed = tuple(allow_networks)
        self._limit = limit
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, connect=min(timeout_seconds / 2, LONGEST_CONNECT_SECONDS)
        )
        self._headers = headers
        self._resolver = resolver
        self._sessions: dict[str, aiohttp.ClientSession] = {}  # by the URL's scheme, as the guard depends on it

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> aiohttp.ClientResponse:
        """Send a request; gives its answer, to be opened by `async with`, when status and headers are there.

        Raises one of NOTHING_WRITTEN when there is no connection, of NO_ANSWER for the rest (which has those in it).
        """
        try:
            target = URL(url)
        except ValueError as error:
            raise aiohttp.InvalidURL(url) from error
        if target.scheme not in ("http", "https") or not target.host:  # aiohttp also knows tcp:// and none
            raise aiohttp.NonHttpUrlClientError(target)
        session = self._session(target.scheme)
        for _ in range(_TRIES_UNWRITTEN):
            data = io.BytesIO(body) if len(body) >= _LARGE_BODY else body or None
            try:
                return await session.request(method, target, headers=headers, data=data, allow_redirects=False)
            except aiohttp.ClientOSError as error:
                # The server closed a connection that rested as we took it: aiohttp did not write to it, and what is not
                # large is written in one piece.
                unwritten = isinstance(error.__cause__, aiohttp.ClientConnectionResetError)
                if not unwritten or len(body) >= _LARGE_BODY:
                    raise
        raise ClosedBefore("closed before anything was written")

    async def aclose(self) -> None:
        """Close all connections; what is under way fails."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        session = self._sessions.get(scheme)
        if session is None:
            session = self._sessions[scheme] = self._new_session(plain=scheme == "http")
        return session

    def _new_session(self, *, plain: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._limit,
            keepalive_timeout=IDLE_SECONDS,
            resolver=self._resolver,
            ssl=True if plain else _tls(),
            socket_factory=partial(self._socket, plain),
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            headers=self._headers,
            skip_auto_headers=("Accept", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    def _socket(self, plain: bool, info: AddressInfo) -> socket.socket:
        """A socket for this address. RefusedAddress where nothing may go there."""
        family, kind, protocol, _, where = info
        self._check(str(where[0]), plain=plain)
        return socket.socket(family, kind, protocol)

    def _check(self, text: str, *, plain: bool) -> None:
        try:
            address = ip_address(text)
        except ValueError:
            raise RefusedAddress(f"{text} is no address") from None
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if any(one in network for one in (address, mapped) if one is not None for network in self._allowed):
            return
        mend = "if it is meant, name the network in [service] allow_networks"
        if not is_public(address):
            raise RefusedAddress(f"{text} is no public address, and nothing goes there; {mend}")
        if plain:
            raise RefusedAddress(f"nothing goes to {text} unencrypted; write https://, or {mend}")


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def read_limited(response: aiohttp.ClientResponse, limit: int = LARGEST_ANSWER) -> tuple[bytes, bool]:
    """The body of an answer, at most `limit` octets of it, and whether it is the whole.

    It is not where it is longer, or the connection is cut, or the time is over.
    """
    content = response.content
    if content.is_eof():  # as most are: all of it came together with the headers
        body = content.read_nowait(-1)
        return body[:limit], len(body) <= limit
    parts, left = [], limit
    try:
        async for part in content.iter_any():
            parts.append(part[:left])
            left -= len(part)
            if left < 0:
                break
    except NO_ANSWER:
        left = -1
    return b"".join(parts), left >= 0


def server_of(url: str) -> str:
    """The host and port of a URL, as messages name it: the rest may hold a secret."""
    parts = URL(url)
    return f"{parts.host}:{parts.port}"


class Unreachable(Exception):
    """Nobody answers at an address of ours; its text says why."""


async def status_of(url: str, *, setting: str, seconds: float = LONGEST_CONNECT_SECONDS) -> int:
    """The status of what answers a GET of an address of our own, which may be a private one. Raises Unreachable, which
    names the setting."""
    http = GuardedHttp([ip_network("0.0.0.0/0"), ip_network("::/0")], limit=1, timeout_seconds=seconds)
    try:
        async with await http.request("GET", url) as answer:
            return answer.status
    except NOTHING_WRITTEN as error:
        raise Unreachable(no_connection(url, error, setting=setting)) from error
    except NO_ANSWER as error:
        raise Unreachable(f"{server_of(url)} gives no answer that is HTTP; check `{setting}`") from error
    finally:
        await http.aclose()


def no_connection(url: str, error: Exception, *, setting: str = "url") -> str:
    """What one of NOTHING_WRITTEN means and what mends it, for an operator."""
    server = server_of(url)
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match cause:
        case RefusedAddress():
            return f"{server} may not be reached: {cause}"
        case socket.gaierror():
            return f"the name of {server} is not known ({cause.strerror}); check `{setting}`"
        case ssl.SSLCertVerificationError():
            what = f"the certificate of {server} cannot be trusted ({cause.verify_message})"
            return f"{what}; check `{setting}`, or name its authority in SSL_CERT_FILE"
        case ssl.SSLError():
            return f"no TLS with {server} ({cause.reason}); check `{setting}`: does the server speak plain http?"
        case aiohttp.ConnectionTimeoutError():
            return f"{server} does not answer in time; check `{setting}` and what stands between"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return f"{server} is no place to connect to; check `{setting}`: addresses are written like 192.0.2.1"
        case _:
            words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            return f"no connection to {server} ({words}); check `{setting}`"
