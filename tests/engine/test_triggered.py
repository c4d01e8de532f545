"""Triggered messages step by step: when they are late, what Optimove is told day by day, and how they are counted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import time_machine
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House
from tests.triggers import CAMPAIGN, body, open_triggered, shape_of, told

from optirelay import pipeline
from optirelay.clock import utc_now
from optirelay.engine import dispatch, operate
from optirelay.engine.settle import Known
from optirelay.engine.starting import Started
from optirelay.model import Accepted, Answer, CampaignKind, ChannelName, Later, Refusal, Refused, TenantId

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Taking:
    """Takes what starts, and keeps it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.started: list[Started] = []

    def room(self, tenant: TenantId, channel: ChannelName) -> int:
        return self._most

    def give(self, started: Sequence[Started]) -> None:
        self.started += started

    def maybe_started(self, started: Sequence[Started]) -> None:
        raise AssertionError(started)


async def begun(house: House, *bodies: bytes, most: int = 1000) -> list[Started]:
    """Notifications that have come, accepted in one group; what started of it."""
    await told(house, *bodies)
    taking = Taking(most)

    async def all_read() -> bool:
        await pipeline.accept(house.ctx, taking)
        return await number(house, "select count(*) from notification where state = 'new'") == 0

    await house.until(all_read)
    return taking.started


async def answered(house: House, started: Sequence[Started], answer: Answer = Accepted()) -> None:  # noqa: B008 - frozen
    for one in started:
        known = Known({message.number: answer for message in one.begun.start})
        await pipeline.write_answers(house.ctx, ACME, {one.batch: known})


async def number(house: House, query: str) -> int:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(query.encode())
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def next_group(house: House, now: datetime) -> list[int]:
    """What of the next due triggered batch starts at that time."""
    with time_machine.travel(now, tick=False):
        taken = await pipeline.take(house.ctx, ACME, NEWSLETTER, triggered=True)
        if taken is None:
            return []
        group = await pipeline.begin(house.ctx, ACME, taken, {}, most=100)
        if not group.start:
            await pipeline.free(house.ctx, ACME, taken, group.next_due_at)
        return [message.number for message in group.start]


async def test_twice_a_minute_apart_is_two_messages_and_one_told_again_an_hour_later_is_one(
    make_settings: MakeSettings,
) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        first, second = body(timeStamp="2026-01-05 10:00:00"), body(timeStamp="2026-01-05 10:01:00")
        await answered(house, await begun(house, first, second))
        await number(house, "update notification set received_at = received_at - interval '1 hour' returning 1")
        await number(house, "update message set send_at = send_at - interval '1 hour' returning 1")
        other_bytes = body(timeStamp="2026-01-05 10:00:00", notes="told again")
        assert await begun(house, first, other_bytes) == []
        assert (await shape_of(house))["accepted"] == 2


async def test_it_expires_so_long_after_its_arrival(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0, expire_triggered_after="30m") as house:
        assert await begun(house, body(), body(customerID="C-2"), most=0) == []
        assert len(await next_group(house, utc_now() + 29 * MINUTE)) == 2
    async with open_triggered(make_settings, workers=0, expire_triggered_after="30m") as house:
        later = {"timeStamp": "2031-04-02 14:00:00"}
        assert await begun(house, body(**later), most=0) == []
        assert await next_group(house, utc_now() + 31 * MINUTE) == []
        assert (await shape_of(house))["skipped"] == {"expired": 1}


async def test_it_waits_for_the_end_of_quiet_hours_and_expires_after_that(make_settings: MakeSettings) -> None:
    now = datetime.now(UTC).replace(microsecond=0, second=0)
    quiet = f"{now - HOUR:%H:%M}-{now + 2 * HOUR:%H:%M}"
    async with open_triggered(make_settings, workers=0, quiet_hours=quiet, expire_triggered_after="1h") as house:
        assert await begun(house, body()) == []
        assert (await shape_of(house))["planned"] == 1
        assert await next_group(house, now + 2 * HOUR - MINUTE) == []
        assert len(await next_group(house, now + 3 * HOUR - MINUTE)) == 1


async def test_what_must_not_start_waits_and_the_rest_of_a_group_does_not(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        await operate.pause_channel(house.ctx, "acme", "newsletter")
        assert await begun(house, body()) == []
        await operate.resume_channel(house.ctx, "acme", "newsletter")
        started = await begun(house, body(customerID="C-2"), body(customerID="C-3", templateID=99))
        assert [len(one.begun.start) for one in started] == [1]
        assert len(await next_group(house, utc_now())) == 1  # the one that came while the channel was paused
        assert (await shape_of(house))["planned"] == 1  # whose template is not there


async def test_what_waits_and_came_one_by_one_goes_on_together(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        for who in ("a", "b", "c"):
            await begun(house, body(customerID=who), most=0)
        await begun(house, body(customerID="d", campaignID=7), most=0)
        assert await number(house, "select count(*) from batch where done_at is null") == 4
        assert len(await next_group(house, utc_now())) == 3
        assert len(await next_group(house, utc_now())) == 1
        assert (await shape_of(house))["sending"] == 3
        assert await added_up(house) == 3  # those that are empty now
        await house.audit()


async def test_optimove_is_told_of_each_day_and_of_the_totals_of_all(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        days = ("2031-04-02 23:59:59", "2031-04-03 00:00:01")
        people = ("a", "b", "c")
        first, *rest = await begun(house, *(body(timeStamp=days[0], customerID=who) for who in people))
        assert rest == []
        await answered(house, [first])
        assert await operate.report_now(house.ctx) == []
        assert await told_of(house) == [(0, ["a", "b", "c"])]
        assert await totals(house) == [(0, 3)]
        await answered(house, await begun(house, body(timeStamp=days[1], customerID="a")))
        await answered(house, await begun(house, body(timeStamp=days[1], customerID="d")), Refused(Refusal.REJECTED))
        await answered(house, await begun(house, body(timeStamp=days[1], customerID=None)))
        assert await operate.report_now(house.ctx) == []
        assert await told_of(house) == [(0, ["a", "b", "c"]), (0, ["a"]), (5, ["d"])]  # a visitor has no name there
        assert await totals(house) == [(0, 5), (5, 1)]
        assert await operate.report_now(house.ctx) == []
        assert len(await told_of(house)) == 3
        assert (await shape_of(house))["reported"]["accepted"] == 4
        assert {call["body"]["ChannelID"] for call in await house.sim("interactions")} == {604}


async def test_a_campaign_whose_id_is_no_number_is_not_told_of_where_no_call_can_name_it(
    make_settings: MakeSettings,
) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        await answered(house, await begun(house, body(campaignID="winback-7")))
        assert await operate.report_now(house.ctx) == []
        assert (await house.sim("interactions"), await house.sim("metrics")) == ([], [])
        shape = await shape_of(house, "winback-7")
        assert (shape["accepted"], shape["reported"]["accepted"], shape["reported"]["next_at"]) == (1, 0, None)


async def test_counters_are_added_up_and_changed_afterwards_and_stay_right(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        for who in ("a", "b", "c"):
            await answered(house, await begun(house, body(customerID=who)))
        await answered(house, await begun(house, body(customerID="d")), Refused(Refusal.REJECTED))
        await begun(house, body(customerID="e", personalization={}))
        before = await shape_of(house)
        assert (before["accepted"], before["refused"], before["skipped"]) == (3, {"rejected": 1}, {"no_address": 1})
        assert await added_up(house) == 5
        assert await number(house, "select count(*) from batch where not added_up") == 0
        assert await shape_of(house) == before
        await operate.report_now(house.ctx)
        assert (await totals(house), await number(house, "select sum(untold) from day_total")) == ([(0, 3), (5, 1)], 0)
        await answered(house, await begun(house, body(customerID="f")))
        again, _ = await operate.retry_refused(house.ctx, "acme", CAMPAIGN, "newsletter", kind=CampaignKind.TRIGGERED)
        assert (again, (await shape_of(house))["planned"]) == (1, 1)
        await house.audit()
        await next_group(house, utc_now())
        assert await added_up(house) == 1  # not the one that is empty now
        assert (await shape_of(house))["sending"] == 1
        await operate.report_now(house.ctx)
        assert await totals(house) == [(0, 4), (5, 0)]
        await house.audit()


async def test_when_a_day_began_is_known_also_where_all_its_messages_moved(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        await answered(house, await begun(house, body()), Later())  # it waits in another batch
        assert await added_up(house) == 0
        later = utc_now() + 5 * HOUR
        with time_machine.travel(later):
            await dispatch.put_due_reports(house.ctx)
            assert await number(house, "select count(*) from campaign where report_at is not null") == 1


async def test_a_day_that_is_over_is_closed_and_opened_by_who_comes_late(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        await answered(house, await begun(house, body(timeStamp="2026-01-05 10:00:00")))
        states = "select count(*) from campaign where state = 'complete'"
        await closed_days(house)
        assert await number(house, states) == 0  # it began just now
        await number(house, "update campaign set created_at = now() - interval '2 days' returning 1")
        await closed_days(house)
        assert await number(house, states) == 1
        await answered(house, await begun(house, body(timeStamp="2026-01-05 10:00:01")))
        assert await number(house, states) == 0
        assert (await shape_of(house))["accepted"] == 2


async def test_a_flood_of_one_tenant_stands_before_nobody_else(make_settings: MakeSettings) -> None:
    async with open_triggered(make_settings, workers=0) as house:
        other = TenantId("other")
        await house.ctx.store.know({other: ("newsletter",)})
        await house.ctx.store.keep_notifications([(ACME, body(customerID=f"C-{n}")) for n in range(150)])
        await house.ctx.store.keep_notifications([(other, body(customerID="few"))])
        async with house.ctx.store.transaction() as everyone:
            taken = await everyone.take_notifications(100, 1_000_000)
            assert len(taken) == 51
            assert taken[-1].body == body(customerID="few")
            assert len(await everyone.take_notifications(100, 1)) == 1  # however large it is


async def added_up(house: House) -> int:
    async with house.ctx.store.transaction() as everyone:
        return await everyone.add_up(1000, after=timedelta(0))


async def closed_days(house: House) -> None:
    async with house.ctx.store.transaction() as everyone:
        await everyone.close_days((utc_now() - DAY).date(), 1000)


async def told_of(house: House) -> list[tuple[int, list[str]]]:
    """Event and customers of every interactions call, as they came."""
    calls = [call["body"] for call in await house.sim("interactions")]
    return [(int(call["EventID"]), sorted(call["CustomerIDs"])) for call in calls]


async def totals(house: House) -> list[tuple[int, int]]:
    """The last value that Optimove was told of each metric."""
    told_values: dict[int, int] = {}
    for call in await house.sim("metrics"):
        told_values |= {int(row["MetricID"]): int(row["MetricValue"]) for row in call["body"]}
    return sorted(told_values.items())
