"""Delivery events as a provider tells them, recorded without a worker."""

import json
from collections.abc import Mapping
from typing import Any

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.recording import compare_outcomes
from optirelay.model import ChannelName
from tests.house import ACME, NEWSLETTER, House


async def called_back(house: House, *events: Mapping[str, Any], channel: ChannelName = NEWSLETTER) -> None:
    """They came in one callback, were recorded, and doubts that they decide are decided."""
    body = json.dumps({"events": events}).encode()
    await house.ctx.store.keep_callbacks([(ACME, channel, body, body)])
    await recorded(house)


async def recorded(house: House) -> None:
    """What came is recorded."""
    while await pipeline.record(house.ctx):
        pass
    while await compare_outcomes(house.ctx):
        pass


async def sids_of(house: House, campaign_id: str) -> dict[str, str]:
    """The sid of each customer's message."""
    rows = [row async for row in operate.export(house.ctx, "acme", campaign_id, "newsletter")]
    sid, who = (operate.EXPORT_COLUMNS.index(name) for name in ("sid", "customer_id"))
    return {row[who]: row[sid] for row in rows}
