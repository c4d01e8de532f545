"""How a value is written in the settings file: each reader returns what it means or raises BadValue with the mend."""

import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from email.headerregistry import Address
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from optirelay.addresses import is_country, read_ascii_email
from optirelay.settings._faults import BadValue, quoted, shown

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),  # in rates alone
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
MORE_EVENT_TYPES = (1, 2, 3, 5)
OWN_EVENT_TYPES = (4, 11, 13)
LONGEST = "3650d"  # keeps `now + duration` inside the calendar


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any `per`."""

    count: int
    per: timedelta

    @property
    def per_second(self) -> float:
        """How many a second that is on average."""
        return self.count / self.per.total_seconds()


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to just before `end`, each day, by the clocks of the tenant's time zone; maybe over midnight."""

    start: time
    end: time


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen; an IPv6 address stands without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Secret:
    """A text that shows itself only to who asks for it by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself: for the wire, never for a log."""
        return self._text

    def matches(self, text: str) -> bool:
        """Is this the secret? Takes the same time wherever the two differ."""
        return hmac.compare_digest(self._text.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass"))

    def __eq__(self, other: object) -> bool:
        return self.matches(other._text) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(********)"

    def __str__(self) -> str:
        return "********"


def whole_number(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise BadValue(f"{shown(value)} is no whole number from {low} to {high}", f"Write one from {low} to {high}")

    return read


def duration(least: str = "1ms", most: str = LONGEST) -> Callable[[object], timedelta]:
    """A reader of durations, `least` and `most` included."""

    def read(value: object) -> timedelta:
        found = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", value) if isinstance(value, str) else None
        if found is None:
            raise BadValue(f"{shown(value)} is no duration", "Write one such as 500ms, 30s, 15m, 4h or 7d, in quotes")
        time = int(found[1]) * UNITS[found[2]]
        if not _length(least) <= time <= _length(most):
            raise BadValue(f"{shown(value)} is not from {least} to {most}", f"Write a duration from {least} to {most}")
        return time

    return read


def _length(text: str) -> timedelta:
    number, unit = re.split(r"(?<=[0-9])(?=[a-z])", text)
    return int(number) * UNITS[unit]


def read_rate(value: object) -> Rate:
    """100/s, 20/10s, 5000/min."""
    found = None
    if isinstance(value, str):
        found = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,3})?(ms|s|min|m|h|d)", value)
    if found is None:
        raise BadValue(f"{shown(value)} is no rate", "Write one such as 100/s, 20/10s or 5000/min, in quotes")
    return Rate(int(found[1]), int(found[2] or 1) * UNITS[found[3]])


def choice(*words: str) -> Callable[[object], str]:
    """A reader of one word out of several."""
    mend = f"Write {' or '.join(map(quoted, words))}"

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise BadValue(f"{shown(value)} is not known here", mend)

    return read


def yes_or_no(value: object) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    raise BadValue(f"{shown(value)} is neither true nor false", "Write true or false, without quotes")


def read_text(value: object) -> str:
    """A line of text that is not blank."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise BadValue(f"{shown(value)} is no line of text", "Write a text that is not blank, on one line, in quotes")
    return value


def read_list(value: object) -> tuple[object, ...]:
    """A list without repeats; what stands in it is read by the next reader."""
    if not isinstance(value, list):
        raise BadValue(f"{shown(value)} is no list", 'Write a list such as ["a", "b"]')
    seen: set[str | int] = set()
    for entry in value:
        if type(entry) in (str, int):
            if entry in seen:
                raise BadValue(f"{shown(entry)} is named twice", "Name it once")
            seen.add(entry)
    return tuple(value)


def read_apps(value: object) -> dict[str, str]:
    """The apps of a push channel: AppID = name."""
    mend = 'Write a table such as { ios-main = "Acme iOS" }'
    if not isinstance(value, dict):
        raise BadValue(f"{shown(value)} is no table", mend)
    for app_id, name in value.items():
        if not app_id.strip() or app_id != app_id.strip() or not app_id.isprintable():
            raise BadValue(f"{quoted(app_id)} is no app's id", mend)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise BadValue(f"the name of {app_id}, {shown(name)}, is no line of text", mend)
    return value


def read_attribute(value: object) -> str:
    """The name of an attribute at Optimove, which joins names with semicolons."""
    name = read_text(value)
    if ";" in name or name != name.strip():
        raise BadValue(f"{quoted(name)} is no attribute's name", "Write it as Optimove does, such as FIRST_NAME")
    return name


def read_address(value: object) -> str | None:
    """The attribute that holds a person's address: "attribute:EMAIL" is EMAIL; None for "contacts", our directory."""
    return None if value == "contacts" else _named_attribute(value, "contacts")


def read_match(value: object) -> str | None:
    """The attribute that finds a person in our directory: "attribute:EMAIL" is EMAIL; None for "customer_id"."""
    return None if value == "customer_id" else _named_attribute(value, "customer_id")


def _named_attribute(value: object, other: str) -> str:
    if not isinstance(value, str) or not value.startswith("attribute:"):
        raise BadValue(f"{shown(value)} names no attribute", f'Write one such as "attribute:EMAIL", or "{other}"')
    return read_attribute(value.removeprefix("attribute:"))


def read_pattern(value: object, *, email: bool = True) -> str:
    """An address in which * stands for anything: an e-mail address, or what other kinds of channels write to."""
    form, example = (r"[^\s@]+@[^\s@]+", "*@acme.example") if email else (r"\S+", "+3361234567*")
    if not isinstance(value, str) or not re.fullmatch(form, value) or not value.isprintable():
        raise BadValue(f"{shown(value)} is no pattern of addresses", f'Write one such as "{example}"')
    return value


def read_sender(value: object) -> str:
    """A bare address or Name <address>, returned as a header has it, the address in ASCII, the name not encoded."""
    mend = 'Write one such as "Acme <news@acme.example>"'
    if not isinstance(value, str) or not value.isprintable():
        raise BadValue(f"{shown(value)} is no sender", mend)
    named = re.fullmatch(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>]*)>\s*', value)
    name = re.sub(r"\\(.)", r"\1", named[1] or "") or named[2] if named else ""
    found = read_ascii_email(named[3] if named else value)
    if found is None or not found.isascii():
        raise BadValue(f"{shown(value)} is no sender", mend)
    return str(Address(name or "", addr_spec=found))


def read_quiet_hours(value: object) -> QuietHours:
    """22:00-08:00."""
    mend = 'Write one such as "22:00-08:00", from 00:00 to 23:59'
    clock = "((?:[01][0-9]|2[0-3]):[0-5][0-9])"
    found = re.fullmatch(f"{clock}-{clock}", value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(f"{shown(value)} is no span of hours", mend)
    if found[1] == found[2]:
        raise BadValue(f"{shown(value)} begins when it ends", f"{mend}; to send nothing at all, pause the channel")
    return QuietHours(time.fromisoformat(found[1]), time.fromisoformat(found[2]))


def read_event_type(value: object) -> int:
    """A type of notification that Optimove sends beside those that we register anyway.

    https://developer.optimove.com/reference/post_general-registereventlistener
    """
    mend = f"Write one of {', '.join(map(str, MORE_EVENT_TYPES))}"
    if isinstance(value, int) and not isinstance(value, bool):
        if value in MORE_EVENT_TYPES:
            return value
        if value in OWN_EVENT_TYPES:
            raise BadValue(f"{value} is registered anyway", "Remove it")
    raise BadValue(f"{shown(value)} is no event type that Optimove registers", mend)


def read_timezone(value: object) -> ZoneInfo:
    """A name of the IANA database."""
    try:
        return ZoneInfo(read_text(value))
    except (ValueError, KeyError, OSError) as error:
        raise BadValue(
            f"{shown(value)} is no time zone that this machine knows",
            "Write one such as UTC or Europe/Paris; where no name is known, install tzdata",
        ) from error


def read_http_url(value: object) -> str:
    """Absolute, http or https, without a query; comes back without a slash at its end. Messages never repeat it."""
    mend = "Write one such as https://relay.example.com"
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        raise BadValue("this is no URL in plain ASCII", mend)
    try:
        parts = urlsplit(value)
        _ = parts.port  # a bad one is a ValueError
    except ValueError as error:
        raise BadValue("this is no URL", mend) from error
    if parts.scheme not in {"http", "https"}:
        raise BadValue("the URL is neither http:// nor https://", mend)
    if not is_host(parts.hostname or ""):
        raise BadValue("the URL names no host", mend)
    if "@" in parts.netloc:
        raise BadValue("the URL carries a user name or password", "Leave them out")
    if "?" in value or "#" in value:
        raise BadValue("the URL has a query or a fragment", "Leave out what begins with ? or #")
    return value.rstrip("/")


def read_webhook_url(value: object) -> str:
    """Absolute, http or https, maybe with a query; as it is written. Messages never repeat it."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value) or "#" in value:
        mend = "Write one such as https://gateway.example.com/send"
        raise BadValue("this is no URL in plain ASCII without a fragment", mend)
    read_http_url(value.partition("?")[0])
    return value


def read_network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network such as 127.0.0.0/8, or a single address."""
    text = value if isinstance(value, str) and "%" not in value else ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        mend = "Write one such as 127.0.0.0/8, 10.1.2.3 or fd00::/8"
        raise BadValue(f"{shown(value)} is no network", mend) from error
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise BadValue(f"{shown(value)} begins inside the network", f"Write {network}, or an address alone")
    return network


def read_country(value: object) -> str:
    """A country as phone numbers know it: two letters of ISO 3166."""
    if isinstance(value, str) and is_country(value):
        return value
    raise BadValue(f"{shown(value)} is no country", "Write two capital letters such as FR, US or GB")


def is_host(text: str) -> bool:
    """A name or an IP address, IPv6 without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) < 254 and bool(re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", text))
    return True


def read_host(value: object) -> str:
    """A host's name or IP address."""
    if not isinstance(value, str) or not is_host(value):
        raise BadValue(f"{shown(value)} is no host", "Write a name or an IP address, such as smtp.example.com")
    return value


def read_listen(value: object) -> HostPort:
    """host:port; IPv6 as [::1]:8400."""
    found = (
        re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):([0-9]{1,5})", value) if isinstance(value, str) else None
    )
    host = (found[1] or found[2]) if found else ""
    if found is None or not is_host(host) or not 1 <= int(found[3]) <= 65535:
        mend = 'Write one such as "127.0.0.1:8400" or "[::1]:8400", the port from 1 to 65535'
        raise BadValue(f"{shown(value)} is no host:port", mend)
    return HostPort(host, int(found[3]))
