"""Optimove at its most unpleasant: everybody is written to once all the same, and the control group is left alone."""

from collections import Counter

import pytest
from tests.conftest import MakeSettings
from tests.flows.test_a_campaign import sent_customers
from tests.house import open_house

CUSTOMERS = 700


@pytest.mark.parametrize(
    "quirks",
    [
        {"notifications": "shuffled", "attributes": "singular", "ids": "strings", "paging": "shifting"},
        {"notifications": "twice", "attributes": "joined", "ids": "strings", "recipient_groups": "rows"},
    ],
    ids=lambda quirks: quirks["notifications"],
)
async def test_whatever_optimove_does_everybody_is_written_to_once(
    quirks: dict[str, str], make_settings: MakeSettings
) -> None:
    scenario = {"quirks": {"page_cap": 70, "control_group": "rows", "calls": "1000/1s"} | quirks}
    tenant = {"listen_also": [1, 2, 3, 5], "rate_limit": "1000/s"}
    async with open_house(make_settings, workers=2, tenant=tenant, scenario=scenario) as house:

        async def registered() -> bool:
            return len(await house.sim("listeners")) >= 6

        await house.until(registered)
        await house.push(17, 18)
        campaign_id = await house.plan(templates=[17, 18], customers=CUSTOMERS, events=[5, 1, 13, 2, 3, 1, 13])
        await house.fire(campaign_id)

        async def all_told_and_read() -> bool:
            notifications = await house.sim("notifications")
            async with house.ctx.store.tenant("acme").transaction() as ledger:  # type: ignore[arg-type]
                cursor = await ledger.connection.execute("select count(*) from notification where state = 'new'")
                return all(n["status"] == 200 for n in notifications) and await cursor.fetchone() == (0,)

        await house.until(all_told_and_read)
        counts = await house.until_state(campaign_id, "complete", seconds=60)
        skipped: Counter[str] = Counter()
        for reasons in counts.skipped:
            skipped.update(reasons)
        assert (counts.handed_over, skipped["control_group"]) == (CUSTOMERS, CUSTOMERS // 10)
        assert counts.accepted + skipped.total() == CUSTOMERS
        await house.until_reported(campaign_id)
        told = Counter(await sent_customers(house))
        assert (len(told), set(told.values())) == (counts.accepted, {1})
        assert await house.problems() == set()
