"""Who writes an e-mail: `Name <address>`, or an address, each with Liquid in it."""

import re
from datetime import datetime

from optirelay.addresses import read_ascii_email
from optirelay.stages.content.bounds import TEXT
from optirelay.stages.content.mime import one_line
from optirelay.stages.content.scope import Scope
from optirelay.stages.content.templating import LIQUID, BadTemplate, CannotRender, parse, refuse_unclosed

_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")


class Sender:
    """A value in the name never becomes the address, nor the other way round."""

    def __init__(self, source: str) -> None:
        """Raises BadTemplate."""
        refuse_unclosed("from", source)
        name, address = _name_and_address(source)
        self._name = parse("from", name, TEXT)
        self._address = parse("from", address, TEXT)
        self.names = {*self._name.names, *self._address.names}
        self._constant: tuple[str, str] | None = None
        if not (self._name.dynamic or self._address.dynamic):
            try:
                self._constant = self._read(name, address)
            except CannotRender:
                raise BadTemplate(
                    f"from: {address.strip()!r} is no e-mail address; write it as Name <somebody@example.com>."
                ) from None

    def render(self, scope: Scope, at: datetime) -> tuple[str, str]:
        """The name, empty where there is none, and the bare address. Raises CannotRender."""
        if self._constant is not None:
            return self._constant
        name, address = (part.whole(part.render(scope, at)) for part in (self._name, self._address))
        return self._read(name, address)

    @staticmethod
    def _read(name: str, address: str) -> tuple[str, str]:
        name = one_line(name)
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        return one_line(name), _valid(address.strip(), "the from's address")


def _name_and_address(source: str) -> tuple[str, str]:
    """Cut at the last `<` that is not Liquid's."""
    cut = LIQUID.sub(lambda piece: "." * len(piece[0]), source).rfind("<")
    if cut < 0:
        return "", source
    address = source[cut + 1 :].rstrip()
    return source[:cut], address.removesuffix(">") if address.endswith(">") else address + "<"  # which no address has


def ascii_domain(address: str, what: str) -> str:
    """As a header and an envelope hold it: the domain in ASCII, a local part that is not ASCII as it is."""
    if _PLAIN_ADDRESS.fullmatch(address):
        return address
    return _valid(address, what)


def _valid(address: str, what: str) -> str:
    valid = read_ascii_email(address)
    if valid is None:
        raise CannotRender(f"{what} is empty or no e-mail address")
    return valid
