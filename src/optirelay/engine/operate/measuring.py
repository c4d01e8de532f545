"""What Prometheus is told: gauges that are read from the ledger when they are asked for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from optirelay.clock import utc_now
from optirelay.engine.operate.counting import planned_and_sending, state_of
from optirelay.model import TenantId
from optirelay.store import Store
from optirelay.store.measures import MeasuredCampaign, Measures

WORKER_SILENCE = timedelta(seconds=60)
Labels = tuple[str, ...]
Gauge = tuple[str, str, Labels, Iterable[tuple[Labels, float]]]


async def prometheus_text(store: Store, tenants: Sequence[TenantId]) -> bytes:
    """Every metric of these tenants and of the service, in Prometheus's text format. Raises StoreUnavailable."""
    async with store.measures(tenants) as measures:
        gauges = [
            *await _of_campaigns(measures),
            *await _of_what_is_told(measures),
            *await _of_work(measures),
        ]
    read = _Read([_family(*gauge) for gauge in gauges])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(read)
    return generate_latest(registry)


async def _of_campaigns(measures: Measures) -> list[Gauge]:
    campaigns = await measures.campaigns()
    recipients: Counter[Labels] = Counter()
    states: Counter[Labels] = Counter()
    for campaign in campaigns:
        place = (campaign.tenant, campaign.channel)
        for (state, reason), number in _recipients(campaign):
            recipients[*place, state, reason] += number
        states[*place, state_of(campaign)] += 1
    return [
        (
            "optirelay_recipients",
            "Messages of campaigns that are not over or ended in the last 8 days, by where they stand",
            ("tenant", "channel", "state", "reason"),
            recipients.items(),
        ),
        (
            "optirelay_campaigns",
            "Campaigns that are not over or ended in the last 8 days, by state",
            ("tenant", "channel", "state"),
            states.items(),
        ),
        (
            "optirelay_swept_campaigns",
            "Campaigns that no notification announced and a sweep found; not over or ended in the last 8 days",
            ("tenant", "channel"),
            [((row.tenant, row.channel), row.campaigns) for row in await measures.swept()],
        ),
    ]


def _recipients(campaign: MeasuredCampaign) -> Iterator[tuple[tuple[str, str], int]]:
    planned, sending = planned_and_sending(campaign, campaign.skipped, campaign.refused)
    yield ("planned", ""), planned
    yield ("sending", ""), sending
    yield ("accepted", ""), campaign.accepted
    yield ("in_doubt", ""), campaign.in_doubt
    yield from ((("skipped", reason), number) for reason, number in campaign.skipped.items())
    yield from ((("refused", reason), number) for reason, number in campaign.refused.items())


async def _of_what_is_told(measures: Measures) -> list[Gauge]:
    return [
        (
            "optirelay_notifications_waiting",
            "Notifications of Optimove that are kept and not read yet",
            ("tenant",),
            [((row.tenant,), row.waiting) for row in await measures.notifications()],
        ),
        (
            "optirelay_callbacks_waiting",
            "Callbacks of providers that are kept and not read yet",
            ("tenant",),
            [((row.tenant,), row.waiting) for row in await measures.callbacks()],
        ),
        (
            "optirelay_events",
            "Messages with a delivery event, by kind; of campaigns that are not over or ended in the last 8 days",
            ("tenant", "channel", "event"),
            [((row.tenant, row.channel, row.kind), row.messages) for row in await measures.events()],
        ),
    ]


async def _of_work(measures: Measures) -> list[Gauge]:
    return [
        (
            "optirelay_oldest_due_batch_late_seconds",
            "How long ago the oldest batch that could go and is not done was due",
            ("tenant", "channel"),
            [((row.tenant, row.channel), row.seconds) for row in await measures.lateness(utc_now())],
        ),
        (
            "optirelay_jobs_waiting",
            "Jobs to be done, now or at their next try",
            ("tenant", "job"),
            [((row.tenant, row.job), row.waiting) for row in await measures.jobs()],
        ),
        (
            "optirelay_report_batches",
            "Calls of reports to Optimove for campaigns that are not over or ended in the last 8 days, by state",
            ("tenant", "state"),
            [((row.tenant, row.state), row.batches) for row in await measures.reports()],
        ),
        (
            "optirelay_problems",
            "Problems that the operator is told, by kind; without a tenant: of the service itself",
            ("tenant", "kind"),
            [((row.tenant, row.kind), row.problems) for row in await measures.problems()],
        ),
        (
            "optirelay_workers",
            "Workers that reported in the last minute",
            (),
            [((), await measures.workers(WORKER_SILENCE))],
        ),
    ]


def _family(name: str, help_: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


class _Read(Collector):
    """What was read, as a registry wants it."""

    def __init__(self, families: Sequence[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._families
