"""Signatures of Standard Webhooks 1.0.0: made for what we post, checked on what comes back.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=5)
"""How far a time stamp may lie from now, in both directions."""
PREFIX = "whsec_"
_LONGEST_TIMESTAMP = 12  # digits; a later time is no time


def read_key(secret: str) -> bytes:
    """The key that a secret such as `whsec_MfKQ9r8G…` spells. ValueError where it spells none."""
    encoded = secret.removeprefix(PREFIX)
    if encoded == secret:
        raise ValueError(f"a secret of Standard Webhooks begins with {PREFIX}")
    return b64decode(encoded, validate=True)


def sign(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each key, so that a receiver with any of them can check it.

    `timestamp` is in seconds since 1970; id and time stamp go into headers of their own, spelled as here.
    """
    signed = _signed(webhook_id.encode(), b"%d" % timestamp, body)
    return " ".join([_signature(key, signed).decode() for key in keys])


def verify(
    keys: Sequence[bytes],
    webhook_id: bytes | str | None,
    timestamp: bytes | str | None,
    signature: bytes | str | None,
    body: bytes,
    now: datetime,
) -> bool:
    """Whether one of the signatures is by one of the keys, for this id, time and body, and the time is in the WINDOW.

    False for whatever is wrong with the three headers (None: not there); raises nothing. Takes as long for a signature
    that is nearly right as for any other. Signatures of other versions than v1 are passed over.
    """
    id_, stamp, given = _octets(webhook_id), _octets(timestamp), _octets(signature)
    if not id_ or not given or not stamp.isdigit() or len(stamp) > _LONGEST_TIMESTAMP:
        return False
    if abs(int(stamp) - now.timestamp()) > WINDOW.total_seconds():
        return False
    signed, signatures, genuine = _signed(id_, stamp, body), given.split(b" "), False
    for key in keys:
        expected = _signature(key, signed)
        for one in signatures:
            genuine |= hmac.compare_digest(one, expected)
    return genuine


def _signed(webhook_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    return b"%b.%b.%b" % (webhook_id, timestamp, body)


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + b64encode(hmac.digest(key, signed, "sha256"))


def _octets(header: bytes | str | None) -> bytes:
    """What a header says; nothing where it is not ASCII."""
    if header is None or not header.isascii():
        return b""
    return header if isinstance(header, bytes) else header.encode()
