"""A message's `sid`: its key in the ledger as one word that providers and mail headers carry without harm."""

import re
import string
from datetime import date
from functools import lru_cache

from optirelay.model import Sid

_OCTETS = 12
_LARGEST_MESSAGE = 2**63 - 1  # that the store can hold
_FIRST_DAY = date(2020, 1, 1).toordinal()
_LETTERS = string.ascii_lowercase + "234567"  # of RFC 4648, of five bits each
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)
_SID = re.compile(f"s_[{_LETTERS}]{{20}}")
_DIGITS = str.maketrans(_LETTERS, string.digits + string.ascii_lowercase[:22])  # as int() reads them
_TAIL_BITS = 10  # of 96 and four of filling; what comes before them, 64 messages share


class BadSid(ValueError):
    """A text that is no sid."""


def key_of(tenant: int, planned_on: date, message: int) -> bytes:
    """The message's key in 12 octets."""
    return (tenant << 80 | (planned_on.toordinal() - _FIRST_DAY) << 64 | message).to_bytes(_OCTETS, "big")


def read_key(octets: bytes) -> tuple[int, date, int]:
    """Tenant, day and message of 12 octets, whatever they are."""
    tenant, day, message = (int.from_bytes(part, "big") for part in (octets[:2], octets[2:4], octets[4:]))
    return tenant, date.fromordinal(_FIRST_DAY + day), message


def sid_of(tenant: int, planned_on: date, message: int) -> Sid:
    """The message's sid: `s_` and 20 lower-case letters and digits, the same on every try."""
    key = (tenant << 80 | (planned_on.toordinal() - _FIRST_DAY) << 64 | message) << 4
    return Sid(_head(key >> _TAIL_BITS) + _PAIRS[key & 1023])


@lru_cache(maxsize=256)
def _head(bits: int) -> str:
    return "s_" + "".join(_PAIRS[bits >> at & 1023] for at in range(80, -1, -10))


def read_sid(text: str) -> tuple[int, date, int]:
    """Tenant, day and message of a sid. BadSid for anything else."""
    if _SID.fullmatch(text) is None:
        raise BadSid(text)
    key, filling = divmod(int(text[2:].translate(_DIGITS), 32), 1 << 4)
    read = read_key(key.to_bytes(_OCTETS, "big"))
    if filling or read[2] > _LARGEST_MESSAGE:
        raise BadSid(text)
    return read
