"""Signatures of Standard Webhooks, held against libraries that are not ours, and against whoever changes something."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
import resend
import standardwebhooks
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from optirelay.signatures import WINDOW, read_key, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(64))).decode()
FOREIGN_SECRET = "whsec_" + base64.b64encode(b"of another channel, 32 octets ok").decode()
NOW = datetime(2031, 4, 2, 10, tzinfo=UTC)


class Signed(NamedTuple):
    """A request as it is on the wire."""

    id: bytes
    timestamp: bytes
    signature: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        values = (self.id, self.timestamp, self.signature)
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        return dict(zip(names, (value.decode() for value in values), strict=True))


def verified_by_standardwebhooks(secret: str, request: Signed) -> None:
    standardwebhooks.Webhook(secret).verify(request.body, request.headers)


def verified_by_resend(secret: str, request: Signed) -> None:
    """A provider's own code; it takes the headers by other names."""
    headers = {name.removeprefix("webhook-"): value for name, value in request.headers.items()}
    resend.Webhooks.verify({"payload": request.body.decode(), "headers": headers, "webhook_secret": secret})  # type: ignore[typeddict-item]


VERIFIERS = [verified_by_standardwebhooks, verified_by_resend]
Verifier = Callable[[str, Signed], None]


def signed(
    *secrets: str, id_: str = "msg_1", at: datetime = NOW, body: bytes = b'{"event":"delivered","id":"s_1"}'
) -> Signed:
    timestamp = int(at.timestamp())
    signature = sign([read_key(secret) for secret in secrets or (SECRET,)], id_, timestamp, body)
    return Signed(id_.encode(), str(timestamp).encode(), signature.encode(), body)


def genuine(request: Signed, *secrets: str, now: datetime = NOW) -> bool:
    keys = [read_key(secret) for secret in secrets or (SECRET,)]
    return verify(keys, request.id, request.timestamp, request.signature, request.body, now)


def test_the_example_that_the_libraries_of_the_standard_share() -> None:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/go/webhook_test.go (TestWebhookSign)
    signature = sign([read_key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestOtherLibraries:
    @pytest.mark.parametrize("verified", VERIFIERS)
    @pytest.mark.parametrize("body", [b"{}", '{"text":"Grüße 🎉"}'.encode(), json.dumps("x" * 20_000).encode()])
    def test_what_we_sign_they_verify(self, verified: Verifier, body: bytes) -> None:
        with time_machine.travel(NOW):
            verified(SECRET, signed(body=body))

    @pytest.mark.parametrize("body", [b"{}", '{"text":"Grüße 🎉"}'.encode(), json.dumps("x" * 20_000).encode()])
    def test_what_they_sign_we_verify(self, body: bytes) -> None:
        signature = standardwebhooks.Webhook(SECRET).sign("msg_2", NOW, body.decode())
        request = Signed(b"msg_2", str(int(NOW.timestamp())).encode(), signature.encode(), body)
        assert genuine(request)

    @pytest.mark.parametrize("verified", VERIFIERS)
    @pytest.mark.parametrize("theirs", [SECRET, OLD_SECRET])
    def test_while_two_secrets_rotate_a_receiver_with_either_verifies(self, verified: Verifier, theirs: str) -> None:
        with time_machine.travel(NOW):
            verified(theirs, signed(SECRET, OLD_SECRET))

    @pytest.mark.parametrize("theirs", [SECRET, OLD_SECRET])
    def test_while_two_secrets_rotate_a_sender_with_either_is_verified(self, theirs: str) -> None:
        signature = standardwebhooks.Webhook(theirs).sign("msg_3", NOW, "{}")
        request = Signed(b"msg_3", str(int(NOW.timestamp())).encode(), signature.encode(), b"{}")
        assert genuine(request, SECRET, OLD_SECRET)
        assert genuine(request, OLD_SECRET, SECRET)

    @pytest.mark.parametrize("verified", VERIFIERS)
    def test_of_a_foreign_secret_both_say_no(self, verified: Verifier) -> None:
        request = signed(FOREIGN_SECRET)
        with (
            time_machine.travel(NOW),
            pytest.raises((standardwebhooks.WebhookVerificationError, ValueError), match=r"signature"),
        ):
            verified(SECRET, request)
        assert not genuine(request, SECRET, OLD_SECRET)


class TestVerify:
    def test_headers_are_octets_or_text(self) -> None:
        request = signed()
        id_, timestamp, signature = (value.decode() for value in request[:3])
        assert verify([read_key(SECRET)], id_, timestamp, signature, request.body, NOW)

    @pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
    def test_five_minutes_either_way_are_now(self, seconds: int) -> None:
        assert timedelta(minutes=5) == WINDOW
        assert genuine(signed(at=NOW + timedelta(seconds=seconds)))

    @pytest.mark.parametrize("seconds", [-86400, -301, 301, 86400])
    def test_more_than_five_minutes_either_way_are_not(self, seconds: int) -> None:
        assert not genuine(signed(at=NOW + timedelta(seconds=seconds)))

    def test_the_right_one_of_many_signatures_does(self) -> None:
        request = signed()
        many = b" ".join([b"v1a,AAAA", signed(FOREIGN_SECRET).signature, request.signature, b"v2,x", b"", b"nothing"])
        assert genuine(request._replace(signature=many))

    def test_no_key_verifies_nothing(self) -> None:
        request = signed()
        assert not verify([], request.id, request.timestamp, request.signature, request.body, NOW)

    @given(
        st.one_of(st.none(), st.binary(max_size=80), st.text(max_size=80)),
        st.one_of(st.none(), st.binary(max_size=80), st.text(max_size=80), st.integers().map(str)),
        st.one_of(st.none(), st.binary(max_size=80), st.text(max_size=80)),
        st.binary(max_size=80),
    )
    def test_whatever_it_is_given_it_raises_nothing(
        self,
        id_: bytes | str | None,
        timestamp: bytes | str | None,
        signature: bytes | str | None,
        body: bytes,
    ) -> None:
        assert not verify([read_key(SECRET)], id_, timestamp, signature, body, NOW)

    @pytest.mark.parametrize(
        "timestamp",
        ["", " ", "-1", "+1", "1e9", "1.5", "0x1", "nan", "inf", "١٢٣", "9" * 400, "9" * 12, "1_000", "\x00", "null"],
    )
    def test_a_time_stamp_that_is_none(self, timestamp: str) -> None:
        key = [read_key(SECRET)]
        assert not verify(key, "msg_1", timestamp, "v1,AAAA", b"{}", NOW)


def flipped(octets: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(octets)
    changed[at % len(octets)] ^= 1 << bit
    return bytes(changed)


OTHER = signed(id_="msg_other", body=b'{"event":"clicked","id":"s_2"}')
AT, BIT = st.integers(0, 10_000), st.integers(0, 7)
REQUEST = signed()
MUTATIONS: dict[str, st.SearchStrategy[Signed]] = {
    "an octet of the body": st.builds(lambda at, bit: REQUEST._replace(body=flipped(REQUEST.body, at, bit)), AT, BIT),
    "an octet of the id": st.builds(lambda at, bit: REQUEST._replace(id=flipped(REQUEST.id, at, bit)), AT, BIT),
    "an octet of the time stamp": st.builds(
        lambda at, bit: REQUEST._replace(timestamp=flipped(REQUEST.timestamp, at, bit)), AT, BIT
    ),
    "an octet of the signature": st.builds(
        lambda at, bit: REQUEST._replace(signature=flipped(REQUEST.signature, at, bit)), AT, BIT
    ),
    "octets added to the body": st.builds(
        lambda more: REQUEST._replace(body=REQUEST.body + more), st.binary(min_size=1)
    ),
    "octets before the body": st.builds(lambda more: REQUEST._replace(body=more + REQUEST.body), st.binary(min_size=1)),
    "the body cut": st.builds(lambda at: REQUEST._replace(body=REQUEST.body[: at % len(REQUEST.body)]), AT),
    "another body": st.builds(
        lambda body: REQUEST._replace(body=body), st.binary().filter(lambda b: b != REQUEST.body)
    ),
    "the signature cut": st.builds(
        lambda at: REQUEST._replace(signature=REQUEST.signature[: at % len(REQUEST.signature)]), AT
    ),
    "the signature in another case": st.sampled_from(
        [REQUEST._replace(signature=change(REQUEST.signature)) for change in (bytes.upper, bytes.lower, bytes.swapcase)]
    ),
    "another time": st.builds(
        lambda seconds: REQUEST._replace(timestamp=str(int(REQUEST.timestamp) + seconds).encode()),
        st.integers(-(10**9), 10**9).filter(bool),
    ),
    "an old request as it was": st.builds(
        lambda seconds: signed(at=NOW - timedelta(seconds=seconds)), st.integers(301, 10**9)
    ),
    "a request of the future": st.builds(
        lambda seconds: signed(at=NOW + timedelta(seconds=seconds)), st.integers(301, 10**9)
    ),
    "the id of another": st.just(REQUEST._replace(id=OTHER.id)),
    "the signature of another": st.just(REQUEST._replace(signature=OTHER.signature)),
    "the body of another": st.just(REQUEST._replace(body=OTHER.body)),
    "another version": st.sampled_from(
        [REQUEST._replace(signature=prefix + REQUEST.signature[3:]) for prefix in (b"v1a,", b"v2,", b"v1", b"", b"V1,")]
    ),
    "no separator between signatures": st.just(REQUEST._replace(signature=OTHER.signature + b"," + REQUEST.signature)),
    "something empty": st.sampled_from([REQUEST._replace(**{name: b""}) for name in Signed._fields]),
    "a foreign secret": st.builds(
        lambda key: REQUEST._replace(signature=sign([key], "msg_1", int(REQUEST.timestamp), REQUEST.body).encode()),
        st.binary(min_size=0, max_size=64).filter(lambda key: key != read_key(SECRET)),
    ),
    "the boundary moved from the time stamp into the id": st.just(
        Signed(REQUEST.id + b"." + REQUEST.timestamp, REQUEST.body, REQUEST.signature, b"")
    ),
    "another spelling of base64": st.sampled_from(
        [
            REQUEST._replace(signature=REQUEST.signature.rstrip(b"=")),
            REQUEST._replace(signature=REQUEST.signature + b"="),
            REQUEST._replace(signature=REQUEST.signature.replace(b"+", b"-").replace(b"/", b"_") + b"\n"),
        ]
    ),
}


class TestMutations:
    def test_the_request_itself_is_genuine(self) -> None:
        assert genuine(REQUEST)
        assert genuine(OTHER)

    @pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
    @given(data=st.data())
    def test_a_request_that_somebody_changed_is_refused(
        self, mutation: st.SearchStrategy[Signed], data: st.DataObject
    ) -> None:
        assert not genuine(data.draw(mutation))


class TestReadKey:
    def test_a_key_comes_back_as_the_octets_it_stands_for(self) -> None:
        assert read_key(OLD_SECRET) == bytes(range(64))

    @pytest.mark.parametrize("text", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%", "whsec_abc", "whsk_AAAA", ""])
    def test_what_spells_no_key(self, text: str) -> None:
        with pytest.raises(ValueError):
            read_key(text)
