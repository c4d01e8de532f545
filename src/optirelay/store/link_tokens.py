"""What stands in a link of a message: the message's key, signed, so that nobody can make one up."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from datetime import date
from hashlib import blake2b
from typing import NamedTuple

from optirelay.store.sids import key_of, read_key

KEY_OCTETS = 12  # of a message
SIGNATURE_OCTETS = 15  # so that both together are whole letters
_MESSAGE_OCTETS = 8
_FOR_URLS = bytes.maketrans(b"+/", b"-_")
_LETTERS = (KEY_OCTETS + SIGNATURE_OCTETS) * 4 // 3


class Linked(NamedTuple):
    """The message that a token names; who it is signed by is still to be seen."""

    tenant: int
    planned_on: date
    message: int


class LinkTokens:
    """Tokens of one tenant's messages of one day."""

    def __init__(self, key: bytes, tenant: int, planned_on: date) -> None:
        self._mac = _mac(key)
        self._first = key_of(tenant, planned_on, 0)[:-_MESSAGE_OCTETS]

    def of(self, message: int) -> str:
        """The token of a message: 36 letters, digits, `-` and `_`, the same on every try."""
        octets = self._first + message.to_bytes(_MESSAGE_OCTETS, "big")
        return b2a_base64(octets + _signed(self._mac, octets), newline=False).translate(_FOR_URLS).decode()


def read_token(token: str) -> Linked | None:
    """The message that a token names, if it is one; `is_genuine` tells whether it was made here."""
    octets = _octets(token)
    return None if octets is None else Linked(*read_key(octets[:KEY_OCTETS]))


def is_genuine(token: str, key: bytes) -> bool:
    """Whether the token was signed with the key. Takes the same time wherever the two differ."""
    octets = _octets(token)
    return octets is not None and hmac.compare_digest(octets[KEY_OCTETS:], _signed(_mac(key), octets[:KEY_OCTETS]))


def _octets(token: str) -> bytes | None:
    if len(token) != _LETTERS or not token.isascii():
        return None
    try:
        octets = urlsafe_b64decode(token)
    except ValueError:
        return None
    return octets if urlsafe_b64encode(octets).decode() == token else None


def _mac(key: bytes) -> blake2b:
    """A keyed hash; a sixth of the time of an HMAC, and every mail has a link."""
    return blake2b(key=key, digest_size=SIGNATURE_OCTETS, person=b"unsubscribe")


def _signed(mac: blake2b, octets: bytes) -> bytes:
    signing = mac.copy()
    signing.update(octets)
    return signing.digest()
