"""The only place in the simulator that asks for the time, and how times are written on the wire."""

from datetime import UTC, datetime
from functools import lru_cache


def utc_now() -> datetime:
    """This moment, aware and in UTC."""
    return datetime.now(UTC)


@lru_cache(maxsize=1024)  # a page has many rows and few times
def optimove_time(time: datetime) -> str:
    """As Optimove writes it: "2031-04-02 10:00:00", UTC without saying so.

    https://developer.optimove.com/reference/post_integrations-updatecustomerpromotionstatus
    """
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(time: datetime) -> str:
    """As the simulator's own pages write it: "2031-04-02T10:00:00.250Z"."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
