"""What became of messages, as counts and interactions for Optimove, cut into calls that can be frozen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec

from optirelay.model import CustomerId, FrozenCall, TemplateId
from optirelay.optimove import (
    Call,
    CampaignInteractions,
    CampaignMetric,
    update_campaign_interactions,
    update_campaign_metrics,
)

METRICS = "UpdateCampaignMetrics"
INTERACTIONS = "UpdateCampaignInteractions"


def metric_calls(
    campaign_id: int,
    channel_id: int,
    totals: Sequence[tuple[TemplateId, Mapping[str, int]]],
    *,
    metric_ids: Mapping[str, int],
    per_call: int,
) -> Iterator[FrozenCall]:
    """Totals by template and event, `per_call` counts a call."""
    metrics = [
        CampaignMetric(campaign_id, channel_id, template_id, metric_ids[event], value)
        for template_id, counts in totals
        for event, value in counts.items()
        if value
    ]
    for start in range(0, len(metrics), per_call):
        yield _freeze(update_campaign_metrics(metrics[start : start + per_call], limit=per_call), event="", customers=0)


def interaction_call(
    campaign_id: int,
    channel_id: int,
    template_id: TemplateId,
    event: str,
    on: date,
    customers: Sequence[CustomerId],
    *,
    interaction_ids: Mapping[str, int],
) -> FrozenCall:
    """Customers to whom the same happened on the same day, in one call."""
    interactions = CampaignInteractions(
        campaign_id=campaign_id,
        channel_id=channel_id,
        template_id=template_id,
        event_id=interaction_ids[event],
        interaction_on=on,
        customer_ids=customers,
    )
    call = update_campaign_interactions(interactions, limit=len(customers))
    return _freeze(call, event=event, customers=len(customers))


def _freeze(call: Call[None], *, event: str, customers: int) -> FrozenCall:
    return FrozenCall(call.name, event, customers, msgspec.json.encode(call.body))


def thaw(name: str, body: bytes) -> Call[None]:
    """The frozen call, to be sent byte for byte."""
    return replace(_CALLS[name], body=msgspec.Raw(body))


_NOBODY: Any = CampaignInteractions(
    campaign_id=0, channel_id=0, template_id=0, event_id=0, interaction_on=date.min, customer_ids=()
)
_CALLS: Mapping[str, Call[None]] = {
    METRICS: update_campaign_metrics([]),
    INTERACTIONS: update_campaign_interactions(_NOBODY),
}
