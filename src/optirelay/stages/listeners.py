"""Which listeners we want at Optimove, and how its list stands to that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from optirelay.model import ChannelName
from optirelay.optimove import EventListener, EventType
from optirelay.settings import TenantSettings


class ListenerState(StrEnum):
    """How a listener stands at Optimove."""

    OK = "ok"
    MISSING = "missing"
    MOVED = "moved"  # ours, but its notifications go elsewhere
    FOREIGN = "foreign"  # somebody else's


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """One listener, ours or not."""

    channel: ChannelName | None
    event_type: int
    channel_id: int | None
    url: str = field(repr=False)
    state: ListenerState


def wanted(tenant: TenantSettings, public_url: str) -> list[ListenerRow]:
    """What a tenant needs: executed (13) for each scheduled channel id, triggered (11) for each triggered one,
    cancelled (4) once, and `listen_also`."""
    url = f"{public_url.rstrip('/')}/optimove/{tenant.name}/{tenant.listener_secrets[0].reveal()}"
    scheduled = [(name, c.scheduled_id) for name, c in tenant.channels.items() if c.scheduled_id is not None]
    rows = [
        ListenerRow(ChannelName(name), EventType.CHANNEL_EXECUTED, channel_id, url, ListenerState.MISSING)
        for name, channel_id in scheduled
    ]
    rows += [
        ListenerRow(ChannelName(name), EventType.TRIGGERED, c.triggered_id, url, ListenerState.MISSING)
        for name, c in tenant.channels.items()
        if c.triggered_id is not None
    ]
    without_channel = [*([EventType.CAMPAIGN_CANCELLED] if scheduled else []), *tenant.listen_also]
    return rows + [ListenerRow(None, event_type, None, url, ListenerState.MISSING) for event_type in without_channel]


def compare(ours: Iterable[ListenerRow], theirs: Sequence[EventListener], tenant: str) -> list[ListenerRow]:
    """Each listener that we want, with its state, then those that are not ours.

    A listener of a channel id of ours that leads elsewhere has moved. One without a channel has moved only if its URL
    shows that it was ours; else it is somebody else's, and ours is missing.
    """
    rows = []
    used: set[int] = set()
    for want in ours:
        same = [
            (place, listener)
            for place, listener in enumerate(theirs)
            if (listener.event_type, listener.channel_id) == (want.event_type, want.channel_id)
        ]
        state = ListenerState.MISSING
        for place, listener in same:
            if listener.listener_url == want.url:
                state = ListenerState.OK
            elif want.channel_id is not None or _was_ours(listener.listener_url, tenant):
                state = ListenerState.MOVED if state is ListenerState.MISSING else state
            else:
                continue
            used.add(place)
        rows.append(ListenerRow(want.channel, want.event_type, want.channel_id, want.url, state))
    rows += [
        ListenerRow(None, listener.event_type, listener.channel_id, listener.listener_url, ListenerState.FOREIGN)
        for place, listener in enumerate(theirs)
        if place not in used
    ]
    return rows


def _was_ours(url: str, tenant: str) -> bool:
    return f"/optimove/{tenant}/" in urlsplit(url).path + "/"


def without_secret(url: str) -> str:
    """The URL as it may be shown: its last part is a secret."""
    head, _, secret = url.rpartition("/")
    return f"{head}/…" if secret and "/optimove/" in head + "/" else url
