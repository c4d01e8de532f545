"""Row by row: whom Optimove chose, what the receiver's log has, what the ledger says, what Optimove was told."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crash.house import CHANNEL, TENANT, House
from crash.receipts import Receipt
from optirelay.store.sids import sid_of

SENT = 0  # Optimove's number for it, of interactions and of metrics
UNUSABLE = frozenset({"no_address", "bad_address"})
_ADDRESS = re.compile(r"[\w+-]+(\.[\w+-]+)*@[\w-]+(\.[\w-]+)+")
_ROWS = """
select s.tenant, s.planned_on, s.id, s.customer_id, s.template_id, s.address, s.state, s.reason
from message_state s join campaign c on c.tenant = s.tenant and c.id = s.campaign where c.campaign_id = %s
"""


class Person(NamedTuple):
    """Somebody whom Optimove chose."""

    customer_id: str
    template_id: int
    address: str | None  # None: none that a mail could go to


class Row(NamedTuple):
    """One message in the ledger."""

    sid: str
    customer_id: str
    template_id: int
    state: str
    reason: str | None


@dataclass
class Verdict:
    """What came out. The lists name customers, or sids."""

    expected: int = 0
    unusable: int = 0  # people without an address, each of them skipped for it
    arrived: int = 0
    repeats: int = 0  # answered by the receiver and not delivered again
    explained: Counter[str] = field(default_factory=Counter)  # refused, or skipped for another reason, by reason
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)  # receipts of a message that was not theirs, or of none
    contradicted: list[str] = field(default_factory=list)  # arrived, and the ledger says otherwise
    left_in_doubt: list[str] = field(default_factory=list)
    accepted: int = 0
    reported: int | None = None  # None: a case that does not look at it
    not_reported: list[str] = field(default_factory=list)
    wrongly_reported: list[str] = field(default_factory=list)  # twice, or not accepted
    wrong_totals: list[str] = field(default_factory=list)
    # Told by whoever resolved them:
    in_doubt: int = 0
    in_doubt_arrived: int = 0
    reports_in_doubt: int = 0
    allowed_in_doubt: int = 0
    # Told by a case:
    more: list[tuple[str, str]] = field(default_factory=list)  # what else it counted
    troubles: list[str] = field(default_factory=list)  # what else was promised and not kept

    def missed(self) -> list[str]:
        """A sentence for each promise that was missed."""
        found = [
            f"{what}: {len(names)}, such as {', '.join(names[:3])}"
            for what, names in {
                "lost": self.lost,
                "written to twice": self.doubled,
                "received by somebody who was not meant": self.strangers,
                "arrived, and something else in the ledger": self.contradicted,
                "in doubt after the operator resolved all": self.left_in_doubt,
                "accepted and not reported to Optimove": self.not_reported,
                "reported to Optimove twice, or not accepted": self.wrongly_reported,
                "totals at Optimove that are not the ledger's": self.wrong_totals,
            }.items()
            if names
        ]
        if self.in_doubt > self.allowed_in_doubt:
            found.append(f"in doubt: {self.in_doubt}, where {self.allowed_in_doubt} are allowed")
        return found + self.troubles


async def compare(house: House, campaign: int) -> Verdict:
    """Read all four sides anew and compare them."""
    chosen = await house.told("customers", tenant=TENANT, campaign=campaign)
    rows = await ledger_rows(house, campaign)
    verdict = Verdict(expected=len(chosen))
    receipts = [receipt for receipt in house.receiver.receipts() if not receipt.again]
    verdict.arrived = len(receipts)
    verdict.repeats = len(house.receiver.receipts()) - len(receipts)
    _who_got_what(verdict, [_person(row) for row in chosen], receipts, rows)
    _who_was_reported(verdict, rows, await _reported(house, campaign))
    _totals(verdict, rows, await _metrics(house, campaign))
    return verdict


async def ledger_rows(house: House, campaign: int) -> list[Row]:
    """The campaign's messages."""
    return [
        Row(sid_of(tenant, planned_on, number), customer_id, template_id, state, reason)
        for tenant, planned_on, number, customer_id, template_id, _, state, reason in await house.rows(
            _ROWS, str(campaign)
        )
    ]


def _person(row: Any) -> Person:
    address = row["CustomerAttributes"]["EMAIL"]
    usable = isinstance(address, str) and _ADDRESS.fullmatch(address) is not None
    return Person(row["CustomerID"], int(row["TemplateID"]), address if usable else None)


def _who_got_what(verdict: Verdict, people: Sequence[Person], receipts: Sequence[Receipt], rows: Sequence[Row]) -> None:
    """An address is one person's, so that the receipts alone tell who got what; sid and ledger must agree with them."""
    received = Counter((receipt.to, receipt.template_id) for receipt in receipts)
    verdict.doubled = [to for to, _ in (received - Counter(received.keys())).elements()]
    by_person = {(row.customer_id, row.template_id): row for row in rows}
    meant = {}
    for person in people:
        row = by_person.get((person.customer_id, person.template_id))
        if row is not None and person.address is not None:
            meant[row.sid] = (person.address, person.template_id)
        _judge(verdict, person, row, arrived=(person.address, person.template_id) in received)
    verdict.strangers = [r.to for r in receipts if meant.get(r.sid) != (r.to, r.template_id)]


def _judge(verdict: Verdict, person: Person, row: Row | None, *, arrived: bool) -> None:
    if row is None:
        verdict.lost.append(person.customer_id)
    elif row.state == "in_doubt":
        verdict.left_in_doubt.append(row.sid)
    elif arrived:
        if row.state != "accepted":
            verdict.contradicted.append(person.customer_id)
    elif person.address is None and row.state == "skipped" and row.reason in UNUSABLE:
        verdict.unusable += 1
    elif row.state in ("skipped", "refused") and row.reason not in UNUSABLE:
        verdict.explained[f"{row.state}: {row.reason}"] += 1
    else:
        verdict.lost.append(person.customer_id)


def _who_was_reported(verdict: Verdict, rows: Sequence[Row], told: Counter[tuple[str, int]]) -> None:
    accepted = Counter((row.customer_id, row.template_id) for row in rows if row.state == "accepted")
    verdict.accepted, verdict.reported = accepted.total(), told.total()
    verdict.not_reported = [customer for customer, _ in accepted - told]
    verdict.wrongly_reported = [customer for customer, _ in told - accepted]


def _totals(verdict: Verdict, rows: Sequence[Row], totals: dict[int, int]) -> None:
    accepted = Counter(row.template_id for row in rows if row.state == "accepted")
    verdict.wrong_totals = [
        f"template {number}: {totals.get(number, 0)} and {count}"
        for number, count in sorted(accepted.items())
        if totals.get(number, 0) != count
    ]


async def _reported(house: House, campaign: int) -> Counter[tuple[str, int]]:
    """Customer and template of every interaction `sent`, as often as it was told."""
    told: Counter[tuple[str, int]] = Counter()
    for call in await house.told("interactions"):
        body = call["body"]
        if int(body["CampaignID"]) == campaign and int(body["EventID"]) == SENT:
            told.update((customer, int(body["TemplateID"])) for customer in body["CustomerIDs"])
    return told


async def _metrics(house: House, campaign: int) -> dict[int, int]:
    """Template: the last total of `sent` that was told."""
    return {
        int(row["TemplateID"]): int(row["MetricValue"])
        for call in await house.told("metrics")
        for row in call["body"]
        if (int(row["CampaignID"]), int(row["ChannelID"]), int(row["MetricID"])) == (campaign, CHANNEL, SENT)
    }
