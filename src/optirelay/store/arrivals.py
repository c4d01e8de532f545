"""What all tenants have in common: requests as they arrived, and problems as the operator is shown them."""

from dataclasses import dataclass, field
from datetime import datetime

from optirelay.model import ChannelName, TenantId


@dataclass(frozen=True, slots=True)
class Notification:
    """One request of Optimove as it arrived."""

    tenant: int
    id: int
    hash: bytes
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Callback:
    """One request of a provider as it arrived."""

    tenant: int
    channel: ChannelName
    key: bytes
    id: int
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One problem, as the operator is shown it."""

    kind: str
    tenant: TenantId | None
    channel: str | None
    campaign_id: str | None
    since: datetime
    problem: str
    mend: str
