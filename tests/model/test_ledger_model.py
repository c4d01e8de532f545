"""The ledger against a model: whatever is done in whatever order, and killed wherever, nobody is lost or doubled."""

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from optirelay.engine import operate
from optirelay.engine.operate import Decision
from optirelay.model import Answer, CampaignKind, ChannelName, Later, Refusal, Refused
from tests.conftest import MakeSettings
from tests.house import ACME
from tests.model.cuts import Cut, How
from tests.model.ending import all_ends
from tests.model.example import FIRST_CAMPAIGN, FIRST_TRIGGERED, Example, Recipients, Trigger
from tests.model.look import CampaignRow
from tests.model.outside import Fate, Trouble
from tests.model.worker import Worker
from tests.model.world import CHANNELS, World, open_world

MORE = "OPTIRELAY_MODEL_STEPS"  # so many instead, and others on each run: `scripts/test tests/model --timeout 0`
STEPS = int(os.environ.get(MORE, "1000"))  # at least
STEPS_PER_EXAMPLE = 80
EXAMPLES = STEPS // 52  # some examples are shorter
MOST_WORKERS = 3
MOST_PASSES = 8
MOST_TRIGGERS = 30

PICK = st.integers(0, 7)  # one of several, however many there are
CUTS = st.one_of(
    st.none(), st.none(), st.builds(Cut, st.sampled_from([*How, How.UNANSWERED]), st.sampled_from([0, 0, 0, 1, 2, 3]))
)
FATES = st.lists(st.sampled_from([Fate.ARRIVES, *Fate]), max_size=4)
SILENCES = st.lists(st.sampled_from([False, False, True]), max_size=4)
WHEN = st.sampled_from(["now", "now", "now", "later", "nowhere"])
ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 1), WHEN), min_size=2, max_size=8, unique_by=lambda row: row[0]
)
TRIGGERS = st.lists(
    st.tuples(
        st.sampled_from([FIRST_TRIGGERED, FIRST_TRIGGERED + 1]),
        st.integers(0, 4),
        st.integers(0, 1),
        st.sampled_from(["now", "now", "now", "nowhere"]),
    ),
    max_size=3,
)
COMMIT_CUTS = st.one_of(st.none(), st.builds(Cut, st.sampled_from([*How, How.UNANSWERED]), st.just(0)))
SOON, LATER, TOO_LATE = timedelta(seconds=25), timedelta(minutes=20), timedelta(hours=25)
WHILES = st.sampled_from([SOON, SOON, SOON, LATER, LATER, timedelta(hours=5), TOO_LATE])
TROUBLES = (
    "optimove_cancels",
    "kill",
    "stop",
    "silent_for_too_long",
    "pause_campaign",
    "cancel_campaign",
    "pause_channel",
    "retry_refused",
    "resolve",
)
"""Acts some of which an example leaves out, so that others come more often one after another."""
REFUSALS: Sequence[Answer] = (Refused(Refusal.RENDER_FAILED, "no such filter"), Later("no room"))

Command = Callable[..., Coroutine[Any, Any, object]]
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody may do next."""

    times: int  # as often as others
    possible: Callable[[Any], object]
    arguments: Mapping[str, SearchStrategy[Any]]


ACTS: dict[str, Act] = {}


def act(times: int, possible: Callable[[Any], object] = bool, **arguments: SearchStrategy[Any]) -> Callable[[F], F]:
    """What follows is an act, done so many times as often as others, where it is possible."""

    def keep(doing: F) -> F:
        ACTS[doing.__name__] = Act(times, possible, arguments)
        return doing

    return keep


class LedgerMachine(RuleBasedStateMachine):
    """Two or three workers, an operator, Optimove and a provider, each doing its next thing at any time."""

    steps: ClassVar[int] = 0  # of all examples

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.example: Example
        self.never: set[str]

    @initialize(channel=st.sampled_from(list(CHANNELS)), rows=ROWS, never=st.sets(st.sampled_from(TROUBLES)))
    def begin(self, channel: ChannelName, rows: Recipients, never: set[str]) -> None:
        self.never = never
        self.example = Example(self.world, channel)
        worker = self.example.start_worker()
        self.example.start_worker()
        self.example.announce(FIRST_CAMPAIGN, rows, None)
        self.example.run_job(worker, self.example.now.rows.jobs[0])

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Somebody does the next thing."""
        LedgerMachine.steps += 1
        possible = [
            name
            for name, act in ACTS.items()
            if name not in self.never and act.possible(self)
            for _ in range(act.times)
        ]
        name = data.draw(st.sampled_from(possible), label="what")
        arguments = {key: data.draw(strategy, label=key) for key, strategy in ACTS[name].arguments.items()}
        getattr(self, name)(**arguments)

    # --- Optimove, and the jobs that it puts --------------------------------------------------------------------------

    @act(2, lambda self: self.passes() < MOST_PASSES, which=PICK, rows=ROWS, cut=CUTS)
    def announce(self, which: int, rows: Recipients, cut: Cut | None) -> None:
        scheduled = [row for row in self.example.now.rows.campaigns if row.kind == "scheduled"]
        open_ones = [int(row.campaign_id) for row in scheduled if row.state != "cancelled"]
        latest = max((int(row.campaign_id) for row in scheduled), default=FIRST_CAMPAIGN - 1)
        self.example.announce(self.one_of([latest + 1, *open_ones], which), rows, cut)

    @act(
        4,
        lambda self: len(self.example.triggers) < MOST_TRIGGERS,
        triggers=TRIGGERS,
        again=st.lists(PICK, max_size=2),
        who=st.none() | PICK,
        cut=COMMIT_CUTS,
    )
    def meet(self, triggers: list[Trigger], again: list[int], who: int | None, cut: Cut | None) -> None:
        known = len(self.example.triggers) + len(triggers)
        repeats = [place % known for place in again] if known else []
        self.example.meet(triggers, repeats, self.somebody(who), cut)

    @act(1, lambda self: any(row.kind == "triggered" for row in self.example.now.rows.campaigns))
    def add_up(self) -> None:
        self.example.add_up()

    @act(1, lambda self: any(row.kind == "triggered" for row in self.example.now.rows.campaigns))
    def put_reports(self) -> None:
        self.example.put_reports()

    @act(1, lambda self: self.example.now.rows.campaigns, which=PICK, cut=CUTS)
    def optimove_cancels(self, which: int, cut: Cut | None) -> None:
        self.example.call_off(int(self.one_of(self.example.now.rows.campaigns, which).campaign_id), cut)

    @act(1, lambda self: self.example.now.rows.notifications, who=st.none() | PICK, cut=CUTS)
    def accept(self, who: int | None, cut: Cut | None) -> None:
        self.example.accept(cut, self.somebody(who))

    @act(
        3,
        lambda self: self.example.workers and self.example.now.rows.jobs,
        who=PICK,
        which=PICK,
        cut=CUTS,
        trouble=st.sampled_from([*[None] * 6, *Trouble]),
        kept=st.sampled_from([False, False, False, True]),
    )
    def job(self, who: int, which: int, cut: Cut | None, trouble: Trouble | None, kept: bool) -> None:
        self.example.optimove.trouble = trouble
        job = self.one_of(self.example.now.rows.jobs, which)
        self.example.run_job(self.one_of(self.example.workers, who), job, cut, kept=kept)
        self.example.optimove.trouble = None

    # --- workers ------------------------------------------------------------------------------------------------------

    @act(4, lambda self: len(self.example.workers) < MOST_WORKERS)
    def worker_starts(self) -> None:
        self.example.start_worker()

    @act(
        24,
        lambda self: self.busy(),
        who=PICK,
        fates=FATES,
        silences=SILENCES,
        most=st.sampled_from([0, 0, 1, 2, 4]),
        cut=CUTS,
    )
    def work(self, who: int, fates: list[Fate], silences: list[bool], most: int, cut: Cut | None) -> None:
        """Messages leave, answers come, or what a worker knows is written and the next group starts."""
        worker = self.one_of(self.busy(), who)
        left, heard = fates[: len(worker.waiting)], silences[: len(worker.on_wire)]
        for fate in left:
            worker.begin_on_wire(fate)
        for silent in heard:
            worker.hear(0, silent=silent)
        if most or not (left or heard):
            self.example.turn(worker, most or 1, cut)

    @act(1, lambda self: self.waiting(), who=PICK, answer=st.sampled_from(REFUSALS))
    def message_cannot_leave(self, who: int, answer: Answer) -> None:
        self.one_of(self.waiting(), who).refuse(answer)

    @act(2, lambda self: self.example.workers, who=PICK, machine_lost=st.sampled_from([False, False, True]))
    def kill(self, who: int, machine_lost: bool) -> None:
        worker = self.one_of(self.example.workers, who)
        self.example.kill(worker)
        if machine_lost:
            worker.path.unlink()

    @act(1, lambda self: self.example.workers, who=PICK, cut=CUTS)
    def stop(self, who: int, cut: Cut | None) -> None:
        self.example.stop(self.one_of(self.example.workers, who), cut)

    @act(3, lambda self: self.example.workers and self.example.dead(), who=PICK, which=PICK, cut=CUTS)
    def recover(self, who: int, which: int, cut: Cut | None) -> None:
        self.example.recover(self.one_of(self.example.workers, who), self.one_of(self.example.dead(), which), cut)

    @act(3, lambda self: self.owners(), which=PICK)
    def silent_for_too_long(self, which: int) -> None:
        self.world.lapse(self.one_of(self.owners(), which))
        self.example.looked()

    @act(1, lambda self: self.lapsed(), who=PICK)
    def beat(self, who: int) -> None:
        self.example.do("beat", self.one_of(self.lapsed(), who).renew())

    @act(2, by=WHILES)
    def time_passes(self, by: timedelta) -> None:
        for worker in self.example.workers:
            worker.close_wire()
        self.world.time_passes(by)

    # --- the operator -------------------------------------------------------------------------------------------------

    @act(1, lambda self: self.campaigns("open"), which=PICK, cut=CUTS)
    def pause_campaign(self, which: int, cut: Cut | None) -> None:
        self.command(operate.pause_campaign, self.one_of(self.campaigns("open"), which), cut)

    @act(2, lambda self: self.campaigns("paused"), which=PICK, cut=CUTS)
    def resume_campaign(self, which: int, cut: Cut | None) -> None:
        self.command(operate.resume_campaign, self.one_of(self.campaigns("paused"), which), cut)

    @act(1, lambda self: self.campaigns("open", "paused"), which=PICK, cut=CUTS)
    def cancel_campaign(self, which: int, cut: Cut | None) -> None:
        self.command(operate.cancel_campaign, self.one_of(self.campaigns("open", "paused"), which), cut)

    @act(1, lambda self: not self.example.now.rows.paused, cut=CUTS)
    def pause_channel(self, cut: Cut | None) -> None:
        self.example.operate("pause", operate.pause_channel(self.world.ctx, ACME, self.example.story.channel), cut)

    @act(4, lambda self: self.example.now.rows.paused, cut=CUTS)
    def resume_channel(self, cut: Cut | None) -> None:
        self.example.operate("resume", operate.resume_channel(self.world.ctx, ACME, self.example.story.channel), cut)

    @act(4, lambda self: self.refused(), which=PICK, cut=CUTS)
    def retry_refused(self, which: int, cut: Cut | None) -> None:
        self.command(operate.retry_refused, self.one_of(self.refused(), which), cut)

    @act(
        4,
        lambda self: any(batch.in_doubt for batch in self.example.now.rows.batches),
        decision=st.sampled_from(Decision),
        most=st.integers(1, 4),
        cut=CUTS,
    )
    def resolve(self, decision: Decision, most: int, cut: Cut | None) -> None:
        if places := self.example.doubts(decision)[:most]:
            self.example.resolve(decision, places, cut)

    @act(1, lambda self: any(report.state == "in_doubt" for report in self.example.now.rows.reports))
    def resolve_reports(self) -> None:
        self.example.resolve_reports()

    # --- shared -------------------------------------------------------------------------------------------------------

    def command(self, command: Command, campaign: CampaignRow, cut: Cut | None) -> None:
        """What the operator has done with a campaign."""
        kind = CampaignKind(campaign.kind)
        work = command(self.world.ctx, ACME, campaign.campaign_id, self.example.story.channel, kind=kind)
        self.example.operate(command.__name__, work, cut)

    def campaigns(self, *states: str) -> list[CampaignRow]:
        """Campaigns of these states."""
        return [campaign for campaign in self.example.now.rows.campaigns if campaign.state in states]

    def refused(self) -> list[CampaignRow]:
        """Campaigns of which something was refused."""
        now = self.example.now
        return [
            now.campaigns[number] for number in sorted({batch.campaign for batch in now.rows.batches if batch.refused})
        ]

    def busy(self) -> list[Worker]:
        """Workers for which there is something to do."""
        due = any(batch.due and not batch.done and not batch.leased for batch in self.example.now.rows.batches)
        if due and not self.example.now.rows.paused:
            return self.example.workers
        return [worker for worker in self.example.workers if worker.held() or worker.known or worker.maybe]

    def owners(self) -> list[str]:
        """Workers that hold a batch."""
        return sorted({batch.owner for batch in self.example.now.rows.batches if batch.owner and not batch.done})

    def lapsed(self) -> list[Worker]:
        """Workers that live, and hold a batch whose lease has lapsed."""
        lapsed = {batch.owner for batch in self.example.now.rows.batches if not batch.done and batch.leased is False}
        return [worker for worker in self.example.workers if worker.name in lapsed]

    def passes(self) -> int:
        """How many there are of scheduled campaigns."""
        triggered = {row.id for row in self.example.now.rows.campaigns if row.kind == "triggered"}
        return sum(row.campaign not in triggered for row in self.example.now.rows.passes)

    def somebody(self, who: int | None) -> Worker | None:
        """One of the workers; None where there is none, or nobody is meant."""
        return None if who is None or not self.example.workers else self.one_of(self.example.workers, who)

    def waiting(self) -> list[Worker]:
        """Workers with messages that have not left."""
        return [worker for worker in self.example.workers if worker.waiting]

    @staticmethod
    def one_of(things: Sequence[T], place: int) -> T:
        """One of several."""
        return things[place % len(things)]

    def teardown(self) -> None:
        if not hasattr(self, "example"):
            return
        try:
            if not self.example.broken:
                all_ends(self.example)
        finally:
            for worker in list(self.example.workers):
                self.example.kill(worker)


@pytest.mark.timeout(600)
def test_nobody_is_lost_and_nobody_is_doubled_whatever_happens(
    make_settings: MakeSettings, database: str, tmp_path: Path
) -> None:
    with open_world(make_settings, database, tmp_path / "journals") as world:
        run_state_machine_as_test(
            lambda: LedgerMachine(world),  # type: ignore[arg-type]  # what makes one will do
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                derandomize=MORE not in os.environ,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
    assert LedgerMachine.steps >= STEPS
