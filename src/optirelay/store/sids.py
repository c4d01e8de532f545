"""A message's `sid`: its key in the ledger as one word that providers and mail headers carry without harm."""

import base64
from datetime import date, timedelta

from optirelay.model import Sid

_OCTETS = 12
_FIRST_DAY = date(2020, 1, 1)


class BadSid(ValueError):
    """A text that is no sid."""


def sid_of(tenant: int, planned_on: date, message: int) -> Sid:
    """The message's sid: `s_` and 20 lower-case letters and digits, the same on every try."""
    day = (planned_on - _FIRST_DAY).days
    key = tenant.to_bytes(2, "big") + day.to_bytes(2, "big") + message.to_bytes(8, "big")
    return Sid("s_" + base64.b32encode(key).decode().rstrip("=").lower())


def read_sid(text: str) -> tuple[int, date, int]:
    """Tenant, day and message of a sid. BadSid for anything else."""
    word = text.removeprefix("s_").upper()
    try:
        key = base64.b32decode(word + "=" * (-len(word) % 8))
    except ValueError:
        raise BadSid(text) from None
    if len(key) != _OCTETS:
        raise BadSid(text)
    tenant, day, message = (int.from_bytes(part, "big") for part in (key[:2], key[2:4], key[4:]))
    planned_on = _FIRST_DAY + timedelta(days=day)
    if sid_of(tenant, planned_on, message) != text:
        raise BadSid(text)
    return tenant, planned_on, message
