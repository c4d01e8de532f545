"""Notifications out: what is fired, to whom, in which order, and what became of it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx2

from optirelay.simulator.campaigns import Campaign
from optirelay.simulator.clock import optimove_time, utc_now
from optirelay.simulator.exchange import to_json
from optirelay.simulator.seeded import fraction_from
from optirelay.simulator.triggers import Tally
from optirelay.simulator.world import World

CANCELLED = 4
OF_THE_DAY = (2, 3)  # of all of today's campaigns: they name none
ON_HOLD = 5  # the campaign waits for clearance, and did not run yet
BY_CHANNEL = 13  # the other types name no channel
# Not documented: how long Optimove waits for a listener and whether it tries again.
TIMEOUT_SECONDS = 10.0
TRIES = 4
PAUSE_SECONDS = 1.0
SHUFFLED_OVER_SECONDS = 1.0
SOON_SECONDS = 0.2  # after so long the result of an attribute call is told, unless a quirk says otherwise
GATEWAY_SECONDS = 5.0  # not documented: how long a gateway may take; Optimove expects its answer "in real time"


class Notification(NamedTuple):
    """One POST to one listener."""

    tenant_id: int
    url: str
    body: dict[str, Any]
    tally: Tally | None = None  # where to count what comes of it
    again: bool = False  # it was sent before
    kind: str = "notifications"  # under which name it is shown


class Firing:
    """Fires in the background; to one address in order, unless a quirk shuffles."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client: httpx2.AsyncClient | None = None  # made when needed: reading the certificates takes its time
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._shuffled = 0

    async def start(self) -> None:
        """Plan what the scenario wants to be fired by itself."""
        for campaign in self._world.campaigns:
            self.plan(campaign)

    async def stop(self) -> None:
        """Nothing more goes out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client:
            await self._client.aclose()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work in the background, until it is done or everything stops."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def plan(self, campaign: Campaign) -> None:
        """Fire at the campaign's own time, counted from now, if it has one."""
        if campaign.fire_at is not None:
            wait = campaign.fire_at if isinstance(campaign.fire_at, timedelta) else campaign.fire_at - utc_now()
            self.begin(self._fire_after(campaign, wait))

    def fire(self, campaigns: Sequence[Campaign], events: Sequence[int] | None = None) -> int:
        """The campaign on these channels has run: its rows can be read. How many notifications went out.

        Where it is only said to be on hold, it has not, and runs once the time for clearance is over.
        """
        now = utc_now()
        events = campaigns[0].events if events is None else events
        waiting = [campaign for campaign in campaigns if campaign.state == "waiting"]
        if set(events) != {ON_HOLD}:
            for campaign in campaigns:
                campaign.fire(now)
        elif waiting:
            for campaign in waiting:
                campaign.hold(now)
            self.begin(self._run_after(waiting))
        return self._notify(campaigns, events, now)

    def fire_day(self, tenant_id: int, events: Iterable[int]) -> int:
        """What is said of all of today's campaigns, also where there is none. How many notifications went out."""
        stamp, wire_id = optimove_time(utc_now()), self._world.quirks.wire_id
        return self.send(
            [
                Notification(tenant_id, url, {"EventTypeID": wire_id(event), "TimeStamp": stamp})
                for event in events
                for url in self._listeners(tenant_id, event)
            ]
        )

    def call_back(self, tenant_id: int, url: str | None, body: dict[str, Any]) -> None:
        """Tell what came of an attribute call: soon, late, twice or never, and nobody where no address was given."""
        quirks = self._world.quirks
        if url is None or quirks.attribute_callbacks == "never":
            return
        seconds = quirks.late_seconds if quirks.attribute_callbacks == "late" else SOON_SECONDS
        for _ in range(2 if quirks.attribute_callbacks == "twice" else 1):
            self.begin(self._send_after(Notification(tenant_id, url, body, kind="callbacks"), seconds))

    async def ask(self, tenant_id: int, url: str, question: dict[str, Any]) -> Any:
        """What a gateway answers, as JSON; None where it does not within GATEWAY_SECONDS."""
        entry = self._world.remember("gateway", tenant_id, utc_now(), url=url, body=question, answer=None, error=None)
        headers = {"content-type": "application/json"}
        try:
            answer = await self._posting().post(
                url, content=to_json(question), headers=headers, timeout=GATEWAY_SECONDS
            )
            entry["answer"] = answer.json() if answer.status_code == HTTPStatus.OK else None
            entry["error"] = None if answer.status_code == HTTPStatus.OK else f"answered {answer.status_code}"
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            entry["error"] = f"{type(error).__name__}: {error}"
        return entry["answer"]

    def cancel(self, campaigns: Sequence[Campaign]) -> int:
        """The campaign is off, on all of its channels. How many notifications went out."""
        now = utc_now()
        for campaign in campaigns:
            campaign.cancelled_at = campaign.cancelled_at or now
        return self._notify(campaigns, [CANCELLED], now)

    def _notify(self, campaigns: Sequence[Campaign], events: Iterable[int], now: datetime) -> int:
        stamp = now.replace(microsecond=0)
        for earlier in (campaign.stamped_at for campaign in campaigns):
            if earlier:
                stamp = max(stamp, earlier + timedelta(seconds=1))
        for campaign in campaigns:
            campaign.stamped_at = stamp
        notifications = [
            notification for event in events for notification in self._about(campaigns, event, optimove_time(stamp))
        ]
        return self.send(notifications)

    def send(self, notifications: Sequence[Notification]) -> int:
        """Tell the listeners, in the background. How many notifications went out."""
        if self._world.quirks.notifications == "twice":
            notifications = [
                notification for once in notifications for notification in (once, once._replace(again=True))
            ]
        for notification in notifications:
            self.begin(self._deliver(notification))
        return len(notifications)

    def _about(self, campaigns: Sequence[Campaign], event: int, stamp: str) -> list[Notification]:
        """What one event is for the listeners: https://developer.optimove.com/reference/post_general-registereventlistener."""
        wire_id = self._world.quirks.wire_id
        first = campaigns[0]
        tenant = self._world.tenants[first.tenant_id]
        body: dict[str, Any] = {"EventTypeID": wire_id(event), "TimeStamp": stamp}
        if event not in OF_THE_DAY:
            body["CampaignID"] = wire_id(first.campaign_id)
        if event == ON_HOLD:
            body["ClearanceRequiredBy"] = optimove_time(first.on_hold_until or utc_now() + first.clearance)
        if event != BY_CHANNEL:
            return [Notification(tenant.tenant_id, url, body) for url in self._listeners(tenant.tenant_id, event)]
        return [
            Notification(tenant.tenant_id, url, {**body, "ChannelID": wire_id(campaign.channel_id)})
            for campaign in campaigns
            for url in tenant.urls(event, campaign.channel_id)
        ]

    def _listeners(self, tenant_id: int, event: int) -> list[str]:
        return [url for key, url in self._world.tenants[tenant_id].listeners.items() if key.event_type == event]

    async def _run_after(self, campaigns: Sequence[Campaign]) -> None:
        """When the time for clearance is over: https://developer.optimove.com/docs/conditional-execution."""
        await asyncio.sleep(campaigns[0].clearance.total_seconds())
        waiting = [campaign for campaign in campaigns if campaign.state == "on_hold"]
        if waiting:
            self.fire(waiting, [event for event in waiting[0].events if event != ON_HOLD] or [BY_CHANNEL])

    async def _send_after(self, notification: Notification, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.send([notification])

    async def _fire_after(self, campaign: Campaign, wait: timedelta) -> None:
        await asyncio.sleep(max(0.0, wait.total_seconds()))
        if not campaign.cancelled_at:
            self.fire([campaign])

    async def _deliver(self, notification: Notification) -> None:
        entry = self._world.remember(
            notification.kind,
            notification.tenant_id,
            utc_now(),
            body=notification.body,
            url=notification.url,
            tries=0,
            status=None,
            error=None,
        )
        tally = notification.tally
        if tally:
            tally.sent += 1
            tally.duplicates += notification.again
        shuffled = self._world.quirks.notifications == "shuffled"
        if shuffled:
            self._shuffled += 1
            part = fraction_from(f"{self._world.seed}:shuffled:{self._shuffled}")
            await asyncio.sleep(part * SHUFFLED_OVER_SECONDS)
        async with nullcontext() if shuffled else self._turns[notification.url]:
            await self._post(notification, entry)
        while entry["status"] != 200 and entry["tries"] < TRIES:
            await asyncio.sleep(PAUSE_SECONDS)
            if tally:
                tally.retried += 1
            await self._post(notification, entry)
        if tally:
            tally.answered += entry["status"] == 200
            tally.failed += entry["status"] != 200

    def _posting(self) -> httpx2.AsyncClient:
        self._client = self._client or httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)
        return self._client

    async def _post(self, notification: Notification, entry: dict[str, Any]) -> None:
        headers, content = {"content-type": "application/json"}, to_json(notification.body)
        began = time.monotonic()
        try:
            answer = await self._posting().post(notification.url, content=content, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            outcome: dict[str, Any] = {"status": None, "error": f"{type(error).__name__}: {error}"}
        else:
            if notification.tally and answer.status_code == 200:
                notification.tally.took(time.monotonic() - began)
            wrong = None if answer.status_code == 200 else f"answered {answer.status_code}"
            outcome = {"status": answer.status_code, "error": wrong}
        entry.update(tries=entry["tries"] + 1, **outcome)
