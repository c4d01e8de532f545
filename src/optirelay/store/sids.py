"""A message's `sid`: its key in the ledger as one word that providers and mail headers carry without harm."""

import base64
from datetime import date

from optirelay.model import Sid

_FIRST_DAY = date(2020, 1, 1)


def sid_of(tenant: int, planned_on: date, message: int) -> Sid:
    """The message's sid: `s_` and 20 lower-case letters and digits, the same on every try."""
    day = (planned_on - _FIRST_DAY).days
    key = tenant.to_bytes(2, "big") + day.to_bytes(2, "big") + message.to_bytes(8, "big")
    return Sid("s_" + base64.b32encode(key).decode().rstrip("=").lower())
