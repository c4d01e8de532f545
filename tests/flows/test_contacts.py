"""People of our own directory: a campaign and triggers reach them, found by customer id, e-mail address or phone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
from tests.channels.webhook_receivers import SECRET, Receiver
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house
from tests.triggers import body, told, until_handed_over

from optirelay.engine import operate
from optirelay.engine.offering import keep_template
from optirelay.model import ChannelName, TemplateContent, TemplateId

ANA, BO = "+33612345678", "+33687654321"
CONTACTS = """\
customer_id,email,phone,push_token,TIER,FIRST_NAME
K-1,Ana@example.com,06 12 34 56 78,,gold,not asked
K-2,,06 87 65 43 21,,lead,
C-5,only-mail@example.com,,,,
S-1,shared@example.com,,,,
S-2,SHARED@example.com,+33 6 11 11 11 11,,,
S-3,shared@example.com,,token,,
C-1,c1@example.com,,,iron,
"""
TEXT = "{{ FIRST_NAME }}/{{ TIER }}"
TEXTS = {
    "kind": "sms",
    "scheduled_id": 504,
    "triggered_id": 604,
    "address": "contacts",
    "match": "attribute:EMAIL",
    "personalization": ["FIRST_NAME"],
}
MAILS = {"scheduled_id": 504, "triggered_id": 604, "address": "contacts", "from": "Acme <news@acme.example>"}
INBOX = {"kind": "inapp", "scheduled_id": 505, "address": "contacts"}
CHANNELS = {"504": "A", "604": "B", "505": "C"}
OPTIMOVE = {"tenants": [{"id": 7001, "key": "demo-key", "channels": CHANNELS, "customers": 0}]}
HOSTILE = (
    "ana@example.com;x@example.com",
    "'; drop table contact; --@x",
    "%",
    "@",
    "a" * 10_000,
    "a" * 9_990 + "@x.example",
)


@asynccontextmanager
async def directory(
    make_settings: MakeSettings, receiver: Receiver, tmp_path: Path, **channels: Mapping[str, Any]
) -> AsyncIterator[House]:
    """A house with these channels, and the directory imported."""
    webhook = {"provider": "webhook", "webhook": {"url": receiver.url, "secret": SECRET}}
    tenant = {"channels": {name: {**channel, **webhook} for name, channel in channels.items()}, "default_country": "FR"}
    allowed = {"allow_networks": ["127.0.0.0/8"]}
    async with open_house(make_settings, scenario=OPTIMOVE, tenant=tenant, service=allowed) as house:
        for name in channels:
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                content = TemplateContent("", TEXT)
                await keep_template(ledger, ChannelName(name), TemplateId(17), key="t", name="T", content=content)
        file = tmp_path / "people.csv"
        file.write_text(CONTACTS)
        done = await operate.import_contacts(house.ctx, "acme", file)
        assert (done.file.rows, done.file.changed, done.file.rejected) == (7, 7, 0)
        yield house


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().running() as running:
        yield running


def arrived(receiver: Receiver) -> list[tuple[str, str, str]]:
    """Of each message: whose it is, where it went, what it said."""
    messages = [message for request in receiver.posts for message in request.messages()]
    return sorted((message["customer_id"], message["to"], message["text"]) for message in messages)


async def test_who_is_matched_by_e_mail_or_phone_gets_the_message_of_each_customer(
    make_settings: MakeSettings, receiver: Receiver, tmp_path: Path
) -> None:
    async with directory(make_settings, receiver, tmp_path, texts=TEXTS) as house:
        emails = {
            "C-1": "ANA@EXAMPLE.COM",
            "C-2": " ana@example.com ",
            "C-3": "06.87.65.43.21",
            "C-4": "nobody@example.com",
            "C-5": "only-mail@example.com",
            "C-6": "",
            "C-7": "Shared@Example.com",
            "S-1": "shared@example.com",  # is that very contact, which has no phone
            **{f"H-{n}": value for n, value in enumerate(HOSTILE)},
        }
        await house.people(*({"customer_id": id_, "EMAIL": email, "FIRST_NAME": id_} for id_, email in emails.items()))
        campaign_id = await house.plan()
        await house.fire(campaign_id)
        counts = await house.until_state(campaign_id, "complete")
        assert counts.skipped == [{"no_address": 4 + len(HOSTILE)}]
        assert arrived(receiver) == [
            ("C-1", ANA, "C-1/gold"),
            ("C-2", ANA, "C-2/gold"),
            ("C-3", BO, "C-3/lead"),
            ("C-7", "+33611111111", "C-7/"),
        ]
        (skipped,) = await operate.messages(house.ctx, "acme", campaign_id, "C-4")
        assert (skipped["state"], skipped["reason"]) == ("skipped", "no_address")
        await triggered(house)
        assert arrived(receiver)[4:] == [("T-1", ANA, "T-1/gold"), ("T-2", BO, "/lead")]


async def triggered(house: House) -> None:
    """The same by triggers, in the same house."""
    await told(
        house,
        body(customerID="T-1", personalization={"first_name": "T-1"}, eMail="ANA@example.com"),
        body(customerID="T-2", personalization={"EMAIL": "+33 6 87 65 43 21", "tier": ""}),
        *(body(customerID=f"H-{n}", personalization={"EMAIL": value}) for n, value in enumerate(HOSTILE)),
        body(customerID="T-3", personalization={"EMAIL": "only-mail@example.com"}),
        body(customerID="T-4", personalization={}),
        body(customerID="T-5", actionID=1, personalization={"EMAIL": "ana@example.com"}),
        body(customerID="T-6", personalization={"EMAIL": "\0ana@example.com"}),
    )
    shape = await until_handed_over(house, 6 + len(HOSTILE))
    assert shape["skipped"] == {"no_address": 2 + len(HOSTILE), "control_group": 1, "unreadable": 1}


async def test_who_is_found_by_their_customer_id_is_written_to_where_the_directory_says(
    make_settings: MakeSettings, receiver: Receiver, tmp_path: Path
) -> None:
    async with directory(make_settings, receiver, tmp_path, mails=MAILS, inbox=INBOX) as house:
        ids = ["K-1", "K-2", "k-1", "nobody"]
        await house.people(*({"customer_id": id_, "EMAIL": "other@example.com"} for id_ in ids))
        campaigns = [await house.plan(channel=channel) for channel in (504, 505)]
        for campaign_id in campaigns:
            await house.fire(campaign_id)
        await told(house, *(body(customerID=id_, personalization={}) for id_ in [*ids, None]))
        counts = [await house.until_state(campaign_id, "complete") for campaign_id in campaigns]
        shape = await until_handed_over(house, 5)
        ana = ("K-1", "Ana@example.com", "not asked/gold")
        assert arrived(receiver) == [ana, ana, ("K-1", "K-1", "not asked/gold"), ("K-2", "K-2", "/lead")]
        assert [one.skipped for one in counts] == [[{"no_address": 3}], [{"no_address": 2}]]
        assert shape["skipped"] == {"no_address": 3, "no_customer": 1}
