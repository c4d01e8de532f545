"""Push apps: marketers pick a template of an app, and its messages and reports say whose they are."""

from typing import Any

from tests.channels.webhook_receivers import SECRET, Receiver
from tests.conftest import MakeSettings
from tests.house import open_house

from optirelay.engine import operate

OPTIMOVE = {"tenants": [{"id": 7001, "key": "demo-key", "channels": {"506": "Push"}, "customers": 0}]}
IOS = b"---\nid: 17\nname: Ping\nchannel: push\nsubject: Hello\napp: ios-main\n---\nHello\n"
WEB = IOS.replace(b"17", b"18").replace(b"ios-main", b"web")
EVERY = IOS.replace(b"17", b"19").replace(b"app: ios-main\n", b"")


async def test_the_app_of_a_template_is_kept_on_its_messages_and_in_reports(make_settings: MakeSettings) -> None:
    async with Receiver().running() as receiver:
        push = {
            "kind": "push",
            "scheduled_id": 506,
            "provider": "webhook",
            "address": "attribute:TOKEN",
            "apps": {"ios-main": "Acme iOS", "web": "Acme Web"},
            "callback_secret": "callback-secret",
            "webhook": {"url": receiver.url, "secret": SECRET},
        }
        service = {"allow_networks": ["127.0.0.0/8"]}
        tenant = {"channels": {"push": push}}
        async with open_house(make_settings, scenario=OPTIMOVE, tenant=tenant, service=service) as house:
            people = [{"customer_id": f"C-{n}", "TOKEN": f"token-{n}"} for n in range(9)]
            await house.people(*people)
            files = {"ios.liquid": IOS, "web.liquid": WEB, "every.liquid": EVERY}
            assert [*(await operate.push_templates(house.ctx, "acme", files)).behind] == []
            shown = {row["template_id"]: row["app"] for row in await operate.templates(house.ctx)}
            assert shown == {17: "ios-main", 18: "web", 19: None}

            campaign_id = await house.plan(channel=506, customers=9, templates=[17, 18, 19])
            await house.fire(campaign_id)
            await house.until_state(campaign_id, "complete")
            posted = {post.said["data"]["customer_id"]: post.said["data"] for post in receiver.posts}
            apps = {customer: data["app_id"] for customer, data in posted.items()}
            assert all(shown[data["template_id"]] == data["app_id"] for data in posted.values())
            assert sorted(map(str, apps.values())) == ["None"] * 3 + ["ios-main"] * 3 + ["web"] * 3

            # Another app later is no news of messages that went before.
            moved = files | {"web.liquid": WEB.replace(b"app: web", b"app: ios-main")}
            assert [*(await operate.push_templates(house.ctx, "acme", moved)).behind] == []
            for customer, app in apps.items():
                (message,) = await operate.messages(house.ctx, "acme", campaign_id, customer)
                assert message["app_id"] == app
            await operate.report_now(house.ctx)
            told: dict[str, Any] = {}
            for call in await house.sim("interactions"):
                told |= dict.fromkeys(call["body"]["CustomerIDs"], call["body"].get("AppID"))
            assert told == apps
