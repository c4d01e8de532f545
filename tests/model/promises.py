"""What must be so of the ledger at every moment, and what may change between two of them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from optirelay.model import ChannelName, Contract, InDoubtRule, Sid
from optirelay.store.sids import sid_of
from tests.model.look import Look, Place
from tests.model.outside import Provider
from tests.model.worker import Worker

Key = tuple[int, str, int | None, str]
"""A message as Optimove means it: campaign, customer, template, occurrence."""
ENDS = {"accepted", "skipped", "refused"}
GIVEN_UP = "given_up"


@dataclass
class Story:
    """What the model knows beside the ledger."""

    tenant: int
    channel: ChannelName
    provider: Provider
    rule: InDoubtRule
    planned: dict[Key, int] = field(default_factory=dict)  # what Optimove served and the ledger took: its pass
    pages: set[tuple[int, int, int]] = field(default_factory=set)  # that the ledger took
    refused: set[int] = field(default_factory=set)  # messages that ever were
    _sids: dict[int, Sid] = field(default_factory=dict)

    def sid(self, place: Place) -> Sid:
        """The message's sid."""
        known = self._sids.get(place.row.id)
        if known is None:
            known = sid_of(self.tenant, date.fromisoformat(place.row.planned_on), place.row.id)
            self._sids[place.row.id] = known
        return known

    def arrived(self, place: Place) -> int:
        """How many the person really got."""
        return self.provider.arrived[self.sid(place)]

    @property
    def may_double(self) -> bool:
        """The operator wants repeats that the provider does not know for repeats."""
        return self.rule is InDoubtRule.REPEAT and self.provider.contract is Contract.HOLD


# --- at every moment --------------------------------------------------------------------------------------------------


def counters_equal_rows(now: Look) -> None:
    """Every batch's counters say what its rows say; it is done when all of it is over; each outcome has a message."""
    assert now.rows.outcomes == sum(row.outcome is not None for row in now.rows.messages), "an outcome of nobody"
    for batch in now.rows.batches:
        by_rows = now.counted[batch.id]
        states: dict[str, int] = dict.fromkeys(("accepted", "in_doubt", "sending", "refused"), 0)
        reasons: dict[str, dict[str | None, int]] = {"skipped": {}, "refused": {}}
        for (state, reason), count in by_rows.items():
            states[state] = states.get(state, 0) + count
            if state in reasons:
                reasons[state][reason] = count
        begun = sum(states[state] for state in ("accepted", "in_doubt", "sending", "refused"))
        counted = (sum(by_rows.values()), begun, states["accepted"], states["in_doubt"], *reasons.values())
        said = (batch.total, batch.begun, batch.accepted, batch.in_doubt, batch.skipped, batch.refused)
        assert said == counted, f"batch {batch.id} says {said}, its rows {counted}"
        over = not states["sending"] and not states.get("planned", 0)
        assert batch.done == over, f"batch {batch.id} is {'done' if batch.done else 'open'}: {dict(by_rows)}"


def campaigns_are_complete_at_their_end(now: Look) -> None:
    """A campaign is complete only where no batch and no pass is open."""
    for campaign in now.rows.campaigns:
        if campaign.state in ("complete", "cancelled"):
            passes = [row.id for row in now.rows.passes if row.campaign == campaign.id and row.state != "done"]
            assert not passes, f"campaign {campaign.id} is {campaign.state}, and passes {passes} are open"
        if campaign.state == "complete":
            batches = [row.id for row in now.rows.batches if row.campaign == campaign.id and not row.done]
            assert not batches, f"campaign {campaign.id} is complete, and batches {batches} are open"


def everybody_is_planned_once(now: Look, story: Story) -> None:
    """Whom Optimove named in a page that the ledger took has one message, and nobody else has."""
    keys = [(row.campaign, row.customer, row.template, row.occurrence) for row in now.rows.messages]
    assert len(keys) == len(set(keys)), "twice the same message"
    assert set(keys) == set(story.planned), f"{set(keys) ^ set(story.planned)} are planned or not, and should not"


def the_ledger_tells_what_happened(now: Look, story: Story) -> None:
    """Accepted is what arrived; what was skipped or refused, or is still to go, did not."""
    for number, place in now.places.items():
        arrived = story.arrived(place)
        match place.state:
            case "accepted":
                assert arrived, f"message {number} is accepted, and never arrived"
            case "skipped":
                assert not arrived, f"message {number} is skipped, and arrived"
            case "refused" if place.reason != GIVEN_UP and not story.may_double:
                assert not arrived, f"message {number} is refused ({place.reason}), and arrived"
            case "planned":
                assert not arrived or place.batch.repeats, f"message {number} goes again as if it had not arrived"
                assert (
                    not arrived or story.rule is not InDoubtRule.HOLD or story.provider.contract is not Contract.HOLD
                ), f"message {number} arrived and goes again"
        assert arrived <= 1 or story.may_double, f"message {number} arrived {arrived} times"


def nobody_is_forgotten(now: Look, workers: Collection[Worker]) -> None:
    """Whatever is being sent is in somebody's hands: it is under way there, or its lease will lapse."""
    holders = {(worker.name, batch.id, batch.fence): worker for worker in workers for batch in worker.held()}
    for place in now.of_state("sending"):
        owner = place.batch.owner
        assert owner is not None, f"message {place.row.id} is being sent, and its batch {place.batch.id} is nobody's"
        worker = holders.get((owner, place.batch.id, place.batch.fence))
        if worker is None:
            continue
        spoken_for: set[int] = set()
        for batch in worker.held():
            if (batch.id, batch.fence) == (place.batch.id, place.batch.fence):
                spoken_for |= worker.spoken_for(batch)
        unsure = worker.unsure and worker.batch is not None and worker.batch.id == place.batch.id
        assert unsure or place.row.id in spoken_for, f"worker {owner} has forgotten message {place.row.id}"


# --- between two moments ----------------------------------------------------------------------------------------------


def batches_only_go_on(before: Look, after: Look) -> None:
    """`started` and the fence never go back; what was done or told stays so; what a batch has behind it is fixed."""
    for number, old in before.batches.items():
        new = after.batches[number]
        assert new.started >= old.started, f"batch {number}: started goes back"
        assert new.fence >= old.fence, f"batch {number}: its fence goes back"
        assert new.done or not old.done, f"batch {number} was done, and is open"
        assert old.told in (None, new.told), f"batch {number} is told twice"
        assert (new.tries, new.repeats, new.campaign) == (old.tries, old.repeats, old.campaign)


def campaigns_only_go_on(before: Look, after: Look) -> None:
    """A cancelled campaign stays cancelled."""
    for number, old in before.campaigns.items():
        assert old.state != "cancelled" or after.campaigns[number].state == "cancelled"


def messages_only_go_on(before: Look, after: Look, doing: str) -> None:
    """From every state only where it may lead."""
    youngest = max(before.batches, default=0)
    for number, old in before.places.items():
        new = after.places[number]
        if (old.state, old.reason, old.batch.id) == (new.state, new.reason, new.batch.id):
            continue
        what = (
            f"message {number}: {old.state} ({old.reason}) in batch {old.batch.id} "
            f"to {new.state} ({new.reason}) in batch {new.batch.id}"
        )
        if old.batch.id != new.batch.id:
            assert new.state == "planned" or new.batch.repeats, what  # what it came to at first is heard, too
            assert new.batch.id > youngest, f"{what}: not a new batch"
        assert _ALLOWED[old.state](old, new, before, doing), what


def _from_planned(old: Place, new: Place, before: Look, doing: str) -> bool:
    if new.state == "sending":
        return before.campaigns[old.row.campaign].state == "open" and not before.rows.paused and doing == "turn"
    if new.state == "planned":  # what waits, of which nothing has begun, goes on together
        return doing == "turn" and (old.batch.started, old.batch.tries, old.batch.repeats) == (0, 0, 0)
    if new.state == "skipped":
        return not old.batch.repeats
    return old.batch.repeats > 0 and new.state in ("in_doubt", "accepted", "refused")


def _from_sending(old: Place, new: Place, before: Look, doing: str) -> bool:
    return new.state in ("accepted", "refused", "in_doubt", "planned")


def _from_in_doubt(old: Place, new: Place, before: Look, doing: str) -> bool:
    return new.state in ("accepted", "refused", "planned")


def _from_refused(old: Place, new: Place, before: Look, doing: str) -> bool:
    return doing == "retry_refused" and old.reason != GIVEN_UP and new.state == "planned"


def _never(old: Place, new: Place, before: Look, doing: str) -> bool:
    return False


_ALLOWED: Mapping[str, Callable[[Place, Place, Look, str], bool]] = {
    "planned": _from_planned,
    "sending": _from_sending,
    "in_doubt": _from_in_doubt,
    "refused": _from_refused,
    "accepted": _never,
    "skipped": _never,
}


def check(before: Look, after: Look, story: Story, workers: Collection[Worker], doing: str) -> None:
    """All of it."""
    batches_only_go_on(before, after)
    campaigns_only_go_on(before, after)
    messages_only_go_on(before, after, doing)
    counters_equal_rows(after)
    campaigns_are_complete_at_their_end(after)
    everybody_is_planned_once(after, story)
    the_ledger_tells_what_happened(after, story)
    nobody_is_forgotten(after, workers)
    story.refused |= {place.row.id for place in after.of_state("refused")}
