"""The page behind the link of a message, for people and mail programs (RFC 8058): no login, no script, no cookie."""

import re
from collections.abc import Sequence
from email.utils import parseaddr
from functools import partial
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple

from optirelay.clock import utc_now
from optirelay.engine.operate import masked
from optirelay.engine.recording import Unsubscription, keep_unsubscriptions
from optirelay.model import ChannelKind, TenantId
from optirelay.settings import Settings
from optirelay.store import Store
from optirelay.store.events import Addressee
from optirelay.store.link_tokens import Linked
from optirelay.web.keeping import Keeper

# One field with one value, in either encoding of a form.
_ONE_CLICK = re.compile(
    rb"(?:^|&)List-Unsubscribe=One-Click(?:[&\r\n]|$)"
    rb'|[ ;]name="?List-Unsubscribe"?\r?\n(?:[^\s][^\r\n]*\r?\n){0,5}\r?\nOne-Click\r?\n'
)
_PAGE = Template(files("optirelay.web").joinpath("pages/unsubscribe.html").read_text(encoding="utf-8"))
_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
]
Page = tuple[int, list[tuple[bytes, bytes]], bytes]


class Unsubscribing:
    """Asks who follows a link whether they mean it, and keeps what they say. The scope is the message's channel."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._keeper = Keeper(partial(keep_unsubscriptions, store))

    async def ask(self, token: str) -> Page:
        """The question; nothing changes. 404 where the link was not made here. Raises StoreUnavailable."""
        found = await self._find(token)
        if found is None:
            return _NOT_FOUND
        tenant, _, addressee = found
        return 200, _HEADERS, self._page("Unsubscribe?", _ASK, tenant, addressee)

    async def carry_out(self, token: str, body: bytes) -> Page:
        """No more messages of the channel for this customer. Raises StoreUnavailable.

        https://datatracker.ietf.org/doc/html/rfc8058
        """
        found = await self._find(token)
        if found is None:
            return _NOT_FOUND
        tenant, linked, addressee = found
        source = "one_click" if _ONE_CLICK.search(body) else "link"
        await self._keeper.keep(Unsubscription(tenant, linked, addressee, utc_now(), source))
        return 200, _HEADERS, self._page("You are unsubscribed", _DONE, tenant, addressee)

    async def _find(self, token: str) -> tuple[TenantId, Linked, Addressee] | None:
        found = self._store.linked(token)
        if found is None or found[0] not in self._settings.tenants:
            return None
        tenant, linked = found
        async with self._store.tenant(tenant).transaction() as ledger:
            addressee = await ledger.events.addressee(linked.planned_on, linked.message)
        return None if addressee is None else (tenant, linked, addressee)

    def _page(self, heading: str, words: "_Words", tenant: TenantId, addressee: Addressee) -> bytes:
        """Whose messages, and to whom: enough for the one who has the link, masked for anybody else."""
        name, address = self._sender(tenant, addressee)
        whom = masked(addressee.address) if addressee.address else "you"
        sender = [f"<strong><bdi>{escape(name)}</bdi></strong>"] if name else []
        sender += [f"<small><bdi>{escape(address)}</bdi></small>"] if address else []
        facts = f"<dl><dt>From</dt><dd>{''.join(sender)}</dd><dt>To</dt><dd><bdi>{escape(whom)}</bdi></dd></dl>"
        return _filled(heading, words.text, facts, *words.below, title=f"{heading} · {name or address}")

    def _sender(self, tenant: TenantId, addressee: Addressee) -> tuple[str, str]:
        """Name and address of the channel's sender; one of them may be empty."""
        channel = self._settings.tenants[tenant].channels.get(addressee.channel)
        if channel is None or not channel.sender:
            return f"{tenant}, {addressee.channel}", ""
        return parseaddr(channel.sender) if channel.kind is ChannelKind.EMAIL else (channel.sender, "")


class _Words(NamedTuple):
    """What a page says around its facts."""

    text: str
    below: Sequence[str]


def _filled(heading: str, text: str, *rest: str, title: str | None = None) -> bytes:
    """The page; `rest` is HTML already."""
    page = {"title": title or heading, "heading": heading, "text": text}
    return _PAGE.substitute({name: escape(value) for name, value in page.items()}, rest="\n".join(rest)).encode()


_ASK = _Words(
    "Press the button to get no more of these messages:",
    [
        '<form method="post"><button type="submit">Unsubscribe</button></form>',
        '<p class="note">Nothing has changed yet.</p>',
    ],
)
_DONE = _Words(
    "You will get no more of these messages:",
    ['<p class="note">One that is already on its way may still arrive. You can close this page.</p>'],
)
_NOT_FOUND: Page = (
    404,
    _HEADERS,
    _filled(
        "This link does not work", "It may have been cut off. Open it from the message itself, or copy the whole link."
    ),
)
TRY_LATER: Page = (
    503,
    [*_HEADERS, (b"retry-after", b"5")],
    _filled("Please try again", "This did not work just now. Open the link in your message again in a few minutes."),
)
