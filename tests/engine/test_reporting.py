"""The database goes away for a moment while Optimove is told: no call stays under way of which nobody knows."""

from contextlib import suppress
from dataclasses import replace

import pytest
from tests.by_hand import sent
from tests.conftest import MakeSettings
from tests.house import ACME, open_house
from tests.model.cuts import Cut, How, Line

from optirelay import pipeline
from optirelay.store import StoreUnavailable

TRANSACTIONS = 30  # of one report with two calls, and some more


@pytest.mark.parametrize("how", [How.REFUSED, How.UNANSWERED])
async def test_whichever_transaction_of_a_report_is_cut_the_next_try_ends_it(
    make_settings: MakeSettings, database: str, how: How
) -> None:
    tenant = {"rate_limit": "1000/s"}
    scenario = {"quirks": {"calls": "1000/1s"}}
    async with (
        open_house(make_settings, workers=0, tenant=tenant, scenario=scenario) as house,
        Line(database, min_size=1, max_size=4, open=False, kwargs={"options": "-c timezone=UTC"}) as line,
    ):
        ctx = replace(house.ctx, store=house.ctx.store.over(line))
        await house.push(17)
        for at in range(TRANSACTIONS):
            campaign_id = await sent(house, customers=3)
            campaign = await house.campaign(campaign_id)
            with line.cut(Cut(how, at)), suppress(StoreUnavailable):
                await pipeline.report.run(ctx, ACME, campaign=campaign.id)
            await pipeline.report.run(ctx, ACME, campaign=campaign.id)
            reported = await house.reported(campaign_id)
            assert (reported.open, reported.accepted, reported.in_doubt_batches) == (0, 3, 0), at
