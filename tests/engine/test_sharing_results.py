"""Results of attribute calls that are not as one would think."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.conftest import LISTENER_SECRET, MakeSettings
from tests.house import ACME, NEWSLETTER, House
from tests.opt_ins import ByAttributes, Way, customer, numbered, open_way, say

from optirelay.engine import operate, sharing
from optirelay.engine.sharing import results as sharing_results
from optirelay.model import CustomerId
from optirelay.store.sharing import OpenCall


async def told(way: Way) -> OpenCall:
    """What is to be told is told; its call, of which no result comes by itself."""
    await way.house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
    for _ in range(2):  # the attribute first
        await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
    async with way.house.ctx.store.tenant(ACME).transaction() as ledger:
        (call,) = await ledger.sharing.calls(NEWSLETTER)
    return call


async def result(house: House, call: OpenCall, *errors: dict[str, Any]) -> None:
    """Optimove posts that it did not take all of a call, and that is read."""
    body = json.dumps({"isSuccess": False, "requestId": call.request_id, "errors": errors})
    async with httpx2.AsyncClient(base_url=house.web_url) as client:
        answer = await client.post(f"/optimove/acme/{LISTENER_SECRET}/attributes?call={call.id}", content=body)
    assert answer.status_code == 200
    assert await sharing_results.settle_results(house.ctx, ACME) == 1


async def failures(house: House) -> dict[str, str]:
    return {row["customer_id"]: row["failed"] for row in await operate.optins_failed(house.ctx)}


async def test_a_result_that_does_not_say_whom_it_is_about_is_about_everybody(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, workers=0) as way:
        for errors, expected in (
            ([], ["NOT_SAID"] * 3),
            ([{"error": "INVALID_VALUE"}], ["INVALID_VALUE"] * 3),
            (
                [
                    {"error": "INVALID_VALUE", "customerId": ""},
                    {"error": "INVALID_CUSTOMER", "customerId": customer(2)},
                ],
                ["INVALID_VALUE", "INVALID_CUSTOMER", "INVALID_VALUE"],
            ),
            ([{"error": "INVALID_CUSTOMER", "customerId": customer(2)}], [None, "INVALID_CUSTOMER", None]),
        ):
            await say(way.house, numbered([1, 2, 3], True))
            async with way.house.ctx.store.tenant(ACME).transaction() as ledger:
                await ledger.sharing.untell(NEWSLETTER, "")
            await result(way.house, await told(way), *errors)
            found = await failures(way.house)
            assert [found.get(customer(one)) for one in (1, 2, 3)] == expected


async def test_who_said_something_new_since_does_not_wait_for_what_failed(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, workers=0) as way:
        await say(way.house, numbered([1, 2], True))
        call = await told(way)
        await say(way.house, numbered([1], False))
        error = {"error": "UPDATE_FIELD_TEMPORARY_UNAVAILABLE", "realFieldName": "EMAIL_OPTIN"}
        await result(way.house, call, *({**error, "customerId": customer(one)} for one in (1, 2)))
        assert list(await failures(way.house)) == [customer(2)]
        await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
        assert (await way.shown())[customer(1)] is False


async def test_an_id_that_no_address_can_carry_stops_nobody(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, workers=0) as way:
        await way.house.people({"customer_id": "."}, {"customer_id": ".."})
        await say(way.house, {CustomerId("."): True, CustomerId(".."): True, **numbered([1, 2, 3])})
        await told(way)
        monkeypatch.setattr(sharing_results, "RESULT_WITHIN", timedelta(0))
        await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
        assert await way.is_in_step()
        await sharing_results.check_drift(way.house.ctx, ACME)
        assert await way.is_in_step()


async def test_results_of_calls_that_are_not_open_any_more_hold_up_nobody(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, workers=0) as way:
        await say(way.house, numbered([1, 2]))
        call = await told(way)
        late = [(ACME, call.id + 1000, b'{"isSuccess":true,"requestId":"late"}')] * sharing_results.MOST_RESULTS
        good = (ACME, call.id, b'{"isSuccess":true,"requestId":"good"}')
        await way.house.ctx.store.keep_attribute_results([*late, good])
        while await sharing_results.settle_results(way.house.ctx, ACME):
            pass
        assert await way.is_in_step()


async def test_who_says_something_does_not_wait_until_all_calls_without_a_result_are_read_back(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_a_call = {"optimove": {"attributes_per_call": 1}}
    async with open_way(make_settings, tmp_path, ByAttributes, customers=9, workers=0, tenant=one_a_call) as way:
        await say(way.house, numbered(range(1, 9)))
        await way.house.optimove.post("/_sim/quirks", json={"attribute_callbacks": "never"})
        for _ in range(2):
            await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
        monkeypatch.setattr(sharing_results, "RESULT_WITHIN", timedelta(0))
        passes = 0
        while not await way.is_in_step():
            await say(way.house, numbered([9], passes % 2 == 0))
            before = len(await way.house.sim("calls"))
            await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
            first, *read = [call["call"] for call in (await way.house.sim("calls"))[before:]]
            assert (first, set(read)) == ("UpdateCustomerAttributes", {"GetCustomerAttributes"})
            assert len(read) <= sharing_results.MOST_OVERDUE
            passes += 1
            if passes == 4:
                break


async def test_an_attribute_that_is_gone_is_asked_for_again_however_optimove_writes_it(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=1, workers=0) as way:
        await say(way.house, numbered([1]))
        call = await told(way)
        error = {"error": "INVALID_FIELD", "customerId": customer(1), "realFieldName": "email_optin"}
        await result(way.house, call, error)
        await sharing.tell_opt_ins(way.house.ctx, ACME, NEWSLETTER)
        assert [one["call"] for one in await way.house.sim("calls")].count("AddCustomerAttribute") == 2
