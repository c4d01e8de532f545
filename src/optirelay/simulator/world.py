"""What the simulator knows and what it was told: state, and nothing that reaches outside."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from typing import Any, NamedTuple
from uuid import UUID

from optirelay.simulator.attributes import ADDED_BY_HAND, MADE, Attribute
from optirelay.simulator.campaigns import Campaign
from optirelay.simulator.clock import iso_time
from optirelay.simulator.customers import Customers
from optirelay.simulator.faults import Fault
from optirelay.simulator.opt_ins import Folder
from optirelay.simulator.quirks import Quirks
from optirelay.simulator.seeded import bytes_from
from optirelay.simulator.triggers import Trigger

FIRST_CAMPAIGN_ID = 90_001
MOST_GENERATED = 1000  # of generated notifications so many are kept, the newest
KINDS = (
    *("listeners", "templates", "apps", "metrics", "interactions", "attributes", "preferences", "promotions"),
    *("events", "gateway", "calls", "notifications", "callbacks"),
)


class ListenerKey(NamedTuple):
    """What a listener hears: one type, on one channel or, with None, on all."""

    event_type: int
    channel_id: int | None


class MetricKey(NamedTuple):
    """What one total is about."""

    campaign_id: int
    channel_id: int
    template_id: int
    metric_id: int


class InteractionKey(NamedTuple):
    """What a number of customers is about; the same again adds to it."""

    campaign_id: int
    channel_id: int
    template_id: int
    event_id: int
    happened_on: str
    recipient_group_id: int
    app_id: str | None


class Template(NamedTuple):
    """What marketers can pick; for push it may belong to an app."""

    name: str
    app_id: str | None


@dataclass(slots=True)
class ApiKey:
    """What a caller shows, and what it may do; each key has a budget of its own.

    A client makes one for its partner and picks an access type, the channels, and the attributes that may be read:
    https://developer.optimove.com/docs/generating-api-keys-1, docs.delivyr.net/docs/optimove.
    """

    text: str = field(repr=False)
    integrations: bool = False  # a third party's calls alone
    channels: frozenset[int] | None = None  # None: all
    attributes: frozenset[str] | None = None
    called_at: deque[datetime] = field(default_factory=deque)

    def may_call(self, quirks: Quirks, now: datetime) -> bool:
        """Whether the key's budget has room for one more call, which is then counted; refused calls cost nothing."""
        calls, window = quirks.budget()
        while self.called_at and now - self.called_at[0] >= window:
            self.called_at.popleft()
        if len(self.called_at) >= calls:
            return False
        self.called_at.append(now)
        return True


@dataclass(slots=True)
class Tenant:
    """One Optimove customer: its data, and what it was told."""

    tenant_id: int
    keys: list[ApiKey]
    channels: dict[int, str]
    customers: Customers
    metrics_token: str | None = field(default=None, repr=False)
    closed: frozenset[str] = frozenset()  # attributes that UpdateCustomerAttributes may not change
    listeners: dict[ListenerKey, str] = field(default_factory=dict)
    templates: defaultdict[int, dict[int, Template]] = field(default_factory=lambda: defaultdict(dict))
    apps: defaultdict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # names by AppID
    metrics: dict[MetricKey, int] = field(default_factory=dict)
    interactions: Counter[InteractionKey] = field(default_factory=Counter)
    who_interacted: defaultdict[InteractionKey, list[list[str]]] = field(default_factory=lambda: defaultdict(list))
    added_attributes: dict[str, Attribute] = field(default_factory=dict)  # by API
    defaults: dict[str, str] = field(default_factory=dict)  # of those
    preferences: defaultdict[tuple[int, str | None], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    promotions: dict[str, str] = field(default_factory=dict)  # names by code
    gateway: str | None = None  # asked before a trigger fires
    opt_ins: Folder | None = None  # where files of them arrive

    def urls(self, event_type: int, channel_id: int) -> list[str]:
        """Where this type is heard on this channel: by its own listener and by the one of all channels."""
        return [
            url
            for key, url in self.listeners.items()
            if key.event_type == event_type and key.channel_id in (None, channel_id)
        ]

    def template_name(self, channel_id: int, template_id: int) -> str | None:
        """What a template is called; None for one that was never added."""
        template = self.templates.get(channel_id, {}).get(template_id)
        return template and template.name

    def attribute(self, name: str) -> Attribute | None:
        """An attribute by its RealFieldName; None where the tenant has none such."""
        if name in self.customers.names and name not in MADE:
            return Attribute(name, ADDED_BY_HAND)
        return self.added_attributes.get(name) or MADE.get(name)

    def attributes(self) -> list[Attribute]:
        """All of them: those of made customers, those of added ones, those added by API."""
        names = dict.fromkeys((*MADE, *self.customers.names, *self.added_attributes))
        return [attribute for name in names if (attribute := self.attribute(name))]


@dataclass(slots=True)
class World:
    """Everything at once; one simulator, one world."""

    seed: int
    quirks: Quirks = field(default_factory=Quirks)
    tenants: dict[int, Tenant] = field(default_factory=dict)
    campaigns: list[Campaign] = field(default_factory=list)
    triggers: dict[tuple[int, str], Trigger] = field(default_factory=dict)  # by tenant and campaign
    faults: list[Fault] = field(default_factory=list)
    told: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    generated: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_GENERATED))
    requests: int = 0
    not_kept: int = 0  # notifications that were generated before those

    def key_with(self, text: str) -> tuple[Tenant, ApiKey] | None:
        """The tenant that this API key belongs to, and what the key may do."""
        return next(
            ((tenant, key) for tenant in self.tenants.values() for key in tenant.keys if key.text == text), None
        )

    def new_request_id(self) -> str:
        """What an asynchronous answer will name; the same for the same seed."""
        self.requests += 1
        return str(UUID(bytes=bytes_from(f"{self.seed}:request:{self.requests}")[:16], version=4))

    def campaigns_with(self, campaign_id: int, tenant_id: int | None = None) -> list[Campaign]:
        """The campaign on each of its channels, of one tenant or of all."""
        return [
            campaign
            for campaign in self.campaigns
            if campaign.campaign_id == campaign_id and tenant_id in (None, campaign.tenant_id)
        ]

    def new_campaign_id(self) -> int:
        """One that no campaign has yet."""
        taken = [campaign.campaign_id for campaign in self.campaigns]
        taken += [trigger.campaign_id for trigger in self.triggers.values() if isinstance(trigger.campaign_id, int)]
        return max(taken, default=FIRST_CAMPAIGN_ID - 1) + 1

    def next_fault(self, call: str) -> Fault | None:
        """The fault that this call meets, used up once."""
        for fault in self.faults:
            if fault.call == call:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault
        return None

    def remember(self, kind: str, tenant_id: int | None, now: datetime, **entry: Any) -> dict[str, Any]:
        """Keep what happened, newest last."""
        kept = {"at": iso_time(now), "tenant": tenant_id, **entry}
        self.told[kind].append(kept)
        return kept

    def remember_generated(self, tenant_id: int, now: datetime, **entry: Any) -> dict[str, Any]:
        """Keep a notification for as long as it is one of the newest."""
        self.not_kept += len(self.generated) == MOST_GENERATED
        kept = {"at": iso_time(now), "tenant": tenant_id, **entry}
        self.generated.append(kept)
        return kept

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """What is kept of a kind, newest last."""
        if kind != "notifications":
            return self.told[kind]
        return list(merge(self.told[kind], self.generated, key=lambda entry: entry["at"]))
