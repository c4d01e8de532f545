"""One example: its workers, what Optimove and the operator do, and a look at the ledger after each step."""

from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from hypothesis import note

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import dispatch, operate
from optirelay.engine.journal import dead_journal, journals_in
from optirelay.engine.operate import Decision
from optirelay.engine.recovery import recover
from optirelay.errors import OptirelayError
from optirelay.model import CampaignId, ChannelName, Contract
from optirelay.stages.sending import in_doubt_rule
from tests.house import ACME
from tests.model.cuts import Cut, Killed
from tests.model.look import JobRow, Look, Place
from tests.model.promises import Story, check
from tests.model.worker import Worker
from tests.model.world import CHANNELS, FIRST_CHANNEL_ID, FIRST_TRIGGERED_ID, TEMPLATES, World

T = TypeVar("T")

FIRST_CAMPAIGN = 9001
FIRST_TRIGGERED = 9501
JOBS = {job.name: job for job in pipeline.JOBS}
Recipients = Sequence[tuple[int, int, str]]
"""Customer, template, and whether the message goes `now`, `later` or, for want of an address, `nowhere`."""
Trigger = tuple[int, int, int, str]
"""Campaign, customer, template, and whether the message goes `now` or, for want of an address, `nowhere`."""


_BEGUN_NOW = "update batch set begun_at = %s where triggered and begun_at < '2031-01-01'"  # by the database's clock


class Example:
    """What one example does and knows. Everything that writes is followed by a look, and by `check`."""

    def __init__(self, world: World, channel: ChannelName) -> None:
        self.world = world
        provider, self.optimove = world.begin(channel)
        rule = in_doubt_rule(provider.contract, world.ctx.channel_settings(ACME, channel).in_doubt)
        self.story = Story(world.ctx.store.number_of(ACME), channel, provider, rule)
        self.workers: list[Worker] = []
        self.now: Look = world.look()
        self.broken = False  # a promise was not kept
        self._started = 0  # workers
        self._rows = 0
        self._occasions = 0
        self.triggers: list[Trigger] = []  # that were met, each with a message of its own
        self._told: list[int] = []  # of these: told, and not accepted yet

    # --- steps --------------------------------------------------------------------------------------------------------

    def do(
        self, doing: str, work: Coroutine[Any, Any, T], cut: Cut | None = None, by: Worker | None = None
    ) -> T | None:
        """Do something that writes, and see that every promise is kept. None where it was cut, or refused."""
        self.broken = True
        value = None
        try:
            value = self.world.run(work, cut)
        except Killed:
            if by is not None:
                self.kill(by)
        except OptirelayError:
            pass
        before, self.now = self.now, self.world.look()
        note(f"{by.name if by else 'somebody'}: {doing}{'' if cut is None else f', {cut.how} at {cut.at}'}")
        self._note_changes(before)
        self._take_pages()
        self._take_triggers()
        check(before, self.now, self.story, self.workers, doing)
        self.broken = False
        return value

    def _note_changes(self, before: Look) -> None:
        for number, place in self.now.places.items():
            old = before.places.get(number)
            if str(old) != str(place):
                note(f"    message {number}: {old} to {place}")

    def looked(self) -> None:
        """What is outside of every promise has changed."""
        self.now = self.world.look()

    def _take_pages(self) -> None:
        """Whoever is in a page that the ledger took is planned, but for customers that an earlier pass had."""
        scheduled = {row.id for row in self.now.rows.campaigns if row.kind == "scheduled"}
        passes = {row.id for row in self.now.rows.passes if row.campaign in scheduled}
        new = {page for page in self.now.rows.pages if page[0] in passes} - self.story.pages
        assert len(new) <= 1
        for pass_, _, _ in new:
            campaign = next(row.campaign for row in self.now.rows.passes if row.id == pass_)
            for row in self.optimove.served:
                customer, template, occurrence = row["CustomerID"], row["TemplateID"], _occurrence(row["ScheduledTime"])
                had = {p for (c, who, _, _), p in self.story.planned.items() if (c, who) == (campaign, customer)}
                if not had - {pass_}:
                    self.story.planned.setdefault((campaign, customer, template, occurrence), pass_)
        self.story.pages |= new

    def _take_triggers(self) -> None:
        """All that was told is accepted, or nothing of it."""
        if self.now.rows.notifications:
            return
        days = {row.campaign_id: row.id for row in self.now.rows.campaigns if row.kind == "triggered"}
        for number in self._told:
            campaign, customer, template, _ = self.triggers[number]
            key = (days[str(campaign)], f"C-{customer}", TEMPLATES[template], _name(number))
            self.story.planned.setdefault(key, 0)
        self._told = []

    # --- Optimove -----------------------------------------------------------------------------------------------------

    def announce(self, campaign: int, recipients: Recipients, cut: Cut | None) -> None:
        """Optimove chooses more people for a campaign, and tells of it."""
        rows = self.optimove.rows.setdefault(campaign, [])
        chosen = {row["CustomerID"] for row in rows}
        rows += [self._row(*recipient) for recipient in recipients if f"C-{recipient[0]}" not in chosen]
        self._occasions += 1
        channel_id = FIRST_CHANNEL_ID + list(CHANNELS).index(self.story.channel)
        self._tell(
            {
                "EventTypeID": 13,
                "TimeStamp": f"2031-04-02 07:{self._occasions // 60:02}:{self._occasions % 60:02}",
                "CampaignID": campaign,
                "ChannelID": channel_id,
            },
            cut,
        )

    def call_off(self, campaign: int, cut: Cut | None) -> None:
        """Optimove cancels a campaign."""
        self._tell({"EventTypeID": 4, "CampaignID": campaign}, cut)

    def meet(self, triggers: Sequence[Trigger], again: Sequence[int], by: Worker | None, cut: Cut | None) -> None:
        """Customers meet triggers; and some of what was told before is told `again`, in another spelling."""
        first = len(self.triggers)
        self.triggers += triggers
        told = [*range(first, len(self.triggers)), *again]
        channel_id = FIRST_TRIGGERED_ID + list(CHANNELS).index(self.story.channel)
        bodies = [self._trigger(number, channel_id, again=place >= len(triggers)) for place, number in enumerate(told)]
        self._told += told
        self._keep(*bodies)
        self.accept(cut, by)

    def _trigger(self, number: int, channel_id: int, *, again: bool) -> dict[str, Any]:
        campaign, customer, template, when = self.triggers[number]
        stamp = f"2031-04-02{'T' if again else ' '}08:{number // 60:02}:{number % 60:02}"
        address = {} if when == "nowhere" else {"EMAIL": f"c{customer}@example.com"}
        ids = {"CampaignID": campaign, "ActionID": 214, "ChannelID": channel_id, "TemplateID": TEMPLATES[template]}
        if again:
            ids = {name.upper(): str(value) for name, value in ids.items()}  # type: ignore[misc]
        return {
            "eventTypeID": 11,
            "timeStamp": stamp,
            "customerID": f"C-{customer}",
            "triggerName": _name(number),
            **ids,
            "personalization": address,
        }

    def _tell(self, notification: dict[str, Any], cut: Cut | None) -> None:
        self._keep(notification)
        self.accept(cut)

    def _keep(self, *notifications: dict[str, Any]) -> None:
        """They arrive: now, as workers take it."""
        bodies = [(ACME, msgspec.json.encode(notification)) for notification in notifications]
        self.world.run(self.world.ctx.store.keep_notifications(bodies))
        self.world.sql.execute("update notification set received_at = %s where state = 'new'", (utc_now(),))

    def accept(self, cut: Cut | None = None, by: Worker | None = None) -> None:
        """What Optimove told is read; by a worker, who sends at once what triggers call for."""
        work = pipeline.accept(self.world.ctx) if by is None else pipeline.accept(by.ctx, by)
        self.do("accept", work, cut, by=by)
        self.world.sql.execute(_BEGUN_NOW, (utc_now(),))

    def add_up(self) -> None:
        """Counters of triggered batches that are done go into their day's."""

        async def add() -> None:
            async with self.world.ctx.store.transaction() as everyone:
                await everyone.add_up(1000, after=timedelta(0))

        self.do("add_up", add())

    def put_reports(self) -> None:
        """Campaigns of which Optimove is to be told by now."""
        self.do("put_reports", dispatch.put_due_reports(self.world.ctx))

    def _row(self, customer: int, template: int, when: str) -> dict[str, Any]:
        self._rows += 1  # so that no two batches are due at the same time
        at = utc_now() + timedelta(seconds=self._rows - 60) + timedelta(minutes=10 if when == "later" else 0)
        return {
            "CustomerID": f"C-{customer}",
            "TemplateID": TEMPLATES[template],
            "ScheduledTime": f"{at:%Y-%m-%d %H:%M:%S}",
            "CustomerAttributes": [None if when == "nowhere" else f"c{customer}@example.com"],
        }

    # --- workers ------------------------------------------------------------------------------------------------------

    def start_worker(self) -> Worker:
        """One more."""
        self._started += 1
        ctx, story = self.world.ctx, self.story
        worker = Worker(ctx, story.channel, story.provider, self.world.folder, f"w{self._started}")
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """Nothing more of it, but for its journal."""
        worker.kill()
        if worker in self.workers:
            self.workers.remove(worker)

    def stop(self, worker: Worker, cut: Cut | None = None) -> None:
        """SIGTERM."""
        self.workers.remove(worker)
        self.do("stop", worker.stop(), cut, by=worker)

    def turn(self, worker: Worker, most: int, cut: Cut | None = None) -> None:
        """A worker takes, starts or writes what comes next; what it cannot begin any more is handed back before."""
        worker.close_wire()
        before = self.now
        group = self.do("turn", worker.turn(most), cut, by=worker)
        began = {
            n for n, place in self.now.places.items() if (before.places[n].state, place.state) == ("planned", "sending")
        }
        assert group is None or began == {message.number for message in group}, "a group is not what started"

    def run_job(
        self, worker: Worker, job: JobRow, cut: Cut | None = None, *, kept: bool = False, with_equals: bool = False
    ) -> None:
        """A worker does a job; `kept`: it ends before the job is done with, so that it is done again; `with_equals`: it
        is done with all that wait for the same."""
        args = {name: value for name, value in job.args.items() if name not in ("version", "tenant")}
        equals = [other.id for other in self.now.rows.jobs if (other.name, other.args) == (job.name, job.args)]

        async def run() -> bool:
            await JOBS[job.name].run(worker.ctx, ACME, **args)
            return True

        if self.do(job.name, run(), cut, by=worker) and not kept:
            done = equals if with_equals else [job.id]
            self.world.sql.execute("delete from procrastinate_jobs where id = any(%s)", (done,))
            self.now = self.world.look()

    def dead(self) -> list[str]:
        """Workers whose journals wait."""
        alive = {worker.name for worker in self.workers}
        return sorted(path.stem for path in journals_in(self.world.folder) if path.stem not in alive)

    def recover(self, worker: Worker, name: str, cut: Cut | None = None) -> None:
        """A worker settles what a dead one of its machine left."""

        async def settle() -> None:
            with dead_journal(worker.path.with_stem(name)) as journal:
                assert journal is not None
                await recover(worker.ctx, ACME, journal)
                await worker.ctx.store.gone(journal.worker)
                journal.remove()

        self.do("recover", settle(), cut, by=worker)

    # --- the operator -------------------------------------------------------------------------------------------------

    def operate(self, doing: str, work: Coroutine[Any, Any, T], cut: Cut | None = None) -> T | None:
        """An operator's command. By then nothing that has not begun will."""
        for worker in self.workers:
            worker.close_wire()
        return self.do(doing, work, cut)

    def doubts(self, decision: Decision) -> list[Place]:
        """Those of which an honest operator can say so."""
        doubts = self.now.of_state("in_doubt")
        if decision is Decision.SENT:
            return [place for place in doubts if self.story.arrived(place)]
        if decision is Decision.RESEND and self.story.provider.contract is not Contract.HOLD:
            return doubts
        return [place for place in doubts if not self.story.arrived(place)]

    def resolve(self, decision: Decision, places: Sequence[Place], cut: Cut | None = None) -> None:
        """The operator says what became of them."""
        sids = [self.story.sid(place) for place in places]
        self.operate("resolve", operate.resolve_doubts(self.world.ctx, decision, "asked", sids=sids), cut)

    def resolve_reports(self) -> None:
        """The operator compares with Optimove."""
        for report in self.now.rows.reports:
            if report.state == "in_doubt":
                decision = Decision.SENT if bytes.fromhex(report.body) in self.optimove.heard else Decision.RESEND
                self.operate("resolve", operate.resolve_reports(self.world.ctx, decision, "compared", [report.id]))

    def campaign_id(self, number: int) -> str:
        """Optimove's id of a campaign."""
        return CampaignId(self.now.campaigns[number].campaign_id)


def _name(number: int) -> str:
    return f"trigger {number}"


def _occurrence(text: str) -> str:
    at = datetime.fromisoformat(f"{text}+00:00")
    return (int(at.timestamp()) * 1_000_000).to_bytes(8, "big", signed=True).hex()
