"""What is lost between Optimove and us mends itself: listeners, and campaigns that never announced themselves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from tests import by_hand
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate, runtime
from optirelay.settings import Settings

ANA = {"customer_id": "C-1", "EMAIL": "ana@example.com", "FIRST_NAME": "Ana"}
BO = {"customer_id": "C-2", "EMAIL": "bo@example.com", "FIRST_NAME": "Bo"}
ELSEWHERE = "https://partner.example.com/optimove/acme/13"
KEY = {"X-API-KEY": "demo-key"}


async def register(house: House, event_type: int, channel_id: int | None, url: str = ELSEWHERE) -> None:
    """Somebody registers a listener at Optimove: a new one, or another address for one that is there."""
    body = {"EventTypeID": event_type, "ListenerURL": url} | ({} if channel_id is None else {"ChannelID": channel_id})
    answer = await house.optimove.post("/current/general/RegisterEventListener", json=body, headers=KEY)
    assert answer.status_code == 200, answer.text


async def unregister(house: House, event_type: int, channel_id: int | None) -> None:
    """Somebody has Optimove forget a listener."""
    body = {"EventTypeID": event_type} | ({} if channel_id is None else {"ChannelID": channel_id})
    answer = await house.optimove.post("/current/general/UnregisterEventListener", json=body, headers=KEY)
    assert answer.status_code == 200, answer.text


async def listeners(house: House) -> dict[tuple[int, int | None], str]:
    """Where Optimove sends what."""
    (tenant,) = (await house.optimove.get("/_sim/state")).json()["tenants"]
    return {(row["EventTypeID"], row.get("ChannelID")): row["ListenerURL"] for row in tenant["listeners"]}


async def lost(house: House) -> list[str]:
    """What the operator is told of listeners."""
    return [row.problem for row in await house.ctx.store.problems() if row.kind == "listener_moved"]


async def do(house: House, statement: str) -> None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.connection.execute(statement)


async def sync_with(settings: Settings) -> None:
    """As a service with these settings does it."""
    async with runtime.open_context(settings, settings.service.database) as ctx:
        await operate.sync_listeners(ctx)


# --- listeners --------------------------------------------------------------------------------------------------------


async def test_a_listener_that_is_deleted_or_redirected_is_back_and_the_operator_is_told(
    make_settings: MakeSettings,
) -> None:
    scenario = {"quirks": {"calls": "1000/1s"}}
    tenant = {"rate_limit": "1000/1s"}
    async with open_house(
        make_settings, scenario=scenario, tenant=tenant, channel={"triggered_id": 604}, service={"heal_every": "300ms"}
    ) as house:
        await house.until(lambda: has_listeners(house, 3))
        before = await listeners(house)
        assert before.keys() == {(13, 504), (11, 604), (4, None)}
        assert await lost(house) == []  # the first registration is no news
        await unregister(house, 4, None)
        await register(house, 13, 504)
        await register(house, 2, None)  # somebody else's own
        await house.until(lambda: are(house, {**before, (2, None): ELSEWHERE}))
        await house.until(lambda: tells(house, 2))
        assert sorted(await lost(house)) == [
            "Optimove's listener for events of type 13 on channel id 504 led somewhere else (partner.example.com)",
            "Optimove's listener for events of type 4 was gone",
        ]
        await do(house, "update problem set since = since - interval '61 minutes'")
        await house.until(lambda: tells(house, 0))


async def has_listeners(house: House, count: int) -> bool:
    return len(await listeners(house)) == count


async def are(house: House, expected: dict[tuple[int, int | None], str]) -> bool:
    return await listeners(house) == expected


async def tells(house: House, count: int) -> bool:
    return len(await lost(house)) == count


async def test_old_listeners_of_ours_are_removed_and_others_are_left(make_settings: MakeSettings) -> None:
    two = {
        "news": {"scheduled_id": 504, "provider": "null"},
        "late": {"scheduled_id": 604, "provider": "null"},
    }
    tenant = {"channels": two, "listen_also": [1, 5]}
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, tenant=tenant) as house:
        await operate.sync_listeners(house.ctx)
        ours = await listeners(house)
        assert ours.keys() == {(13, 504), (13, 604), (4, None), (1, None), (5, None)}
        await register(house, 3, None, f"{house.web_url}/optimove/acme/a-secret-of-ours-from-long-ago")  # no row of it
        await register(house, 11, 504)
        await register(house, 13, 604)  # somebody else took it over: it is theirs now
        address = {"public_url": house.web_url}
        api = {"api_url": str(house.optimove.base_url)}
        # One channel and a type fewer, and we are called at another address: what is old shows it by its hash.
        fewer = {"news": two["news"]}
        moved = make_settings(
            service={"public_url": "https://new.example.com"}, tenant={**api, "channels": fewer, "listen_also": [5]}
        )
        await do(house, "insert into worker (id, host, pid) values ('another', 'host', 1)")
        await do(house, "update listener set wanted_by = 'another' where event_type = 1")
        await sync_with(moved)
        assert (await listeners(house))[1, None].startswith(house.web_url)  # a worker that lives wants it
        await do(house, "delete from worker")
        await sync_with(moved)
        after = await listeners(house)
        new = f"https://new.example.com/optimove/acme/{LISTENER_SECRET}"
        assert after == {
            (13, 504): new,
            (4, None): new,
            (5, None): new,
            (11, 504): ELSEWHERE,
            (13, 604): ELSEWHERE,
            (3, None): f"{house.web_url}/optimove/acme/a-secret-of-ours-from-long-ago",  # clearly ours only from there
        }
        await sync_with(make_settings(service=address, tenant={**api, "channels": fewer, "listen_also": [5]}))
        assert (3, None) not in await listeners(house)
        rotating = {"listener_secret": ["the-next-secret-of-32-characters", LISTENER_SECRET]}
        only = {**api, "channels": fewer, "listen_also": [5]}
        await sync_with(make_settings(service=address, tenant={**only, **rotating}))
        assert (await listeners(house))[13, 504].endswith("/the-next-secret-of-32-characters")
        assert await lost(house) == []  # all of it was our own doing


# --- the sweep --------------------------------------------------------------------------------------------------------


async def interactions(house: House) -> list[str]:
    """Everybody whom Optimove was told of as sent to, as often as it was told."""
    told = [call["body"] for call in await house.sim("interactions")]
    return sorted(customer for body in told if body["EventID"] == 0 for customer in body["CustomerIDs"])


async def shape_of(house: House, campaign_id: str) -> dict[str, Any]:
    (shape,) = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return shape


async def test_a_campaign_that_announced_itself_to_nobody_is_sent_once(make_settings: MakeSettings) -> None:
    scenario = {**NOBODY_YET, "quirks": {"calls": "1000/1s"}}
    tenant = {"rate_limit": "1000/1s"}
    async with open_house(make_settings, scenario=scenario, tenant=tenant, service={"sweep_every": "300ms"}) as house:
        await house.people(ANA, BO)
        await house.push(17)
        cancelled = await house.plan()
        await house.cancel(cancelled)
        await house.until_state(cancelled, "cancelled")
        await house.fire(cancelled, events=[])
        nobody = await house.plan(customers=0)
        await house.fire(nobody, events=[])
        silent = await house.plan()
        assert await house.fire(silent, events=[]) == 0
        await house.until_state(silent, "complete")
        await house.until_reported(silent)
        assert await interactions(house) == ["C-1", "C-2"]
        assert (await shape_of(house, silent))["found_by"] == "sweep"
        text = (await operate.prometheus_text(house.ctx.store, [ACME])).decode()
        assert 'optirelay_swept_campaigns{channel="newsletter",tenant="acme"} 1.0' in text
        # Its notification comes after all, and the sweep comes again and again.
        await house.fire(silent)
        await house.until(lambda: passes(house, silent, 2))
        counts = await house.until_state(silent, "complete")
        assert (counts.handed_over, counts.accepted) == (2, 2)
        assert await interactions(house) == ["C-1", "C-2"]
        assert (await shape_of(house, silent))["found_by"] == "notification"
        told = await house.plan()
        await house.fire(told)
        await house.until_state(told, "complete")
        assert (await shape_of(house, told))["found_by"] == "notification"
        assert (await house.campaign(cancelled)).handed_over == 0
        assert [shape["campaign_id"] for shape in await operate.campaigns(house.ctx)] == [cancelled, silent, told]
        assert await house.problems() == set()  # a cancelled one is none, either


async def passes(house: House, campaign_id: str, count: int) -> bool:
    """Whether so many passes of it are done."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select count(*) from pass p join campaign c on c.id = p.campaign where c.campaign_id = %s "
            "and p.state = 'done'",
            (campaign_id,),
        )
        return await cursor.fetchone() == (count,)


@asynccontextmanager
async def house_by_hand(make_settings: MakeSettings, **how: Any) -> AsyncIterator[House]:
    """Without a worker; two customers and template 17."""
    async with open_house(make_settings, scenario=NOBODY_YET, workers=0, **how) as house:
        await house.people(ANA, BO)
        await house.push(17)
        yield house


async def sweep(house: House) -> None:
    await pipeline.sweep.run(house.ctx, ACME)


async def known(house: House) -> list[str]:
    """Campaigns that are read, or were."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute("select campaign_id from campaign order by id")
        return [row[0] for row in await cursor.fetchall()]


async def test_what_was_executed_while_nobody_listened_is_ours(make_settings: MakeSettings) -> None:
    async with house_by_hand(make_settings) as house:
        silent = await house.plan()
        await house.fire(silent)  # there is no listener at all
        await register(house, 11, 504)  # and this one hears of other things
        await sweep(house)
        assert await known(house) == []  # we do not listen, either
        await operate.sync_listeners(house.ctx)
        await sweep(house)
        assert await known(house) == [silent]


async def test_what_was_executed_before_we_listened_is_somebody_elses(make_settings: MakeSettings) -> None:
    async with house_by_hand(make_settings) as house:
        theirs = await house.plan()
        await house.fire(theirs)
        await sweep(house)  # nobody listens yet
        await register(house, 13, 504)  # somebody else does
        await house.fault("GetExecutedCampaignsByChannel", "error_before")
        await operate.sync_listeners(house.ctx)
        assert (await listeners(house))[13, 504].startswith(house.web_url)
        await sweep(house)  # we listen, and do not know yet what was before
        assert await known(house) == []
        await operate.sync_listeners(house.ctx)
        ours = await house.plan()
        await house.fire(ours, events=[])
        await sweep(house)
        assert await known(house) == [ours]
        # Under another name the channel's ledger is empty: what it had sent is not sent again.
        api = {"api_url": str(house.optimove.base_url)}
        renamed = {"letters": {"scheduled_id": 504, "provider": "null"}}
        other = make_settings(service={"public_url": house.web_url}, tenant={**api, "channels": renamed})
        async with runtime.open_context(other, other.service.database) as ctx:
            await pipeline.sweep.run(ctx, ACME)
            await operate.sync_listeners(ctx)
            await pipeline.sweep.run(ctx, ACME)
        assert await known(house) == [ours]


async def test_a_sweep_that_is_killed_and_one_that_meets_the_notification_change_nothing(
    make_settings: MakeSettings,
) -> None:
    async with house_by_hand(make_settings) as house:
        await operate.sync_listeners(house.ctx)
        first, second = await house.plan(), await house.plan()
        await house.fire(first, events=[])
        await house.fire(second)  # is told, and not read yet
        await sweep(house)
        await sweep(house)  # a job that was killed at any instant runs again
        await by_hand.accepted(house)
        await by_hand.gather_all(house)
        for campaign_id, passes_done in ((first, 1), (second, 2)):
            assert (await house.campaign(campaign_id)).handed_over == 2
            assert await passes(house, campaign_id, passes_done)


async def test_yesterdays_campaign_is_not_started_once_more_today(make_settings: MakeSettings) -> None:
    async with house_by_hand(make_settings, tenant={"timezone": "Pacific/Auckland"}) as house:
        await operate.sync_listeners(house.ctx)
        announced = await by_hand.fetched(house)
        silent = await house.plan()
        await house.fire(silent, events=[])
        before = (await house.campaign(announced)).planned_on
        tomorrow = datetime.now(UTC).replace(hour=0, minute=1) + timedelta(days=1)
        with time_machine.travel(tomorrow):
            await sweep(house)
            await sweep(house)
            await by_hand.gather_all(house)
        assert await known(house) == [announced, silent]
        assert (await house.campaign(announced)).planned_on == before
        assert (await house.campaign(announced)).handed_over == (await house.campaign(silent)).handed_over == 2


async def test_each_channel_is_swept_by_itself_and_a_cancel_counts_on_all(make_settings: MakeSettings) -> None:
    two = {name: {"scheduled_id": number, "provider": "null"} for name, number in (("news", 504), ("late", 604))}
    async with house_by_hand(make_settings, tenant={"channels": two}) as house:
        await operate.sync_listeners(house.ctx)
        lost_on_late, cancelled = await house.plan(), await house.plan()
        for campaign_id in (lost_on_late, cancelled):  # the second channel's notification never comes
            await house.plan(id=int(campaign_id), channel=604)
            await house.fire(campaign_id, events=[])
            told = {"EventTypeID": 13, "TimeStamp": "2031-04-02 06:12:02", "CampaignID": campaign_id, "ChannelID": 504}
            await house.notify(json.dumps(told).encode())
        await house.cancel(cancelled)
        await by_hand.accepted(house, 3)
        assert await known(house) == [lost_on_late, cancelled]
        await house.fault("GetExecutedCampaignsByChannel", "forbidden")  # on the first channel: the second is swept
        await sweep(house)
        assert await known(house) == [lost_on_late, cancelled, lost_on_late]
        assert await house.problems() == set()
