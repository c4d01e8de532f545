"""A fresh simulator for each test, and a client that has the key of its one tenant."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.simulator.listener import Listener, listening

from optirelay.simulator import Simulator


@pytest.fixture
async def optimove() -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        Simulator(scenario={"quirks": {"calls": "1000/1s"}}) as simulator,
        httpx2.AsyncClient(base_url=simulator.url, headers={"X-API-KEY": "demo-key"}, verify=False) as client,
    ):
        yield client


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener
