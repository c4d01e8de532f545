"""Batches as the ledger hands them out, and how messages of them go again."""

from dataclasses import dataclass, field
from datetime import date, datetime

from optirelay.model import CampaignId, ChannelName, TemplateId


@dataclass(frozen=True, slots=True, eq=False)
class TakenBatch:
    """A batch in the hands of one worker, until its lease lapses. Taken again, it is another one."""

    id: int
    campaign: int
    campaign_id: CampaignId
    planned_on: date
    template_id: TemplateId
    template_version: int | None
    started: int
    fence: int
    taken_from: str | None  # the worker that had it and went silent


@dataclass(slots=True)
class LockedBatch:
    """A batch and its counters, locked until the transaction ends. Change the counters here, then `write` it."""

    id: int
    campaign: int
    campaign_id: CampaignId
    started: int
    tries: int
    first_tried_at: datetime | None
    repeats: int  # times that its messages were begun before and nothing was heard
    template_id: TemplateId
    template_version: int | None
    channel: ChannelName
    planned_on: date
    triggered: bool
    added_up: bool  # its counters stood in the day's total, until it was locked
    total: int
    begun: int
    accepted: int
    in_doubt: int
    skipped: dict[str, int]
    refused: dict[str, int]
    owner: str | None
    fence: int
    done: bool
    told: int | None  # the report that took it
    begun_at: datetime | None  # when the last of its groups began
    campaign_state: str
    waiting: bool  # nothing of it may start: its channel waits, or is paused, or its campaign is

    @property
    def settled(self) -> bool:
        """Whether every message of it has an outcome."""
        return self.total == self.accepted + self.in_doubt + sum(self.skipped.values()) + sum(self.refused.values())

    @property
    def unstarted(self) -> int:
        """How many messages of it neither began nor were skipped."""
        return self.total - self.begun - sum(self.skipped.values())

    def count(self, state: str, reason: str | None, messages: int = 1) -> None:
        """So many more messages ended so."""
        if state == "accepted":
            self.accepted += messages
        elif state == "in_doubt":
            self.in_doubt += messages
        else:
            reasons = self.skipped if state == "skipped" else self.refused
            reasons[reason or ""] = reasons.get(reason or "", 0) + messages

    def uncount_refusal(self, reason: str) -> None:
        """One refusal less."""
        self.refused[reason] -= 1
        if not self.refused[reason]:
            del self.refused[reason]


@dataclass(frozen=True, slots=True)
class Again:
    """How messages go again: when, and what they have behind them."""

    due_at: datetime
    tries: int
    first_tried_at: datetime | None
    repeats: int
    newest: bool = False  # with their template as it is now


@dataclass(frozen=True, slots=True)
class Undecided:
    """A message whose outcome and events are to be compared."""

    message: int
    state: str
    reason: str | None
    by_event: bool  # an event told the outcome
    arrived: bool  # an event tells that it did
    dropped: bool  # one tells that nobody got it


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that did not end in acceptance."""

    message: int
    at: datetime
    outcome: str
    detail: str = field(repr=False)
