"""A campaign from its notification to its report."""

from tests.conftest import MakeSettings
from tests.house import open_house


async def test_a_campaign_travels_from_its_notification_to_its_report(make_settings: MakeSettings) -> None:
    async with open_house(make_settings) as house:
        await house.push(17, 18, 19)
        campaign_id = await house.plan(templates=[17, 18, 19], send_at=["+0s", "+1s"], customers=3000)
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.handed_over == 3000

        async def told() -> bool:
            return (await house.reported(campaign_id)).accepted == counts.accepted

        await house.until(told)
        interactions = await house.sim("interactions")
        sent = [c for call in interactions for c in call["body"]["CustomerIDs"]]
        assert len(sent) == len(set(sent)) == counts.accepted
