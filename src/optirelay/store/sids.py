"""A message's `sid`: its key in the ledger as one word that providers and mail headers carry without harm."""

import base64
from datetime import date, timedelta

from optirelay.model import Sid

_FIRST_DAY = date(2020, 1, 1)
_LENGTH = 20


def sid_of(tenant: int, planned_on: date, message: int) -> Sid:
    """The message's sid: `s_` and 20 lower-case letters and digits, the same on every try."""
    day = (planned_on - _FIRST_DAY).days
    key = tenant.to_bytes(2, "big") + day.to_bytes(2, "big") + message.to_bytes(8, "big")
    return Sid("s_" + base64.b32encode(key).decode().rstrip("=").lower())


def read_sid(sid: str) -> tuple[int, date, int]:
    """Tenant, day and message of a sid. ValueError for anything that is none."""
    if len(sid) != len("s_") + _LENGTH or not sid.startswith("s_"):
        raise ValueError(f"not a sid: {sid!r}")
    key = base64.b32decode(sid[2:].upper() + "====")
    tenant, day, message = (int.from_bytes(part, "big") for part in (key[:2], key[2:4], key[4:]))
    return tenant, _FIRST_DAY + timedelta(days=day), message
