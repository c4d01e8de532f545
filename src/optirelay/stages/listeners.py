"""Which listeners we want at Optimove, how its list stands to that, and which of it were ours."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urlsplit

from optirelay.model import ChannelName, TenantId
from optirelay.optimove import EventListener, EventType
from optirelay.settings import TenantSettings

Key = tuple[int, int | None]
"""Event type and channel id: Optimove has one listener for each."""


class ListenerState(StrEnum):
    """How a listener stands at Optimove."""

    OK = "ok"
    MISSING = "missing"
    MOVED = "moved"  # ours, but its notifications go elsewhere
    FOREIGN = "foreign"  # somebody else's, or an old one of ours that no setting wants any more


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """One listener, ours or not."""

    channel: ChannelName | None
    event_type: int
    channel_id: int | None
    url: str = field(repr=False)
    state: ListenerState
    leads_to: str | None = field(default=None, repr=False)  # where its notifications go; None: nowhere

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.event_type, self.channel_id


def subject_of(key: Key) -> str:
    """What a problem with a listener, or with a notification of it, is about."""
    event_type, channel_id = key
    return f"type {int(event_type)}" + ("" if channel_id is None else f" {channel_id}")


def wanted(tenant: TenantSettings, public_url: str) -> list[ListenerRow]:
    """What a tenant needs: executed (13) for each scheduled channel id, triggered (11) for each triggered one,
    cancelled (4) once, and `listen_also`."""
    url = base_url(public_url, TenantId(tenant.name)) + tenant.listener_secrets[0].reveal()
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


def base_url(public_url: str, tenant: TenantId) -> str:
    """What every address of a tenant's listeners begins with; a secret follows."""
    return f"{public_url.rstrip('/')}/optimove/{tenant}/"


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
        state, leads_to = ListenerState.MISSING, None
        for place, listener in same:
            if listener.listener_url == want.url:
                state, leads_to = ListenerState.OK, want.url
            elif want.channel_id is not None or _was_ours(listener.listener_url, tenant):
                if state is ListenerState.MISSING:
                    state, leads_to = ListenerState.MOVED, listener.listener_url
            else:
                continue
            used.add(place)
        rows.append(replace(want, state=state, leads_to=leads_to))
    rows += [
        ListenerRow(None, it.event_type, it.channel_id, it.listener_url, ListenerState.FOREIGN, it.listener_url)
        for place, it in enumerate(theirs)
        if place not in used
    ]
    return rows


def _was_ours(url: str, tenant: str) -> bool:
    return f"/optimove/{tenant}/" in _path(url) + "/"


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # anybody may register anything
        return ""


def host_of(url: str) -> str:
    """Whom an address belongs to, as the operator is told: the rest of it may hold a secret."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"


def old_ones(rows: Sequence[ListenerRow], is_ours: Callable[[ListenerRow], bool]) -> list[Key]:
    """Listeners of ours that no setting wants any more. None that leads to anybody else as well: others' are left."""
    wanted_keys = {row.key for row in rows if row.state is not ListenerState.FOREIGN}
    keys = dict.fromkeys(row.key for row in rows if row.key not in wanted_keys)
    return [key for key in keys if all(is_ours(row) for row in rows if row.key == key)]


def told_nobody(row: ListenerRow, rows: Sequence[ListenerRow]) -> bool:
    """Whether Optimove told nobody of campaigns on the channel id of a listener: it had none there, and none of another
    that hears of campaigns on all channels."""
    return row.state is ListenerState.MISSING and not any(
        other.leads_to is not None and other.event_type in _OF_CAMPAIGNS and other.channel_id in (None, row.channel_id)
        for other in rows
    )


_OF_CAMPAIGNS = (EventType.CAMPAIGN_PROCESSED, EventType.CHANNEL_EXECUTED)


def lost(row: ListenerRow) -> tuple[str, str]:
    """What happened to a listener that had been registered, and its mend, for the operator."""
    what = f"events of type {int(row.event_type)}"
    what += "" if row.channel_id is None else f" on channel id {row.channel_id}"
    where = "was gone" if row.leads_to is None else f"led somewhere else ({host_of(row.leads_to)})"
    mend = "It is registered again by itself. See who else uses this key at Optimove"
    meanwhile = _MEANWHILE.get(row.event_type)
    return f"Optimove's listener for {what} {where}", mend if meanwhile is None else f"{mend}. {meanwhile}"


_MEANWHILE: Mapping[int, str] = {
    EventType.CHANNEL_EXECUTED: "Campaigns that were announced meanwhile are found by the sweep",
    EventType.CAMPAIGN_CANCELLED: "What was cancelled meanwhile is not known here: `optirelay campaigns cancel` it",
    EventType.TRIGGERED: "What was triggered meanwhile never came here, and Optimove does not tell it again",
}


def without_secret(url: str) -> str:
    """The URL as it may be shown: its last part is a secret."""
    head, _, secret = url.rpartition("/")
    return f"{head}/…" if secret and "/optimove/" in head + "/" else url
