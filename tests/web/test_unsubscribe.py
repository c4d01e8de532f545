"""Who follows the link of a message: what they are answered, what is kept, and who is written to from then on."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import quote

import httpx2
import psycopg
import time_machine
from psycopg.conninfo import conninfo_to_dict
from tests import by_hand
from tests.channels.smtp_servers import Mailbox, aiosmtpd_server
from tests.conftest import MakeSettings
from tests.events import recorded
from tests.house import ACME, NEWSLETTER, House
from tests.web.links import LETTERS, NOTHING_SAID, house_with_links, link_to, said, send_all, sent_link

from optirelay.engine import operate
from optirelay.model import CustomerId, TenantId
from optirelay.settings import Settings
from optirelay.store.link_tokens import LinkTokens, read_token
from optirelay.store.opt_outs import Statement
from optirelay.web.ingest import WebApp

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
HOUR = timedelta(hours=1)


def visitor(house: House) -> httpx2.AsyncClient:
    """Somebody who knows nothing but a link."""
    return httpx2.AsyncClient(base_url=house.web_url, timeout=30)


def served(house: House, settings: Settings) -> httpx2.AsyncClient:
    """The same with other settings in force."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=WebApp(settings, house.ctx.store)),
        base_url="http://here",
    )


async def test_who_unsubscribes_gets_no_more_of_that_channel_and_all_of_the_others(make_settings: MakeSettings) -> None:
    async with house_with_links(make_settings, "ana", "bo") as house, visitor(house) as ana:
        first = await by_hand.sent(house)
        planned = await by_hand.fetched(house, send_at=["+1h"])
        link = await link_to(house, first, "ana")
        assert [(await ana.post(link)).status_code for _ in range(3)] == [200, 200, 200]
        assert await said(house) == {"newsletter": (False, "link"), "letters": (None, None)}
        assert await said(house, "bo") == NOTHING_SAID

        await recorded(house)
        [message] = await operate.messages(house.ctx, ACME, first, "ana")
        assert (message["state"], [event["event"] for event in message["events"]]) == ("unsubscribed", ["unsubscribed"])
        [shape] = await operate.campaigns(house.ctx, campaign_id=first)
        assert (shape["accepted"], shape["events"]["unsubscribed"]) == (2, 1)

        second = await by_hand.sent(house)
        other = await by_hand.fetched(house, channel=505, templates=[18])
        await send_all(house, LETTERS)
        with time_machine.travel(datetime.now(UTC) + 2 * HOUR):
            await send_all(house, NEWSLETTER)
        for campaign_id in (second, planned):
            [shape] = await operate.campaigns(house.ctx, campaign_id=campaign_id)
            assert (shape["skipped"], shape["accepted"]) == ({"opted_out": 1}, 1)
            assert (await house.message(campaign_id, "ana")).reason == "opted_out"
        [shape] = await operate.campaigns(house.ctx, campaign_id=other)
        assert (shape["skipped"], shape["accepted"]) == ({}, 2)
        await house.audit()


async def test_a_mail_program_unsubscribes_in_one_click_and_any_other_body_is_a_person(
    make_settings: MakeSettings,
) -> None:
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "form": ("one_click", {"data": ONE_CLICK}),
        "parts": ("one_click", {"files": {name: (None, value) for name, value in ONE_CLICK.items()}}),
        "among": ("one_click", {"data": {"a": "b", **ONE_CLICK}}),
        "nothing": ("link", {}),
        "nearly": ("link", {"data": {"List-Unsubscribe": "One-Click-Not"}}),
        "inside": ("link", {"data": {"x": "List-Unsubscribe=One-Click"}}),
        "noise": ("link", {"content": b"\xff\x00\r\n" * 1000}),
        "long": ("link", {"content": b' name="List-Unsubscribe"\r\n' * 40_000}),
    }
    async with house_with_links(make_settings, *requests) as house, visitor(house) as program:
        campaign_id = await by_hand.sent(house)
        for customer, (source, request) in requests.items():
            answer = await program.post(await link_to(house, campaign_id, customer), **request)
            assert (answer.status_code, len(answer.history), len(answer.cookies)) == (200, 0, 0)
            assert await said(house, customer) == {"newsletter": (False, source), "letters": (None, None)}


async def test_whoever_only_looks_or_sends_what_no_page_sends_changes_nothing(make_settings: MakeSettings) -> None:
    async with house_with_links(make_settings, "ana") as house, visitor(house) as scanner:
        link = await sent_link(house)
        for _ in range(20):
            page, head = await scanner.get(link), await scanner.head(link)
            assert (page.status_code, head.status_code) == (200, 200)
            assert head.content == b""
            assert '<form method="post">' in page.text
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await scanner.request(method, link)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
        assert (await scanner.post(link, content=b"x" * (1024 * 1024 + 1))).status_code == 413
        assert await said(house) == NOTHING_SAID
        headers = page.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert "Set-Cookie" not in headers
        assert "ana@example.com" not in page.text


def forged(token: str) -> list[str]:
    """What somebody who has a link could try in its place."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = [
        token[:place] + letters[(letters.index(letter) + step) % 64] + token[place + 1 :]
        for place, letter in enumerate(token)
        for step in (1, 32)
    ]
    lengths = ["", token[:-1], token[1:], token[:16], f"{token}A", f"A{token}", token * 2, f"{token}=", "A" * 36]
    alphabets = [f"+{token[1:]}", f"%2F{token[1:]}", f"{token[:-1]}é", "й" * 36, token.swapcase(), token[::-1]]
    encoded = [quote(quote(f" {token}")), f"{token}%00", f"{token}%0d%0a", "%ff" * 36, f"{token[:-1]}%", f"{token}/"]
    return [*changed, *lengths, *alphabets, *encoded, "A" * 4000, "..", "%2e%2e%2f" * 4]


async def test_a_link_that_was_not_made_here_for_this_tenant_leads_nowhere(make_settings: MakeSettings) -> None:
    def with_globex(**keywords: Any) -> Settings:
        settings = make_settings(**keywords)
        return settings.model_copy(update={"tenants": {**settings.tenants, "globex": settings.tenants["acme"]}})

    async with house_with_links(with_globex, "ana") as house, visitor(house) as mallory:
        link = await sent_link(house)
        answers = [await mallory.get(f"/u/{token}") for token in forged(link[3:])]
        answers += [await mallory.post(f"/u/{token}", data=ONE_CLICK) for token in forged(link[3:])]
        assert {answer.status_code for answer in answers} == {404}
        pages = [answer for answer in answers if re.fullmatch(r"/u/[^/]*", answer.request.url.path)]
        assert len(pages) > 150
        assert all("This link does not work" in answer.text for answer in pages)
        assert await said(house) == NOTHING_SAID
        # Letters written as their codes are the same letters: whatever rewrites links on their way may do so.
        assert (await mallory.get("/u/" + "".join(f"%{ord(letter):02X}" for letter in link[3:]))).status_code == 200
        await foreign_links_lead_nowhere(house, mallory, link)
        assert await said(house) == NOTHING_SAID


async def foreign_links_lead_nowhere(house: House, mallory: httpx2.AsyncClient, link: str) -> None:
    store = house.ctx.store
    named = read_token(link[3:])
    assert named is not None
    async with store.tenant(ACME).transaction() as ledger:
        rows = await (await ledger.connection.execute("select name, link_key from tenant")).fetchall()
    keys = dict(rows)
    assert keys["acme"] != keys["globex"]
    acme, globex = store.number_of(ACME), store.number_of(TenantId("globex"))
    for key, tenant in [
        (keys["globex"], acme),  # signed with another tenant's key
        (bytes(32), acme),  # with another installation's
        (keys["acme"], globex),  # another tenant's name under our signature
        (keys["acme"], globex + 1),
    ]:
        token = LinkTokens(key, tenant, named.planned_on).of(named.message)
        assert (await mallory.get(f"/u/{token}")).status_code == 404
        assert (await mallory.post(f"/u/{token}", data=ONE_CLICK)).status_code == 404
    token = LinkTokens(keys["globex"], globex, named.planned_on).of(named.message)  # genuine, of no message
    assert (await mallory.post(f"/u/{token}", data=ONE_CLICK)).status_code == 404
    assert await said(house) == NOTHING_SAID

    gone = house.ctx.settings.model_copy(update={"tenants": {"globex": house.ctx.settings.tenants["globex"]}})
    async with served(house, gone) as web:
        assert (await web.get(link)).status_code == 404
        assert (await web.post(link)).status_code == 404
    assert await said(house) == NOTHING_SAID


async def test_without_a_database_nothing_is_promised_and_later_it_works(
    make_settings: MakeSettings, server: str, database: str
) -> None:
    async with house_with_links(make_settings, "ana") as house, visitor(house) as ana:
        link = await sent_link(house)
        name = conninfo_to_dict(database)["dbname"]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {name} with allow_connections false")
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            answer = await ana.post(link)
            connection.execute(f"alter database {name} with allow_connections true")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "Please try again" in answer.text

        async def unsubscribed() -> bool:
            return (await ana.post(link)).status_code == 200

        await house.until(unsubscribed)
        assert (await said(house))["newsletter"] == (False, "link")


async def test_who_opts_in_again_can_unsubscribe_again(make_settings: MakeSettings) -> None:
    async with house_with_links(make_settings, "ana") as house, visitor(house) as ana:
        link = await sent_link(house)
        await ana.post(link, data=ONE_CLICK)
        with time_machine.travel(datetime.now(UTC) + HOUR):
            again = Statement(CustomerId("ana"), NEWSLETTER, datetime.now(UTC), opted_in=True, source="api")
            async with house.ctx.store.tenant(ACME).transaction() as ledger:
                await ledger.opt_outs.keep([again])
        assert (await said(house))["newsletter"] == (True, "api")
        with time_machine.travel(datetime.now(UTC) + 2 * HOUR):
            assert (await ana.post(link)).status_code == 200
        assert (await said(house))["newsletter"] == (False, "link")
        [newsletter] = [s for s in await operate.opt_ins(house.ctx, ACME, "ana") if s["channel"] == NEWSLETTER]
        assert [each["opted_in"] for each in newsletter["history"]] == [False, True, False]


SENDERS = {
    "Acme News <news@acme.example>": "Acme News",
    '"<script>alert(1)</script>" <news@acme.example>': "&lt;script&gt;alert(1)&lt;/script&gt;",
    '"$title {whom} \\"&amp;\\"" <news@acme.example>': "$title {whom} &quot;&amp;amp;&quot;",
    '"Krämer, Söhne & Cie" <news@acme.example>': "Krämer, Söhne &amp; Cie",
    "news@acme.example": "news@acme.example",
}


async def test_a_sender_is_shown_as_it_is_whatever_stands_in_it(make_settings: MakeSettings) -> None:
    async with house_with_links(make_settings, "ana") as house:
        link = await sent_link(house)
        for sender, shown in SENDERS.items():
            async with served(house, make_settings(channel={"from": sender})) as web:
                for page in (await web.get(link), await web.post(link)):
                    assert shown in page.text.split("<main>")[1]
                    assert page.text.split("<title>")[1].split("</title>")[0].endswith(f" · {shown}")
                    assert "<script" not in page.text
                    assert "a…@example.com" in page.text
        texts = {"kind": "sms", "from": "Acme <3", "address": "attribute:MOBILE"}
        async with served(house, make_settings(channel=texts)) as web:
            assert "<dd><strong><bdi>Acme &lt;3</bdi></strong></dd>" in (await web.get(link)).text
        async with served(house, make_settings(tenant={"channels": {}})) as web:  # the channel is gone since
            assert "acme, newsletter" in (await web.get(link)).text


async def test_every_mail_carries_its_link_and_channels_without_mail_are_none_the_worse(
    make_settings: MakeSettings,
) -> None:
    mailbox = Mailbox()
    async with aiosmtpd_server(mailbox) as port:
        smtp = {"provider": "smtp", "smtp": {"host": "127.0.0.1", "port": port, "security": "none"}}
        people = [f"c{number}" for number in range(9)]
        async with house_with_links(
            make_settings, *people, newsletter=smtp, letters={"provider": "console"}, workers=1
        ) as house:
            mails, letters = await house.plan(), await house.plan(channel=505, templates=[18])
            await house.fire(mails)
            await house.fire(letters)
            await house.until_state(mails, "complete")
            assert (await house.until_state(letters, "complete")).accepted == len(people)
            links = set()
            for envelope in mailbox.envelopes:
                assert isinstance(envelope.content, bytes)
                links.add(link_of(envelope.content))
            assert links == {house.web_url + await link_to(house, mails, customer) for customer in people}


def link_of(content: bytes) -> str:
    """The one link in a mail's head, once it is sure that mail programs find it."""
    mail = message_from_bytes(content, policy=policy.default)
    assert mail.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
    [header] = mail.get_all("List-Unsubscribe", [])
    found = re.fullmatch(r"<(https?://[^<>\s,]+)>", header.strip())
    assert found is not None
    assert max(map(len, content.split(b"\r\n\r\n")[0].split(b"\r\n"))) < 998
    return found[1]
