"""What a call is, and what its handlers have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request
from optirelay.simulator.fields import read_number
from optirelay.simulator.firing import Firing
from optirelay.simulator.world import ApiKey, Tenant, World


class Told(NamedTuple):
    """One call: what there is, whom the call speaks for, and what it says."""

    world: World
    firing: Firing  # for what is told later
    tenant: Tenant
    key: ApiKey
    request: Request
    body: Any  # parsed; None for a GET
    fault: str | None = None

    def forbidden(self) -> Refused:
        """The answer to a key that may not do this; the status is not documented, so it is a quirk."""
        return Refused("Forbidden", self.world.quirks.forbidden_status)

    def channel(self, channel_id: int) -> int:
        """The same channel, one that the tenant has and the key is for."""
        if channel_id not in self.tenant.channels:
            raise Refused(f"ChannelID {channel_id} is not valid.")
        if self.key.channels is not None and channel_id not in self.key.channels:
            raise self.forbidden()
        return channel_id

    def channel_in_query(self) -> int:
        """The ChannelID of the query, likewise."""
        return self.channel(read_number(self.request, "ChannelID"))

    def check_there(self, there: bool, what: str) -> None:
        """Whether something to delete is there at all; if that matters is a quirk."""
        if not there and self.world.quirks.delete_unknown == "error":
            raise Refused(f"{what} does not exist.")


@dataclass(frozen=True, slots=True)
class Call:
    """One of Optimove's calls; what the handler gives back is the answer, and None is an empty body."""

    method: str
    area: str
    name: str
    handler: Callable[[Told], Any]
    kind: str | None = None  # under which name the simulator shows what it was told


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


def read_date(text: str | None, name: str) -> date:
    """A date as Optimove writes it."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise Refused(f"{name} is not a date in the format YYYY-MM-DD.")
    return day
