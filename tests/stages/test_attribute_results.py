"""What Optimove posts about attribute calls, in every spelling, in our words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optirelay.stages.attribute_results import Added, NotTaken, Updated, read

ID = "5b1d6c52-9f3c-4a3e-8d6a-7f0f8f9f0a11"


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (body(attributeName="SmsOptIn", isSuccess=True), Added("SmsOptIn", ok=True)),
        (body(ATTRIBUTENAME="SmsOptIn", IsSuccess="True"), Added("SmsOptIn", ok=True)),
        (
            body(attributeName="SmsOptIn", isSuccess=False, errorId="2", errorMsg="Attribute was not added, …"),
            Added("SmsOptIn", ok=False, exists_already=True, reason="Attribute was not added, …"),
        ),
        (body(AttributeName="A", isSuccess=False, errorId=1), Added("A", ok=False, reason="error 1")),
        (body(AttributeName="A", isSuccess=False, errorId="77"), Added("A", ok=False, reason="error 77")),
        (body(AttributeName="A", isSuccess=0), Added("A", ok=False)),
        (b"\xef\xbb\xbf" + body(isSuccess=True, requestId=ID), Updated(ID, ok=True)),
        (body(IsSuccess="false", RequestID=ID, errors=[]), Updated(ID, ok=False)),
        (body(IsSuccess="false", RequestID=ID, errors=None), Updated(ID, ok=False)),
    ],
)
def test_a_result_is_told_apart_by_its_keys(told: bytes, meant: Added | Updated) -> None:
    assert read(told) == meant


def test_each_value_that_was_not_taken_is_named_with_its_reason() -> None:
    errors = [
        {"error": "INVALID_CUSTOMER", "customerId": "C-9", "realFieldName": "SmsOptIn"},
        {"error": "4", "CustomerID": 12, "RealFieldName": "SmsOptIn"},
        {"error": "BRAND_NEW", "customerID": "007", "realfieldname": "SmsOptIn"},
        {"error": "INVALID_FIELD"},
    ]
    told = read(body(isSuccess=False, requestId=ID, errors=errors))
    assert told == Updated(
        ID,
        ok=False,
        errors=(
            NotTaken("C-9", "SmsOptIn", "INVALID_CUSTOMER"),
            NotTaken("12", "SmsOptIn", "UPDATE_FIELD_TEMPORARY_UNAVAILABLE"),
            NotTaken("007", "SmsOptIn", "BRAND_NEW"),
            NotTaken("", "", "INVALID_FIELD"),
        ),
    )
    assert "C-9" not in repr(told)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b"{}",
        b'{"isSuccess":true}',
        b'{"isSuccess":"maybe","requestId":"1"}',
        b'{"requestId":"1"}',
        b'{"attributeName":"","isSuccess":true}',
        b'{"attributeName":"A"}',
        b'{"attributeName":"A\\u0000","isSuccess":true}',
        b'{"isSuccess":false,"requestId":"1","errors":[7]}',
        b'{"isSuccess":false,"requestId":"1","errors":"INVALID_CUSTOMER"}',
        b'{"isSuccess":false,"requestId":"1","errors":' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_what_cannot_be_read_is_nothing(told: bytes) -> None:
    assert read(told) is None


KEYS = st.sampled_from(["attributeName", "isSuccess", "errorId", "errorMsg", "requestId", "errors", "x"])
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aA1 \0\ud800é"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.binary() | st.dictionaries(KEYS, ANY).map(lambda fields: json.dumps(fields).encode()))
def test_nothing_that_is_posted_raises(told: bytes) -> None:
    assert read(told) is None or isinstance(read(told), Added | Updated)
