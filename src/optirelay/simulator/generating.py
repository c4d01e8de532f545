"""So many notifications a second: a trigger that fires over and over, some of it told twice."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import gcd
from typing import Any

from optirelay.simulator import firing
from optirelay.simulator.clock import utc_now
from optirelay.simulator.exchange import to_json
from optirelay.simulator.posting import Line, NoAnswer, address_of
from optirelay.simulator.seeded import bytes_from, fraction_from
from optirelay.simulator.trigger_entries import Load
from optirelay.simulator.triggers import TRIGGERED, notification
from optirelay.simulator.world import World

DUPLICATES_OVER_SECONDS = 1.0  # a duplicate comes so much later, at most
LOOK_SECONDS = 0.05  # what came to wait in the meantime is seen so much later, at most
MOST_WAITING = 10_000  # for another try or for their turn; until fewer do, nothing new fires
PER_MILLION = 1_000_000


@dataclass(order=True, slots=True)
class Sending:
    """One notification for one listener, on its way until it is answered 200 or given up."""

    due: float  # by time.monotonic()
    number: int
    url: str = field(compare=False)
    body: dict[str, Any] = field(compare=False)
    content: bytes = field(compare=False)
    again: bool = field(compare=False)
    entry: dict[str, Any] | None = field(compare=False, default=None)


class Generator:
    """Fires by the clock over a number of connections; to whom and what depends on the seed alone."""

    def __init__(self, world: World, load: Load) -> None:
        self._world = world
        self._load = load
        self._trigger = load.trigger
        self._people = world.tenants[load.trigger.tenant_id].customers
        self._past = load.trigger.past
        self._past.runs += 1
        self._seed = f"{world.seed}:{load.trigger.key}:{self._past.runs}"
        self._positions = spread(load.positions, self._seed)
        self._fired = 0
        self._numbers = 0
        self._waiting: list[Sending] = []
        self._on_the_wire = 0
        self._turn = asyncio.Lock()  # one connection waits for what is next, the others for their turn

    async def run(self) -> None:
        """Until the last notification was answered or given up."""
        self._began = time.monotonic()
        self._past.running += 1
        try:
            async with asyncio.TaskGroup() as connections:
                for _ in range(self._load.connections):
                    connections.create_task(self._work())
        finally:
            self._past.running -= 1

    async def _work(self) -> None:
        lines: dict[str, Line] = {}
        try:
            while sending := await self._next():
                self._on_the_wire += 1
                try:
                    await self._send(sending, lines)
                finally:
                    self._on_the_wire -= 1
        finally:
            for line in lines.values():
                line.close()

    async def _next(self) -> Sending | None:
        """What is due, as soon as something is; None when nothing can come any more."""
        async with self._turn:
            while True:
                now = time.monotonic()
                if self._waiting and self._waiting[0].due <= now:
                    return heappop(self._waiting)
                wait = LOOK_SECONDS
                if self._fired < self._load.count and len(self._waiting) < MOST_WAITING:
                    wait = self._began + self._fired / self._load.per_second - now
                    if wait <= 0:
                        self._fire(now)
                        continue
                elif not self._waiting and not self._on_the_wire:
                    return None
                if self._waiting:
                    wait = min(wait, self._waiting[0].due - now)
                await asyncio.sleep(min(wait, LOOK_SECONDS))

    def _fire(self, now: float) -> None:
        """The trigger fires once more, for the next customer."""
        number, trigger, quirks = self._fired, self._trigger, self._world.quirks
        self._fired += 1
        self._past.tally.fired += 1
        tenant = self._world.tenants[trigger.tenant_id]
        customer = self._people.at(next(self._positions))
        template_id = trigger.templates[number % len(trigger.templates)]
        body = notification(
            trigger,
            customer,
            self._load.parameters,
            stamp=trigger.next_stamp(customer.customer_id, utc_now()),
            template_id=template_id,
            template_name=tenant.template_name(trigger.channel_id, template_id),
            quirks=quirks,
        )
        content, due = to_json(body), now
        if quirks.notifications == "shuffled":
            due += fraction_from(f"{self._seed}:shuffled:{number}") * firing.SHUFFLED_OVER_SECONDS
        urls = tenant.urls(TRIGGERED, trigger.channel_id)
        for url in urls:
            self._put(Sending(due, self._numbers, url, body, content, again=False))
        for repeat in range((quirks.notifications == "twice") + self._is_duplicated(number)):
            later = due + fraction_from(f"{self._seed}:again:{number}:{repeat}") * DUPLICATES_OVER_SECONDS
            for url in urls:
                self._put(Sending(later, self._numbers, url, body, content, again=True))

    def _is_duplicated(self, number: int) -> bool:
        """Whether this firing is one of the share, spread evenly and exact on the whole."""
        share = round(self._load.duplicates * PER_MILLION)
        return (number + 1) * share // PER_MILLION > number * share // PER_MILLION

    def _put(self, sending: Sending) -> None:
        sending.number, self._numbers = self._numbers, self._numbers + 1
        heappush(self._waiting, sending)

    async def _send(self, sending: Sending, lines: dict[str, Line]) -> None:
        """One try; what is not answered 200 waits for the next."""
        tally, entry = self._past.tally, sending.entry or self._remember(sending)
        began, status, wrong = time.monotonic(), None, None
        try:
            line = lines.get(sending.url) or lines.setdefault(sending.url, Line(address_of(sending.url)))
            status = await line.post(sending.content)
        except NoAnswer as error:
            wrong = str(error)
        else:
            wrong = None if status == 200 else f"answered {status}"
        entry.update(tries=entry["tries"] + 1, status=status, error=wrong)
        if status == 200:
            tally.answered += 1
            tally.took(time.monotonic() - began)
        elif entry["tries"] < self._load.tries:
            tally.retried += 1
            sending.due = time.monotonic() + firing.PAUSE_SECONDS
            self._put(sending)
        else:
            tally.failed += 1

    def _remember(self, sending: Sending) -> dict[str, Any]:
        tally = self._past.tally
        tally.sent += 1
        tally.duplicates += sending.again
        sending.entry = self._world.remember_generated(
            self._trigger.tenant_id,
            utc_now(),
            body=sending.body,
            url=sending.url,
            tries=0,
            status=None,
            error=None,
        )
        return sending.entry


def spread(positions: Sequence[int], seed: str) -> Iterator[int]:
    """Endlessly: everyone once before anyone a second time, in an order that depends on the seed."""
    size, drawn = len(positions), int.from_bytes(bytes_from(seed)[:8])
    step = 1 + drawn % size
    while gcd(step, size) != 1:
        step += 1
    place = drawn // size % size
    while True:
        yield positions[place]
        place = (place + step) % size
