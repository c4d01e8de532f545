"""What stands in a link of a message: the message's key, signed, so that nobody can make one up."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date
from typing import NamedTuple

from optirelay.store.sids import key_of, read_key

KEY_OCTETS = 12  # of a message
SIGNATURE_OCTETS = 15  # so that both together are whole letters
_LETTERS = (KEY_OCTETS + SIGNATURE_OCTETS) * 4 // 3


class Linked(NamedTuple):
    """The message that a token names; who it is signed by is still to be seen."""

    tenant: int
    planned_on: date
    message: int


class LinkTokens:
    """Tokens of one tenant's messages of one day."""

    def __init__(self, key: bytes, tenant: int, planned_on: date) -> None:
        self._key = key
        self._tenant = tenant
        self._planned_on = planned_on

    def of(self, message: int) -> str:
        """The token of a message: 36 letters, digits, `-` and `_`, the same on every try."""
        octets = key_of(self._tenant, self._planned_on, message)
        return urlsafe_b64encode(octets + _signed(self._key, octets)).decode()


def read_token(token: str) -> Linked | None:
    """The message that a token names, if it is one; `is_genuine` tells whether it was made here."""
    octets = _octets(token)
    return None if octets is None else Linked(*read_key(octets[:KEY_OCTETS]))


def is_genuine(token: str, key: bytes) -> bool:
    """Whether the token was signed with the key. Takes the same time wherever the two differ."""
    octets = _octets(token)
    return octets is not None and hmac.compare_digest(octets[KEY_OCTETS:], _signed(key, octets[:KEY_OCTETS]))


def _octets(token: str) -> bytes | None:
    if len(token) != _LETTERS or not token.isascii():
        return None
    try:
        octets = urlsafe_b64decode(token)
    except ValueError:
        return None
    return octets if urlsafe_b64encode(octets).decode() == token else None


def _signed(key: bytes, octets: bytes) -> bytes:
    return hmac.digest(key, b"unsubscribe " + octets, "sha256")[:SIGNATURE_OCTETS]
