"""`check --online`: everything that can be wrong is broken once, and found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import time_machine
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay.engine import operate, runtime
from optirelay.optimove import OptimoveClient
from optirelay.settings import Settings


@asynccontextmanager
async def a_house(make_settings: MakeSettings, **how: Any) -> AsyncIterator[House]:
    """A house without a worker, whose listeners are registered and in which nothing is wrong."""
    async with open_house(make_settings, workers=0, tenant={"rate_limit": "1000/1s"}, **how) as house:
        await house.optimove.post("/_sim/quirks", json={"calls": "1000/1s"})
        await operate.sync_listeners(house.ctx)
        assert await operate.probe_online(house.ctx) == []
        yield house


async def told(house: House, settings: Settings | None = None) -> list[tuple[str, str]]:
    """Key and problem of each fault; as it is with other settings."""
    if settings is None:
        faults = await operate.probe_online(house.ctx)
    else:
        async with runtime.open_context(settings, settings.service.database) as ctx:
            faults = await operate.probe_online(ctx)
    assert all(set(fault) == {"key", "problem", "mend"} and fault["mend"] for fault in faults)
    return [(fault["key"], fault["problem"]) for fault in faults]


async def test_a_public_url_that_leads_nowhere_or_to_somebody_else_is_found(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        for url, why in {
            "http://127.0.0.1:1": "Nobody answers at public_url: no connection to 127.0.0.1:1",
            f"{house.web_url}/proxied": "What answers at public_url does not know the listener of tenant acme (404)",
            str(house.optimove.base_url): "What answers at public_url is not this service: a GET of tenant acme's",
        }.items():
            settings = make_settings(service={"public_url": url}, tenant={"api_url": str(house.optimove.base_url)})
            places = [(key, problem) for key, problem in await told(house, settings) if "Optimove" not in problem]
            assert [key for key, _ in places] == ["service.public_url"]
            assert places[0][1].startswith(why), places


async def test_a_key_that_is_wrong_is_told_from_one_that_lacks_a_right(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        for call in (
            "GetRegisteredEventListeners",
            "GetChannelTemplates",
            "GetExecutedCampaignsByChannel",
            "GetCustomerSendDetailsByChannel",
        ):
            await house.fault(call, "forbidden")
            ((key, problem),) = await told(house)
            assert key == "tenants.acme.api_key"
            assert problem.startswith("The key may not do all that is needed: Optimove does not accept our key for")
            assert f"{call} (403)" in problem
        for call in ("GetRegisteredEventListeners", "GetChannelTemplates"):
            await house.fault(call, "forbidden")
        assert len(await told(house)) == 2  # one call that is refused hides no other
        await house.fault("GetRegisteredEventListeners", "unauthorized")
        ((key, problem),) = await told(house)
        assert key == "tenants.acme.api_key"
        assert problem.startswith("Optimove does not accept our key for GetRegisteredEventListeners (401)")
        assert await told(house) == []
        assert await house.problems() == set()


async def test_a_key_that_cannot_change_attributes_is_found_where_opt_ins_are_told_by_them(
    make_settings: MakeSettings,
) -> None:
    async with a_house(make_settings) as house:
        url = str(house.optimove.base_url)
        shared = {"scheduled_id": 504, "opt_in": "attributes:EMAIL_OPTIN"}
        for tenant, wrong in (
            ({"admin_api_key": "nobody's"}, "admin_api_key"),
            ({}, None),
            ({"admin_api_key": "nobody's", "channels": {"newsletter": {"scheduled_id": 504}}}, None),
        ):
            settings = make_settings(
                service={"public_url": house.web_url},
                tenant={"api_url": url, "channels": {"newsletter": shared}, **tenant},
            )
            expected = [] if wrong is None else [f"tenants.acme.{wrong}"]
            assert [key for key, _ in await told(house, settings)] == expected
        assert "key_refused" not in await house.problems()


async def test_a_channel_id_that_optimove_does_not_know_is_found(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        wrong = {"wrong": {"scheduled_id": 999, "triggered_id": 998, "provider": "null"}}
        settings = make_settings(
            service={"public_url": house.web_url},
            tenant={"api_url": str(house.optimove.base_url), "channels": wrong},
        )
        found = {key for key, problem in await told(house, settings) if "ChannelID" in problem}
        assert found == {f"tenants.acme.channels.wrong.{kind}_id" for kind in ("scheduled", "triggered")}
        async with runtime.open_context(settings, settings.service.database) as ctx:
            mends = [fault["mend"] for fault in await operate.probe_online(ctx) if fault["key"] in found]
            assert all("it has 504 (" in mend for mend in mends)  # this key may ask for them
            await house.fault("GetExecutionChannels", "forbidden", times=2)
            mends = [fault["mend"] for fault in await operate.probe_online(ctx) if fault["key"] in found]
            assert mends == ["Write the number that Optimove told you for this channel"] * 2
        assert "key_refused" not in await house.problems()


async def test_attributes_that_cannot_be_read_are_found_where_there_is_a_campaign(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        await house.fault("GetCustomerSendDetailsByChannel", "refused")
        assert await told(house) == []  # of no campaign: it may just be that
        await house.fire(await house.plan(), events=[])
        await house.fault("GetCustomerSendDetailsByChannel", "refused")
        ((key, problem),) = await told(house)
        assert key == "tenants.acme.channels.newsletter.personalization"
        assert "GetCustomerSendDetailsByChannel" in problem


class WithDate(httpx2.AsyncBaseTransport):
    """Optimove as it is, with a clock of its own in its answers."""

    def __init__(self, off: timedelta) -> None:
        self._http = httpx2.AsyncHTTPTransport()
        self._off = off

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._http.handle_async_request(request)
        answer.headers["Date"] = format_datetime(datetime.now(UTC) + self._off, usegmt=True)
        return answer

    async def aclose(self) -> None:
        await self._http.aclose()


async def test_a_clock_that_is_off_is_found(make_settings: MakeSettings) -> None:
    async with a_house(make_settings) as house:
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
            ((key, problem),) = await told(house)
        assert key == "clock"
        assert "s ahead of the database's" in problem
        for minutes, words in ((0, None), (-5, "s ahead of that of tenant acme's Optimove"), (5, "s behind that")):
            transport = WithDate(timedelta(minutes=minutes))
            async with OptimoveClient(str(house.optimove.base_url), "demo-key", transport=transport) as client:
                faults = await operate.probe_online(replace(house.ctx, optimove={ACME: client}))
            assert [fault["key"] for fault in faults] == ([] if words is None else ["clock"])
            assert words is None or words in faults[0]["problem"]
