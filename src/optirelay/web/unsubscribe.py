"""The page behind the link of a message, for people and mail programs (RFC 8058): no login, no script, no cookie."""

from html import escape
from importlib.resources import files
from string import Template

from optirelay.clock import utc_now
from optirelay.engine import recording
from optirelay.engine.operate import masked
from optirelay.model import TenantId
from optirelay.settings import Settings
from optirelay.store import Store
from optirelay.store.events import Addressee
from optirelay.store.link_tokens import Linked

ONE_CLICK = b"List-Unsubscribe=One-Click"
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

    async def ask(self, token: str) -> Page:
        """The question; nothing changes. 404 where the link was not made here. Raises StoreUnavailable."""
        found = await self._find(token)
        if found is None:
            return _NOT_FOUND
        tenant, _, addressee = found
        return 200, _HEADERS, self._page("ask", tenant, addressee)

    async def carry_out(self, token: str, body: bytes) -> Page:
        """No more messages of the channel for this customer; the same again changes nothing. Raises StoreUnavailable.

        https://datatracker.ietf.org/doc/html/rfc8058
        """
        found = await self._find(token)
        if found is None:
            return _NOT_FOUND
        tenant, linked, addressee = found
        source = "one_click" if ONE_CLICK in body else "link"
        await recording.unsubscribe(self._store, tenant, linked, addressee, utc_now(), source=source)
        return 200, _HEADERS, self._page("done", tenant, addressee)

    async def _find(self, token: str) -> tuple[TenantId, Linked, Addressee] | None:
        found = self._store.linked(token)
        if found is None or found[0] not in self._settings.tenants:
            return None
        tenant, linked = found
        async with self._store.tenant(tenant).transaction() as ledger:
            addressee = await ledger.events.addressee(linked.planned_on, linked.message)
        return None if addressee is None else (tenant, linked, addressee)

    def _page(self, which: str, tenant: TenantId, addressee: Addressee) -> bytes:
        channel = self._settings.tenants[tenant].channels.get(addressee.channel)
        sender = (channel.sender if channel is not None else "") or f"{tenant}, {addressee.channel}"
        whom = masked(addressee.address) if addressee.address else "you"
        texts = {name: text.format(sender=sender, whom=whom) for name, text in _TEXTS[which].items()}
        form = _FORM if which == "ask" else ""
        return _PAGE.substitute({name: escape(text) for name, text in texts.items()}, form=form).encode()


_TEXTS = {
    "ask": {
        "title": "Unsubscribe?",
        "text": "Messages from {sender} will no longer go to {whom}.",
    },
    "done": {
        "title": "You are unsubscribed",
        "text": "Messages from {sender} will no longer go to {whom}. You can close this page.",
    },
    "gone": {
        "title": "This link leads nowhere",
        "text": "It may have been cut off. Follow it from the message itself, or copy all of it.",
    },
}
_FORM = '<form method="post"><button type="submit">Unsubscribe</button></form>'
_NOT_FOUND: Page = (
    404,
    _HEADERS,
    _PAGE.substitute({name: escape(text) for name, text in _TEXTS["gone"].items()}, form="").encode(),
)
