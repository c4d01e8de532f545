"""What a call is, and what its handlers have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request
from optirelay.simulator.fields import read_number
from optirelay.simulator.world import Tenant, World


class Told(NamedTuple):
    """One call: what there is, whom the call speaks for, and what it says."""

    world: World
    tenant: Tenant
    request: Request
    body: Any  # parsed; None for a GET


@dataclass(frozen=True, slots=True)
class Call:
    """One of Optimove's calls; what the handler gives back is the answer, and None is an empty body."""

    method: str
    area: str
    name: str
    handler: Callable[[Told], Any]
    kind: str | None = None  # under which name the simulator shows what it was told


def channel_in_query(told: Told) -> int:
    """The ChannelID of the query, one that the tenant has."""
    return check_channel(told.tenant, read_number(told.request, "ChannelID"))


def check_channel(tenant: Tenant, channel_id: int) -> int:
    """The same channel, one that the tenant has."""
    if channel_id not in tenant.channels:
        raise Refused(f"ChannelID {channel_id} is not valid.")
    return channel_id


def check_there(told: Told, there: bool, what: str) -> None:
    """Whether something to delete is there at all; if that matters is a quirk."""
    if not there and told.world.quirks.delete_unknown == "error":
        raise Refused(f"{what} does not exist.")


def check_web_address(url: str, name: str) -> str:
    """The same URL, one that can be called."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise Refused(f"{name} is not a valid URL.")
    return url


def check_date(text: str, name: str) -> date:
    """A date as Optimove writes it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise Refused(f"{name} is not a date in the format YYYY-MM-DD.")
    return day
