"""How every example ends: honest workers and an honest operator do what is left, and then all of it is counted."""

from collections import Counter
from datetime import timedelta

from optirelay.engine import operate
from optirelay.engine.operate import Decision
from optirelay.model import CampaignKind, ProblemKind
from optirelay.optimove import Metric
from tests.house import ACME
from tests.model.example import Example
from tests.model.outside import Fate
from tests.model.promises import GIVEN_UP
from tests.model.worker import Worker

ROUNDS = 10  # more than anything takes
MOST_JOBS = 100  # in a round
A_DAY = timedelta(days=1)
A_WHILE = timedelta(minutes=11)  # longer than any pause between two tries


def all_ends(example: Example) -> None:
    """Whoever works finishes; then one worker and the operator go on until nothing is left."""
    example.optimove.trouble = None
    for worker in list(example.workers):
        _hear_all(worker)
        example.stop(worker)
    _let_go(example)
    last = example.start_worker()
    for _ in range(ROUNDS):
        if not _left(example):
            break
        _round(example, last)
    _tell_of_days(example, last)
    example.stop(last)
    assert not _left(example), f"it does not come to an end: {_left(example)}"
    _count(example)


def _hear_all(worker: Worker) -> None:
    worker.close_wire()
    while worker.on_wire:
        worker.hear(0, silent=False)


def _let_go(example: Example) -> None:
    ctx, channel = example.world.ctx, example.story.channel
    if example.now.rows.paused:
        example.operate("resume", operate.resume_channel(ctx, ACME, channel))
    for campaign in example.now.rows.campaigns:
        if campaign.state == "paused":
            kind = CampaignKind(campaign.kind)
            example.operate("resume", operate.resume_campaign(ctx, ACME, campaign.campaign_id, channel, kind=kind))


def _left(example: Example) -> dict[str, object]:
    """What is not over."""
    now = example.now
    left = {
        "batches": [batch for batch in now.rows.batches if not batch.done],
        "doubts": [place.row.id for place in now.of_state("in_doubt")],
        "jobs": now.rows.jobs,
        "notifications": now.rows.notifications,
        "reports": [(report.id, report.state) for report in now.rows.reports if report.state != "answered"],
        "journals": example.dead(),
    }
    return {what: things for what, things in left.items() if things}


def _round(example: Example, worker: Worker) -> None:
    for name in example.dead():
        example.recover(worker, name)
    example.accept(by=worker)
    _do_jobs(example, worker)
    example.world.time_passes(A_WHILE)
    for owner in {batch.owner for batch in example.now.rows.batches if batch.owner not in (None, worker.name)}:
        example.world.lapse(str(owner))
    _send(example, worker)
    for decision in (Decision.SENT, Decision.RESEND, Decision.GIVE_UP):
        if places := example.doubts(decision):
            example.resolve(decision, places)
    example.resolve_reports()
    example.add_up()


def _do_jobs(example: Example, worker: Worker) -> None:
    for _ in range(MOST_JOBS):
        if example.now.rows.jobs:
            example.run_job(worker, example.now.rows.jobs[0], with_equals=True)


def _tell_of_days(example: Example, worker: Worker) -> None:
    """Optimove is told of triggered campaigns when it is time, not when they are complete."""
    example.world.time_passes(A_DAY)
    example.put_reports()
    _do_jobs(example, worker)
    example.resolve_reports()


def _send(example: Example, worker: Worker) -> None:
    """All that is due goes, and arrives."""
    idle = 0
    while idle < 2:
        before = example.now
        example.turn(worker, 1000)
        while worker.waiting:
            worker.begin_on_wire(Fate.ARRIVES)
        _hear_all(worker)
        idle = idle + 1 if before == example.now and worker.batch is None else 0


def _count(example: Example) -> None:
    now, story = example.now, example.story
    for campaign in now.rows.campaigns:
        open_day = campaign.kind == "triggered" and campaign.state == "open"  # closed when the day is over
        assert campaign.state in ("complete", "cancelled") or open_day, f"campaign {campaign.id} is {campaign.state}"
    for number, place in now.places.items():
        ended = place.state == "accepted" or place.reason == GIVEN_UP or story.may_double
        assert ended or not story.arrived(place), f"message {number} arrived, and is {place.state} ({place.reason})"
    _count_reports(example)
    ctx = example.world.ctx
    for shape in example.world.run(operate.campaigns(ctx)):
        assert example.world.run(operate.audit(ctx, ACME, shape)) == []
        assert shape["balanced"], shape
    problems = {row.kind for row in example.world.run(ctx.store.problems())}
    assert not problems & {ProblemKind.MESSAGE_IN_DOUBT, ProblemKind.REPORT_IN_DOUBT}, problems


def _count_reports(example: Example) -> None:
    """Optimove was told of everybody once, and of nobody what is not so."""
    now, optimove = example.now, example.optimove
    ids = {campaign.id: int(campaign.campaign_id) for campaign in now.rows.campaigns}

    def keys(state: str) -> Counter[tuple[int, str]]:
        return Counter((ids[place.row.campaign], place.row.customer) for place in now.of_state(state))

    accepted, refused = keys("accepted"), keys("refused")
    assert +optimove.sent == accepted, f"sent: told {optimove.sent}, accepted {accepted}"
    ever = Counter((ids[p.row.campaign], p.row.customer) for n, p in now.places.items() if n in example.story.refused)
    assert refused <= optimove.dropped <= ever, f"dropped: told {optimove.dropped}, refused {refused}, ever {ever}"
    for number, campaign in ids.items():
        by_rows = Counter(place.state for place in now.places.values() if place.row.campaign == number)
        for metric, state in ((Metric.SENT, "accepted"), (Metric.DROPPED, "refused")):
            told = optimove.total(campaign, metric)
            assert told == by_rows[state], f"campaign {campaign}: {told} {metric.name} told, {by_rows[state]} {state}"
