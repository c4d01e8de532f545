"""The way of a person, in a browser: from the mail to the page that says it is done. Screenshots: build/screens."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, Page
from tests.channels.smtp_servers import Mailbox, aiosmtpd_server
from tests.conftest import MakeSettings
from tests.house import House
from tests.web.links import NOTHING_SAID, house_with_links, said, sent_link
from tests.web.test_unsubscribe import link_of

SCREENS = Path("build/screens")
SIZES = {"phone": (390, 844), "desktop": (1280, 800)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LONG = "Donaudampfschifffahrtsgesellschaft" * 4 + " & the very friendly people of Acme's newsletter department"
CONTRASTS = """() => {
  const numbers = color => color.match(/[0-9.]+/g).map(Number);
  const light = color => numbers(color).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = node => {
    const color = getComputedStyle(node).backgroundColor;
    return numbers(color)[3] === 0 && node.parentElement ? ground(node.parentElement) : color;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  return [...document.querySelectorAll("h1, p, dt, dd, dd *, button")]
    .map(node => [node.outerHTML, ratio(getComputedStyle(node).color, ground(node))]);
}"""


@asynccontextmanager
async def browsing(chromium: Browser, house: House, size: str = "phone", **how: Any) -> AsyncIterator[Page]:
    """A person's new window, without JavaScript; whatever it asks for must be ours."""
    width, height = SIZES[size]
    context: BrowserContext = await chromium.new_context(
        java_script_enabled=False, viewport={"width": width, "height": height}, **how
    )
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        yield page
        assert all(url.startswith(house.web_url) for url in asked), asked
        assert await context.cookies() == []
    finally:
        await context.close()


async def test_the_link_of_a_mail_leads_to_a_page_that_unsubscribes(
    make_settings: MakeSettings, chromium: Browser
) -> None:
    mailbox = Mailbox()
    async with aiosmtpd_server(mailbox) as port:
        smtp = {"provider": "smtp", "smtp": {"host": "127.0.0.1", "port": port, "security": "none"}}
        async with house_with_links(make_settings, "ana", newsletter=smtp, workers=1) as house:
            campaign_id = await house.plan()
            await house.fire(campaign_id)
            await house.until_state(campaign_id, "complete")
            [envelope] = mailbox.envelopes
            assert isinstance(envelope.content, bytes)
            link = link_of(envelope.content)
            mail = message_from_bytes(envelope.content, policy=policy.default)
            html = mail.get_body(("html",))
            assert html is not None
            assert re.findall('href="(.*?)"', html.get_content()) == [link]

            async with browsing(chromium, house) as page:
                await page.goto(link)
                assert await page.get_by_role("heading").inner_text() == "Unsubscribe?"
                assert await page.title() == "Unsubscribe? · Acme"
                main = page.get_by_role("main")
                assert "Acme\nnews@acme.example\nTo\na…@example.com" in await main.inner_text()
                await page.reload()
                assert await said(house) == NOTHING_SAID

                await page.keyboard.press("Tab")
                assert await page.locator("button:focus-visible").inner_text() == "Unsubscribe"
                await page.keyboard.press("Enter")
                await page.get_by_text("You are unsubscribed").wait_for()
                assert await page.get_by_role("button").count() == 0
                assert await said(house) == {"newsletter": (False, "link"), "letters": (None, None)}

                await page.reload()
                assert await page.get_by_role("heading").inner_text() == "You are unsubscribed"
                await page.go_back()
                await page.get_by_role("button", name="Unsubscribe").click()
                await page.get_by_text("You are unsubscribed").wait_for()
                assert (await said(house))["newsletter"] == (False, "link")


async def test_its_pages_can_be_read_by_everybody(make_settings: MakeSettings, chromium: Browser) -> None:
    sender = {"from": "Acme News <news@acme.example>"}
    async with house_with_links(make_settings, "ana", newsletter=sender) as house:
        ask = house.web_url + await sent_link(house)
        for size in SIZES:
            for scheme in SCHEMES:
                async with browsing(chromium, house, size, color_scheme=scheme) as page:
                    await page.goto(ask)
                    await page.keyboard.press("Tab")
                    await looked_at(page, f"ask-focus-{size}-{scheme}")
                    assert float((await style(page, "button", "outlineWidth")).removesuffix("px")) >= 2
                    await page.goto(ask)
                    await looked_at(page, f"ask-{size}-{scheme}")
                    await page.get_by_role("button").click()
                    await looked_at(page, f"done-{size}-{scheme}")
                    await page.goto(ask[:-1])
                    await looked_at(page, f"gone-{size}-{scheme}")


async def test_a_long_sender_wraps_and_four_times_as_large_nothing_is_cut_off(
    make_settings: MakeSettings, chromium: Browser
) -> None:
    sender = {"from": f'"{LONG}" <{"n" * 60}@acme.example>'}
    async with house_with_links(make_settings, "ana", newsletter=sender) as house:
        ask = house.web_url + await sent_link(house)
        async with browsing(chromium, house) as page:
            await page.set_viewport_size({"width": 320, "height": 256})  # 1280 by 1024, at 400 %
            await page.goto(ask)
            await looked_at(page, "ask-long-zoomed")
            assert LONG in await page.get_by_role("main").inner_text()


async def style(page: Page, selector: str, name: str) -> str:
    """What a style comes to."""
    return str(await page.locator(selector).evaluate(f"node => getComputedStyle(node).{name}"))


async def looked_at(page: Page, name: str) -> None:
    """Keep a screenshot. Everything can be told from its ground (WCAG AA), and nothing is wider than the window."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENS / f"{name}.png", full_page=True)
    contrasts = await page.evaluate(CONTRASTS)
    assert len(contrasts) >= 2
    assert [found for found in contrasts if found[1] < 4.5] == []
    width = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    assert await page.locator("html").get_attribute("lang") == "en"
    assert await page.get_by_role("main").get_by_role("heading", level=1).count() == 1
