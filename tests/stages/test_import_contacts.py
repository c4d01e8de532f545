"""A row of a file of contacts: what it says of one person, or why and by which column it says nothing."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optirelay.stages.files import (
    CONTACT_COLUMNS,
    BadContact,
    BadFile,
    FileKind,
    Reject,
    Rejection,
    Row,
    Rows,
    SaidOfContact,
    read_contact,
)


def said(values: dict[str, Any], country: str | None = "FR") -> SaidOfContact | BadContact:
    return read_contact(Row(1, {"customer_id": "C-1", **values}, ()), country)


def rows(text: str, kind: FileKind = FileKind.CSV) -> Iterable[Row | Reject]:
    return Rows([text.encode()], kind, CONTACT_COLUMNS)


def test_a_row_has_addresses_as_messages_need_them_and_attributes_as_they_are() -> None:
    (row,) = rows(
        'customer_id,email,phone,push_token,TIER,Note\n 007 , Ana@Example.COM ,06 12 34 56 78, a:b ,gold," x "\n'
    )
    assert isinstance(row, Row)
    assert read_contact(row, "FR") == SaidOfContact(
        "007",  # type: ignore[arg-type]
        {"email": "Ana@example.com", "phone": "+33612345678", "push_token": "a:b"},
        {"TIER": "gold", "Note": " x "},
    )


@pytest.mark.parametrize("nothing", ["", " ", "NULL", " NULL ", None])
def test_what_is_empty_takes_away_and_what_is_not_there_is_not_said(nothing: str | None) -> None:
    empty = said({"email": nothing, "push_token": nothing, "TIER": nothing})
    assert empty == SaidOfContact("C-1", {"email": None, "push_token": None}, {"TIER": None})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (7.5, "7.5"), (True, "true"), (False, "false"), (0, "0"), ("a;b", "a;b")]
)
def test_an_attribute_of_json_is_text(value: object, text: str) -> None:
    assert said({"N": value}) == SaidOfContact("C-1", {}, {"N": text})  # type: ignore[arg-type]
    phone = said({"phone": 33612345678})
    assert isinstance(phone, SaidOfContact)
    assert phone.addresses == {"phone": "+33612345678"}


@pytest.mark.parametrize(
    ("values", "reason", "column"),
    [
        ({"customer_id": None}, Rejection.NO_CUSTOMER, "customer_id"),
        ({"customer_id": " NULL "}, Rejection.NO_CUSTOMER, "customer_id"),
        ({"customer_id": ["C-1"]}, Rejection.NO_CUSTOMER, "customer_id"),
        ({"customer_id": "x" * 501}, Rejection.NO_CUSTOMER, "customer_id"),
        ({"customer_id": "a\nb"}, Rejection.NO_CUSTOMER, "customer_id"),
        ({"email": "ana"}, Rejection.BAD_ADDRESS, "email"),
        ({"email": "a@b.example;c@d.example"}, Rejection.BAD_ADDRESS, "email"),
        ({"email": "a" * 10_000 + "@b.example"}, Rejection.BAD_ADDRESS, "email"),
        ({"email": "a\0@b.example"}, Rejection.BAD_ADDRESS, "email"),
        ({"email": "a@b.example", "phone": "1234"}, Rejection.BAD_ADDRESS, "phone"),
        ({"phone": "9" * 10_000}, Rejection.BAD_ADDRESS, "phone"),
        ({"phone": True}, Rejection.BAD_ADDRESS, "phone"),
        ({"push_token": "two tokens"}, Rejection.BAD_ADDRESS, "push_token"),
        ({"push_token": "t" * 4097}, Rejection.BAD_ADDRESS, "push_token"),
        ({"email": ["a@b.example"]}, Rejection.BAD_VALUE, "email"),
        ({"N": {"a": 1}}, Rejection.BAD_VALUE, "N"),
        ({"N": "x" * 65_537}, Rejection.BAD_VALUE, "N"),
        ({"N" * 501: "x"}, Rejection.BAD_VALUE, "N" * 501),
        ({"": "x"}, Rejection.BAD_VALUE, ""),
        ({"a\nb": "x"}, Rejection.BAD_VALUE, "a\nb"),
    ],
)
def test_what_cannot_be_kept_is_rejected_with_its_column(
    values: dict[str, Any], reason: Rejection, column: str
) -> None:
    assert said(values) == BadContact(reason, column)


def test_a_phone_of_no_country_is_none() -> None:
    assert said({"phone": "06 12 34 56 78"}, None) == BadContact(Rejection.BAD_ADDRESS, "phone")


def test_a_column_that_is_ours_in_another_spelling_is_no_attribute() -> None:
    with pytest.raises(BadFile, match="column Email is not known; write email"):
        rows("customer_id,Email\n")
    with pytest.raises(BadFile, match="line 1: column PHONE is not known; write phone"):
        rows('{"customer_id": "C-1", "PHONE": "1"}\n', FileKind.JSON_LINES)
    with pytest.raises(BadFile, match="there is no column customer_id"):
        rows("email\n")


TEXT = st.text(max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
COLUMN = st.sampled_from(["email", "phone", "push_token", "TIER"]) | TEXT


@given(values=st.dictionaries(COLUMN, JSON, max_size=4), digits=st.sampled_from([1, 30, 5_000]))
@settings(max_examples=200, deadline=None)
def test_whatever_a_line_says_is_kept_or_rejected(values: dict[str, Any], digits: int) -> None:
    line = json.dumps({"customer_id": "C-1", **values})[:-1] + f', "big": {"9" * digits}}}\n'
    try:
        for row in rows(line, FileKind.JSON_LINES):
            if isinstance(row, Row):
                assert isinstance(read_contact(row, "FR"), SaidOfContact | BadContact)
    except BadFile:
        pass
