"""A provider that takes nothing: the channel stops or waits, nothing is lost or tried in vain, and all arrives once."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from tests.channels.webhook_receivers import SECRET, Receiver, reply
from tests.conftest import MakeSettings
from tests.house import ACME, NOBODY_YET, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.offering import keep_template
from optirelay.engine.operate.looking import Shape
from optirelay.model import ChannelName, TemplateContent, TemplateId

TEXTS, LETTERS = ChannelName("texts"), ChannelName("letters")
PEOPLE = 30


@asynccontextmanager
async def a_house(
    make_settings: MakeSettings, receiver: Receiver, *, workers: int = 2, **channel: Any
) -> AsyncIterator[House]:
    """Texts by the receiver, letters by somebody else; thirty people."""
    texts = {
        "kind": "sms",
        "scheduled_id": 504,
        "provider": "webhook",
        "address": "attribute:MOBILE",
        "webhook": {"url": receiver.url, "secret": SECRET, "concurrency": 5},
        **channel,
    }
    tenant = {"channels": {TEXTS: texts, LETTERS: {"scheduled_id": 604, "provider": "null"}}}
    service = {"allow_networks": ["127.0.0.0/8"]}
    async with open_house(make_settings, scenario=NOBODY_YET, workers=workers, tenant=tenant, service=service) as house:
        people = [f"{n:02}" for n in range(PEOPLE)]
        await house.people(
            *({"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "MOBILE": f"+336123456{n}"} for n in people)
        )
        for channel_name in (TEXTS, LETTERS):
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                content = TemplateContent("Hello", "Hello")
                await keep_template(ledger, channel_name, TemplateId(17), key="t", name="T", content=content)
        yield house


async def started(house: House, **plan: Any) -> str:
    campaign_id = await house.plan(**plan)
    await house.fire(campaign_id)
    return campaign_id


async def shape_of(house: House, campaign_id: str) -> Shape:
    (shape,) = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    return shape


async def until_stands(house: House, campaign_id: str, state: str, **numbers: int) -> None:
    """Wait until the campaign is in that state, with these numbers and nothing under way."""

    async def stands() -> bool:
        shapes = await operate.campaigns(house.ctx, campaign_id=campaign_id)
        wanted = {"state": state, "sending": 0, **numbers}
        return bool(shapes) and {name: shapes[0][name] for name in wanted} == wanted

    await house.until(stands)


async def problem_of(house: House, kind: str) -> Shape:
    """The one problem of that kind, once there is one."""

    async def told() -> bool:
        return kind in await house.problems()

    await house.until(told)
    (problem,) = [row for row in await operate.problems(house.ctx) if row["kind"] == kind]
    return problem


async def until_gone(house: House, kind: str) -> None:
    async def gone() -> bool:
        return kind not in await house.problems()

    await house.until(gone)


async def states(house: House) -> dict[str, str]:
    return {row["channel"]: row["state"] for row in await operate.channels(house.ctx)}


async def tries(house: House) -> int:
    """The most that any message is said to have been tried, and what is kept of tries."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select (select coalesce(max(tries), 0) from batch) + (select count(*) from attempt)"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def until_stopped(house: House, receiver: Receiver, said: str, *campaigns: str) -> None:
    """Wait until the receiver's answer has stopped the channel, and nothing is under way: all is as it was before."""
    problem = await problem_of(house, "channel_stopped")
    assert (problem["tenant"], problem["channel"]) == (ACME, TEXTS)
    assert problem["problem"].startswith(f"Channel texts is stopped: 127.0.0.1:{receiver.port} answers {said}; ")
    assert "check `url` and `secret` in [tenants.acme.channels.texts.webhook]" in problem["problem"]
    assert "`optirelay channels resume`" in problem["mend"]
    for campaign_id in campaigns:
        await until_stands(house, campaign_id, "held", planned=PEOPLE)
    assert await states(house) == {TEXTS: "stopped", LETTERS: "ok"}
    assert await tries(house) == 0
    assert receiver.taken == []


async def test_a_channel_that_its_provider_stops_keeps_everything_until_it_is_mended_and_resumed(
    make_settings: MakeSettings,
) -> None:
    receiver = Receiver(keyed=False, always=reply(401, "who are you?"))
    async with receiver.running(), a_house(make_settings, receiver) as house:
        campaign_id = await started(house)
        await until_stopped(house, receiver, "401 who are you?", campaign_id)
        posts = len(receiver.posts)
        letters, more_texts = await started(house, channel=604), await started(house)
        await until_stands(house, letters, "complete", accepted=PEOPLE)
        await until_stands(house, more_texts, "held", planned=PEOPLE)
        assert await pipeline.take(house.ctx, ACME, TEXTS) is None
        assert len(receiver.posts) == posts  # neither worker posted while letters went

        receiver.always = reply(403, "not from there")
        assert await operate.resume_channel(house.ctx, "acme", TEXTS)
        await until_stopped(house, receiver, "403 not from there", campaign_id, more_texts)
        assert await operate.pause_channel(house.ctx, "acme", TEXTS)
        assert (await states(house))[TEXTS] == "stopped"  # and paused
        receiver.always = reply(410, "moved away")
        assert await operate.resume_channel(house.ctx, "acme", TEXTS)
        await until_stopped(house, receiver, "410 moved away", campaign_id, more_texts)

        receiver.always = None
        assert await operate.resume_channel(house.ctx, "acme", TEXTS)
        for ended in (campaign_id, more_texts):
            await until_stands(house, ended, "complete", accepted=PEOPLE)
        assert len(receiver.taken) == len(set(receiver.taken)) == 2 * PEOPLE
        assert await tries(house) == 0
        assert await states(house) == {TEXTS: "ok", LETTERS: "ok"}
        await until_gone(house, "channel_stopped")
        assert not await operate.resume_channel(house.ctx, "acme", TEXTS)


async def test_what_expires_while_its_channel_is_stopped_is_skipped_when_it_is_resumed(
    make_settings: MakeSettings,
) -> None:
    receiver = Receiver(always=reply(401))
    async with receiver.running(), a_house(make_settings, receiver, expire_after="1h") as house:
        campaign_id = await started(house, send_at=["+0s"])
        await problem_of(house, "channel_stopped")
        await until_stands(house, campaign_id, "held", planned=PEOPLE)
        posts, receiver.always = len(receiver.posts), None
        await house.stop()  # workers would tell that the clock is off
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
            assert await operate.resume_channel(house.ctx, "acme", TEXTS)
            while taken := await pipeline.take(house.ctx, ACME, TEXTS):
                assert not (await pipeline.begin(house.ctx, ACME, taken, {}, most=100)).start
            await until_stands(house, campaign_id, "complete", planned=0)
        assert (await shape_of(house, campaign_id))["skipped"] == {"expired": PEOPLE}
        assert len(receiver.posts) == posts
        assert "channel_stopped" not in await house.problems()


async def test_a_provider_that_asks_for_a_pause_makes_its_whole_channel_wait(make_settings: MakeSettings) -> None:
    receiver = Receiver(keyed=False, always=reply(429, "slowly", retry_after="1"))
    async with receiver.running(), a_house(make_settings, receiver) as house:
        campaign_id = await started(house)
        problem = await problem_of(house, "channel_waiting")
        assert f"127.0.0.1:{receiver.port} asks us to wait: 429 slowly" in problem["problem"]

        async def waits() -> bool:
            return (await states(house)) == {TEXTS: "waiting", LETTERS: "ok"}

        await house.until(waits)
        receiver.always = None
        await until_stands(house, campaign_id, "complete", accepted=PEOPLE)
        assert len(receiver.taken) == len(set(receiver.taken)) == PEOPLE
        await until_gone(house, "channel_waiting")
        assert await states(house) == {TEXTS: "ok", LETTERS: "ok"}


async def test_where_nobody_listens_no_try_is_counted_and_all_arrives_once_somebody_does(
    make_settings: MakeSettings,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver = Receiver(keyed=False, port=free.getsockname()[1])
    async with a_house(make_settings, receiver) as house:
        campaign_id = await started(house)
        problem = await problem_of(house, "channel_waiting")
        assert f"127.0.0.1:{receiver.port}" in problem["problem"]
        await until_stands(house, campaign_id, "sending", planned=PEOPLE)
        assert await tries(house) == 0
        async with receiver.running():
            await until_stands(house, campaign_id, "complete", accepted=PEOPLE)
        assert len(receiver.taken) == len(set(receiver.taken)) == PEOPLE
        assert await tries(house) == 0
        await until_gone(house, "channel_waiting")
