"""The intake of engagement metrics: saveEvent, at a host of its own, signed and without an API key.

https://developer.optimove.com/docs/external-vendors-campaign-engagement-metrics, of which only the first part was read:
names of events, the fields of `context`, time stamps, statuses and bodies of answers are deduced.
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from optirelay.simulator.clock import utc_now
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Request
from optirelay.simulator.world import Tenant, World

PATH = "/api/saveevent"
VERSION = "1"
MAX_AGE = timedelta(days=7)


class EventRefused(Refused):
    """The answer of a sibling of this call (github optimove-tech/Reporting-Server-Side-Custom-Events)."""

    def __init__(self, text: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        message = f"Failed to validate the event with the following error - {text}"
        super().__init__(text, status, value={"status": "error", "message": message})


def is_event(request: Request) -> bool:
    """Whether this is for the intake, which stands under any path."""
    return request.path.lower().endswith(PATH)


def tenant_of(world: World, request: Request) -> Tenant:
    """The tenant whose token signed these very bytes. EventRefused where there is none."""
    version = request.headers.get("x-optimove-signature-version")
    if version != VERSION:
        raise EventRefused(f"X-Optimove-Signature-Version has to be {VERSION}, not {version}", HTTPStatus.UNAUTHORIZED)
    given = request.headers.get("x-optimove-signature-content", "")
    for tenant in world.tenants.values():
        if tenant.metrics_token is None:
            continue
        right = hmac.new(tenant.metrics_token.encode(), request.body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(right.encode(), given.encode()):
            return tenant
    raise EventRefused("the signature is that of no tenant", HTTPStatus.UNAUTHORIZED)


def check(body: Any) -> None:
    """One event, or an array of them: all are taken or none, with an EventRefused."""
    events = body if isinstance(body, list) else [body]
    if not events:
        raise EventRefused("there is no event")
    for event in events:
        _check_one(event)


def _check_one(event: Any) -> None:
    if not isinstance(event, dict):
        raise EventRefused("an event has to be an object")
    if not isinstance(event.get("event"), str) or not event["event"]:
        raise EventRefused("event is missing or is no text")
    if event.get("category") != "metric":
        raise EventRefused('category has to be "metric"')
    if not any(isinstance(event.get(who), str) and event[who] for who in ("customer", "visitor")):
        raise EventRefused("neither customer nor visitor is there")
    if not isinstance(event.get("context"), dict):
        raise EventRefused("context is missing or is no object")
    if utc_now() - _time(event.get("timestamp")) > MAX_AGE:
        raise EventRefused(f"timestamp is older than {MAX_AGE.days} days")


def _time(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise EventRefused("timestamp is missing or is no time") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
