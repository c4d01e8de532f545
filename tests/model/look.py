"""A look at the whole ledger between two steps: rows, and what batches say of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import psycopg

_LOOK = """
select json_build_object(
  'messages', (select coalesce(json_agg(json_build_array(m.id, m.planned_on, m.campaign, m.batch, m.pass, m.customer_id,
      m.template_id, coalesce(m.trigger_name, encode(m.occurrence, 'hex')), o.state, o.reason) order by m.id), '[]')
    from message m left join outcome o on o.tenant = m.tenant and o.planned_on = m.planned_on and o.message = m.id),
  'batches', (select coalesce(json_agg(json_build_array(id, campaign, owner, fence, started, tries, repeats, total,
      begun, accepted, in_doubt, skipped, refused, done_at is not null, told, lease_until > clock_timestamp(),
      due_at <= %(now)s) order by id), '[]')
    from batch),
  'campaigns', (select coalesce(json_agg(json_build_array(id, campaign_id, state, kind) order by id), '[]')
    from campaign),
  'passes', (select coalesce(json_agg(json_build_array(id, campaign, number, state) order by id), '[]') from pass),
  'pages', (select coalesce(json_agg(json_build_array(pass, reading, skip)), '[]') from page),
  'reports', (select coalesce(json_agg(json_build_array(id, campaign, call, state, encode(body, 'hex')) order by id),
      '[]') from report_batch),
  'jobs', (select coalesce(json_agg(json_build_array(id, task_name, args) order by id), '[]') from procrastinate_jobs),
  'notifications', (select count(*) from notification where state = 'new'),
  'outcomes', (select count(*) from outcome),
  'paused', (select array_agg(name::text) filter (where paused_at is not null) from channel)
)::text
"""


class MessageRow(msgspec.Struct, frozen=True, array_like=True):
    """A message and its outcome, if it has one."""

    id: int
    planned_on: str
    campaign: int
    batch: int
    pass_: int
    customer: str
    template: int | None
    occurrence: str  # of a triggered one the name of its trigger, which no two distinct ones share
    outcome: str | None
    reason: str | None


class BatchRow(msgspec.Struct, frozen=True, array_like=True):
    """A batch."""

    id: int
    campaign: int
    owner: str | None
    fence: int
    started: int
    tries: int
    repeats: int
    total: int
    begun: int
    accepted: int
    in_doubt: int
    skipped: dict[str, int]
    refused: dict[str, int]
    done: bool
    told: int | None
    leased: bool | None
    due: bool


class CampaignRow(msgspec.Struct, frozen=True, array_like=True):
    """A campaign."""

    id: int
    campaign_id: str
    state: str
    kind: str


class PassRow(msgspec.Struct, frozen=True, array_like=True):
    """A pass."""

    id: int
    campaign: int
    number: int
    state: str


class ReportRow(msgspec.Struct, frozen=True, array_like=True):
    """A call of a report."""

    id: int
    campaign: int
    call: str
    state: str
    body: str


class JobRow(msgspec.Struct, frozen=True, array_like=True):
    """A job that waits."""

    id: int
    name: str
    args: dict[str, Any]


class _Rows(msgspec.Struct, frozen=True):
    messages: list[MessageRow]
    batches: list[BatchRow]
    campaigns: list[CampaignRow]
    passes: list[PassRow]
    pages: list[tuple[int, int, int]]
    reports: list[ReportRow]
    jobs: list[JobRow]
    notifications: int
    outcomes: int
    paused: list[str] | None


_ROWS = msgspec.json.Decoder(_Rows)


@dataclass(frozen=True)
class Place:
    """Where a message stands."""

    state: str
    reason: str | None
    row: MessageRow
    batch: BatchRow

    def __str__(self) -> str:
        """For people."""
        return f"{self.state}{f' ({self.reason})' if self.reason else ''} in batch {self.batch.id}"


@dataclass(frozen=True)
class Look:
    """The ledger at one moment."""

    rows: _Rows

    @cached_property
    def batches(self) -> Mapping[int, BatchRow]:
        """By number."""
        return {batch.id: batch for batch in self.rows.batches}

    @cached_property
    def campaigns(self) -> Mapping[int, CampaignRow]:
        """By number."""
        return {campaign.id: campaign for campaign in self.rows.campaigns}

    @cached_property
    def places(self) -> Mapping[int, Place]:
        """Where each message stands, by its outcome and its batch."""
        places = {}
        for row in self.rows.messages:
            batch = self.batches[row.batch]
            state = row.outcome or ("sending" if row.id <= batch.started else "planned")
            places[row.id] = Place(state, row.reason, row, batch)
        return places

    @cached_property
    def counted(self) -> Mapping[int, Counter[tuple[str, str | None]]]:
        """How many messages of a batch stand where, by rows."""
        counted: dict[int, Counter[tuple[str, str | None]]] = {batch: Counter() for batch in self.batches}
        for place in self.places.values():
            counted[place.batch.id][place.state, place.reason] += 1
        return counted

    def of_state(self, state: str) -> list[Place]:
        """Messages that stand there, by number."""
        return [place for place in self.places.values() if place.state == state]


def look(sql: psycopg.Connection[Any], now: datetime) -> Look:
    """Everything at one moment; `now` is what workers take for the time."""
    row = sql.execute(_LOOK, {"now": now}).fetchone()
    assert row is not None
    return Look(_ROWS.decode(row[0]))
