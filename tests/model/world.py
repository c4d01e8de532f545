"""One database, one event loop, real parts: what the machine acts through, and how time passes in it."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import time_machine
import uvloop

from optirelay.clock import utc_now
from optirelay.engine import runtime
from optirelay.engine.context import Context
from optirelay.engine.journal import journals_in
from optirelay.engine.offering import keep_template
from optirelay.model import ChannelName, TemplateContent, TemplateId
from optirelay.optimove import OptimoveClient
from tests.conftest import MakeSettings
from tests.house import ACME
from tests.model.cuts import Cut, Line
from tests.model.look import Look, look
from tests.model.outside import KeyedProvider, Optimove, Provider, ReplaceableProvider

T = TypeVar("T")

CHANNELS: Mapping[ChannelName, tuple[type[Provider], dict[str, str]]] = {
    ChannelName("mail"): (Provider, {}),
    ChannelName("mail-given-up"): (Provider, {"in_doubt": "give_up"}),
    ChannelName("mail-repeated"): (Provider, {"in_doubt": "repeat"}),
    ChannelName("texts"): (KeyedProvider, {}),
    ChannelName("texts-held"): (KeyedProvider, {"in_doubt": "hold"}),
    ChannelName("pushes"): (ReplaceableProvider, {}),
}
FIRST_CHANNEL_ID = 500
FIRST_TRIGGERED_ID = 600
TEMPLATES = (17, 18)
_EMPTY = (
    "truncate campaign, pass, page, batch, day_total, message, personalization, outcome, attempt, event, report_batch, "
    "audit, told_metric, problem, callback, delivery_event, counted_event, subscription, subscription_statement, "
    "suppression, notification, worker, budget, key_call, procrastinate_jobs, procrastinate_events "
    "restart identity cascade"
)
_BEGINNING = datetime(2031, 4, 2, 7, tzinfo=UTC)
TAKEOVER_AFTER = "10s"
_OLD_ENOUGH = (
    "select pg_sleep(greatest(0, extract(epoch from pg_postmaster_start_time() + %s::interval - clock_timestamp())))"
)
_A_MOMENT = timedelta(milliseconds=1)


@dataclass
class World:
    """What stays from one example to the next."""

    ctx: Context
    sql: psycopg.Connection[Any]  # for looking, and for letting time pass
    folder: Path  # of journals
    _clock: time_machine.Traveller
    _line: Line
    _runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T], cut: Cut | None = None) -> T:
        """Do it, with one of its transactions cut; it takes a moment."""
        self._clock.shift(_A_MOMENT)
        with self._line.cut(cut):
            return self._runner.run(work)

    def begin(self, channel: ChannelName) -> tuple[Provider, Optimove]:
        """Forget the last example; a fresh provider of that channel, and a fresh Optimove."""
        self._clock.move_to(_BEGINNING)
        self.sql.execute(_EMPTY)
        self.sql.execute("update channel set paused_at = null, waits_until = null, waits = 0")
        for path in journals_in(self.folder):
            path.unlink()
        provider, optimove = CHANNELS[channel][0](), Optimove()
        client = OptimoveClient("http://optimove.example", "demo-key", transport=optimove)
        self.ctx = replace(self.ctx, channels={(ACME, channel): provider}, optimove={ACME: client})
        return provider, optimove

    def look(self) -> Look:
        """The ledger as it is."""
        return look(self.sql, utc_now())

    def time_passes(self, by: timedelta) -> None:
        """Leases, which go by the database's clock, are as they were: somebody renews them."""
        self._clock.shift(by)
        self.sql.execute("update report_batch set sent_at = sent_at - %s", (by,))

    def lapse(self, worker: str) -> None:
        """A worker was silent for too long."""
        lapsed = (
            "update batch set lease_until = clock_timestamp() - interval '1 s' where owner = %s and done_at is null"
        )
        self.sql.execute(lapsed, (worker,))

    async def push(self, channel: ChannelName, html: str) -> None:
        """Every template, as it is from now on."""
        async with self.ctx.store.tenant(ACME).transaction() as ledger:
            for number in TEMPLATES:
                content = TemplateContent("Hello", html)
                key = f"t{number}"
                await keep_template(ledger, channel, TemplateId(number), key=key, name=key, content=content)


def _ids(place: int) -> dict[str, int]:
    return {"scheduled_id": FIRST_CHANNEL_ID + place, "triggered_id": FIRST_TRIGGERED_ID + place}


@contextmanager
def open_world(make_settings: MakeSettings, database: str, folder: Path) -> Iterator[World]:
    """The world, until the end."""
    channels = {
        name: {"kind": "email", "provider": "null", "tries": 3, **_ids(place), **how}
        for place, (name, (_, how)) in enumerate(CHANNELS.items())
    }
    settings = make_settings(
        service={"takeover_after": TAKEOVER_AFTER},
        tenant={"channels": channels, "page_size": 8, "rate_limit": "1000/1s"},
    )
    with (
        time_machine.travel(_BEGINNING, tick=False) as clock,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        psycopg.connect(database, autocommit=True) as sql,
    ):
        sql.execute(_OLD_ENOUGH, (TAKEOVER_AFTER,))  # nothing is taken over right after the server's start
        opening = runtime.open_context(settings, database)
        ctx = runner.run(opening.__aenter__())
        line = Line(database, min_size=1, max_size=4, open=False, kwargs={"options": "-c timezone=UTC"})
        runner.run(line.open())
        try:
            world = World(replace(ctx, store=ctx.store.over(line)), sql, folder, clock, line, runner)
            for channel in CHANNELS:
                runner.run(world.push(channel, "<p>Hello</p>"))
            yield world
        finally:
            runner.run(line.close())
            runner.run(opening.__aexit__(None, None, None))
