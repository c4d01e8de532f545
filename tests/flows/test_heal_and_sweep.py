"""What is lost between Optimove and us mends itself: listeners, and campaigns that never announced themselves."""

from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NOBODY_YET, House, open_house

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
        await do(house, "update listener set moved_at = moved_at - interval '2 hours'")
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
        assert await lost(house) == []  # all of it was our own doing
