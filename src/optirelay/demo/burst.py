"""The burst of the demo: a trigger that fires many times, its mails watched until all have come, and timed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

import httpx2

from optirelay.demo.sink import Sink
from optirelay.engine import operate
from optirelay.engine.context import Context
from optirelay.errors import OptirelayError
from optirelay.model import CampaignKind, TenantId

CAMPAIGN = 58831
PER_SECOND = 100
TRIGGER = {
    "tenant": 7001,
    "channel": 604,
    "campaign": CAMPAIGN,
    "name": "Looked at a loan",
    "templates": [20],
    "promo_codes": ["LOAN5"],
    "parameters": {"amount": "5,000 EUR"},
    "per_second": PER_SECOND,
    "duplicates": 0.1,
}
MOST_AT_ONCE = 500  # the simulator keeps the newest 1,000 notifications, and each is needed for its time


class Failed(OptirelayError):
    """The demo did not come to its end."""


async def ask_simulator(optimove: httpx2.AsyncClient, path: str, body: Mapping[str, Any]) -> None:
    """Have the simulator do something. Failed where it does not."""
    answer = await optimove.post(path, json=body)
    if answer.status_code != 200:
        raise Failed(f"the simulator answered {path} with {answer.status_code}: {answer.text}")


class Burst:
    """So many notifications of one trigger, a tenth of them sent twice; `look` drives it."""

    def __init__(self, ctx: Context, tenant: TenantId, channel: str, optimove: httpx2.AsyncClient, count: int) -> None:
        self._ctx = ctx
        self._tenant = tenant
        self._channel = channel
        self._optimove = optimove
        self.campaign = CAMPAIGN
        self.count = count
        self.shape: dict[str, Any] | None = None  # the campaign, once there is one
        self.fired = 0
        self.sids: dict[str, str] = {}  # of the messages that were accepted: the customer
        self._fired_at: dict[tuple[str, str], datetime] = {}  # by customer and time stamp
        self._firing = False
        self._unread = True
        self._told: dict[str, Any] = {"duplicates": 0, "failed": 0}

    @property
    def over(self) -> bool:
        """Whether all were fired and read, all is balanced, and Optimove was told, or that is in doubt."""
        if not self.count:
            return True
        if self._firing or self._unread or self.fired < self.count or not (self.shape and self.shape["balanced"]):
            return False
        reported = self.shape["reported"]
        return reported["accepted"] == self.shape["accepted"] or bool(reported["in_doubt_batches"])

    @property
    def duplicates(self) -> int:
        """How many notifications were sent a second time."""
        return int(self._told["duplicates"])

    async def look(self, *, may_begin: bool) -> None:
        """See how it stands; fire the next ones when those before are answered."""
        if not self.count or (not self.fired and not may_begin):
            return
        if self._firing:
            (self._told,) = (await self._optimove.get("/_sim/triggers")).json()
            if not self._told["running"]:
                self._firing = False
                await self._keep_times()
        if not self._firing and self.fired < self.count:
            number = min(MOST_AT_ONCE, self.count - self.fired)
            await ask_simulator(self._optimove, "/_sim/triggers/generate", {**TRIGGER, "count": number})
            self.fired += number
            self._firing = True
        if not self._firing and self._unread:
            read = f'optirelay_notifications_waiting{{tenant="{self._tenant}"}} 0'
            said = await operate.prometheus_text(self._ctx.store, [self._tenant])
            self._unread = not any(line.startswith(read.encode()) for line in said.splitlines())
        shapes = await operate.campaigns(self._ctx, campaign_id=str(CAMPAIGN), kind=CampaignKind.TRIGGERED)
        self.shape = shapes[0] if shapes else None

    async def _keep_times(self) -> None:
        """When each notification left the simulator for the first time."""
        for entry in (await self._optimove.get("/_sim/notifications")).json():
            body = entry["body"]
            if body.get("campaignID") == CAMPAIGN:
                key = body["customerID"], body["timeStamp"]
                self._fired_at.setdefault(key, datetime.fromisoformat(entry["at"]))

    async def faults(self, sink: Sink, interactions: Sequence[Mapping[str, Any]]) -> list[str]:
        """Simulator, ledger, SMTP server and Optimove must say the same. To be asked when it is over."""
        if self.shape is None:
            return ["no notification of the trigger became a message"] if self.count else []
        people: defaultdict[str, list[str]] = defaultdict(list)
        async for row in operate.export(
            self._ctx, self._tenant, str(CAMPAIGN), self._channel, kind=CampaignKind.TRIGGERED
        ):
            cells = dict(zip(operate.EXPORT_COLUMNS, row, strict=True))
            if cells["state"] == "accepted":
                self.sids[cells["sid"]] = cells["customer_id"]
                people[cells["customer_id"]].append(cells["sid"])
        told = Counter(c for call in interactions for c in call["body"]["CustomerIDs"])
        accepted = self.shape["accepted"]
        pairs = {
            "Optimove gave up notifications": (self._told["failed"], 0),
            "handed over are not as many as were fired": (self.shape["handed_over"], self.count),
            "the SMTP server has another number of mails than were accepted": (len(self.mails(sink)), accepted),
            "not all that was accepted is reported": (self.shape["reported"]["accepted"], accepted),
            "Optimove was told of another number of customers": (told.total(), accepted),
        }
        faults = [f"of triggers: {what}: {left} and {right}" for what, (left, right) in pairs.items() if left != right]
        if told != Counter(self.sids.values()):
            faults.append("of triggers: Optimove was told of others than were written to")
        return faults

    def mails(self, sink: Sink) -> dict[str, datetime]:
        """When each of its mails came to the SMTP server."""
        return {sid: sink.arrived_at[sid] for sid in self.sids if sid in sink.arrived_at}

    def latency_ms(self, sink: Sink) -> dict[str, float | None]:
        """From a notification's leaving the simulator until the SMTP server has all of the mail; null without mails.

        Both by the same clock. Where one customer met the trigger several times, first belongs to first.
        """
        fired: defaultdict[str, list[datetime]] = defaultdict(list)
        for (customer, _), at in self._fired_at.items():
            fired[customer].append(at)
        came: defaultdict[str, list[datetime]] = defaultdict(list)
        for sid, at in self.mails(sink).items():
            came[self.sids[sid]].append(at)
        took = sorted(
            (late - early).total_seconds() * 1000
            for customer, times in came.items()
            for early, late in zip(sorted(fired[customer]), sorted(times), strict=False)
        )
        return {f"p{share}_ms": _percentile(took, share) for share in (50, 99)}


def _percentile(ordered: Sequence[float], share: int) -> float | None:
    """Within which so many of a hundred lie; None without any."""
    return round(ordered[ceil(len(ordered) * share / 100) - 1], 1) if ordered else None
