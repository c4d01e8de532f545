"""Recipients become batches of messages, each message once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from optirelay.model import MESSAGES_PER_BATCH, PlannedBatch, Recipient, TemplateId

_NEVER = datetime.max.replace(tzinfo=UTC)


def batches(recipients: Iterable[Recipient]) -> list[PlannedBatch]:
    """A page's recipients, each distinct message once: one template a batch, at most 1,000, by send time.

    Two messages are one when customer, template and send time are equal; the first row wins.
    """
    by_template: defaultdict[TemplateId | None, list[Recipient]] = defaultdict(list)
    for recipient in _distinct(recipients):
        by_template[recipient.template_id].append(recipient)
    for group in by_template.values():
        group.sort(key=lambda r: r.send_at or _NEVER)
    return [
        PlannedBatch(template_id, tuple(group[start : start + MESSAGES_PER_BATCH]))
        for template_id, group in by_template.items()
        for start in range(0, len(group), MESSAGES_PER_BATCH)
    ]


def _distinct(recipients: Iterable[Recipient]) -> Iterator[Recipient]:
    seen = set()
    for recipient in recipients:
        key = (recipient.customer_id, recipient.template_id, recipient.send_at)
        if key not in seen:
            seen.add(key)
            yield recipient
