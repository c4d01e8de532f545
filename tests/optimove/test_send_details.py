"""Pages of send details: what a row may look like, and that a broken one spoils nothing."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optirelay.optimove import (
    SendDetail,
    SendDetailsPage,
    Unreadable,
    UnreadableRow,
    get_customer_send_details_by_channel,
    read_time,
)
from optirelay.optimove.send_details import _read_row, read_send_details

SAMPLES = Path(__file__).parent.parent / "samples" / "optimove"
TEN = datetime(2031, 4, 2, 10, tzinfo=UTC)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def page_of(*rows: Any, asked: int = 2) -> SendDetailsPage:
    return read_send_details(json.dumps(rows).encode(), asked)


def row(**changed: Any) -> dict[str, Any]:
    usual = {"CustomerID": "C-1", "TemplateID": 17, "ScheduledTime": "2031-04-02 10:00:00"}
    return usual | {"CustomerAttributes": ["Ana", "1"]} | changed


def only(page: SendDetailsPage) -> SendDetail:
    (detail,) = page.rows
    assert isinstance(detail, SendDetail), detail
    return detail


def why(page: SendDetailsPage) -> str:
    (broken,) = page.rows
    assert isinstance(broken, UnreadableRow), broken
    return broken.why


def test_a_page_is_asked_for_as_documented() -> None:
    call = get_customer_send_details_by_channel(
        campaign_id=90211, channel_id=452, attributes=["FIRST_NAME", "PHONE"], skip=20_000, top=10_000
    )
    assert (call.method, call.path) == ("GET", "/customers/GetCustomerSendDetailsByChannel")
    assert call.query == {
        "ChannelID": 452,
        "CampaignID": 90211,
        "CustomerAttributes": "FIRST_NAME;PHONE",
        "$top": 10_000,
        "$skip": 20_000,
    }
    assert call.body is None
    assert call.repeatable


def test_without_attributes_none_are_asked_for() -> None:
    call = get_customer_send_details_by_channel(campaign_id=1, channel_id=2, attributes=[], skip=0, top=1)
    assert "CustomerAttributes" not in call.query
    assert only(call.read(json.dumps([row()]).encode())).attributes == ()


@pytest.mark.parametrize(("attributes", "skip", "top"), [(["A;B"], 0, 1), ([" "], 0, 1), (["A"], -1, 1), (["A"], 0, 0)])
def test_a_page_that_cannot_be_asked_for_is_a_value_error(attributes: list[str], skip: int, top: int) -> None:
    with pytest.raises(ValueError):
        get_customer_send_details_by_channel(campaign_id=1, channel_id=2, attributes=attributes, skip=skip, top=top)


def test_a_documented_page_is_read() -> None:
    assert read_send_details(sample("send_details.json"), 2).rows == [
        SendDetail("C-004711", 17, TEN, ("Ana", "15550100123")),
        SendDetail("0192837821", 18, datetime(2031, 4, 2, 11, 30, tzinfo=UTC), ("Bo", "")),
    ]


def test_attributes_joined_in_one_text_are_split() -> None:
    assert read_send_details(sample("send_details_joined_attributes.json"), 2).rows == [
        SendDetail("C-004711", 17, TEN, ("Ana", "15550100123")),
        SendDetail("C-004712", 17, TEN, ("Bo", "")),
    ]


def test_keys_in_another_case_and_ids_as_text_are_read() -> None:
    page = read_send_details(sample("send_details_other_spelling.json"), 2)
    assert page.rows == [SendDetail("4711", 17, TEN, ("Ana", None), 214)]


def test_a_page_with_a_broken_row_keeps_the_others() -> None:
    body = sample("send_details_broken_rows.json")
    page = read_send_details(body, 2)
    assert len(page) == 12
    assert [type(read) for read in page.rows] == [SendDetail, *[UnreadableRow] * 10, SendDetail]
    assert page.rows[0] == SendDetail("C-1", 17, TEN, ("Ana", "1"))
    assert page.rows[-1] == SendDetail("C-12", 18, TEN, ("Cy", "3"))
    assert [read.why for read in page.rows if isinstance(read, UnreadableRow)] == [
        "CustomerID is missing",
        "CustomerID is empty",
        "CustomerID holds characters that are no text",
        "TemplateID is not a number we can use: 'letter'",
        "ScheduledTime is not a time we can read: '02/04/2031'",
        "ScheduledTime is not a time we can read: missing",
        "CustomerAttributes has 3 values for the 2 that were asked for",
        "CustomerAttributes holds a value that is neither text, number, boolean nor null",
        "CustomerAttributes holds characters that are no text",
        "The row is not an object",
    ]


def test_an_unreadable_row_keeps_what_was_received_and_does_not_show_it() -> None:
    (broken,) = read_send_details(b'[ { "CustomerID" : null,\n "Phone": "1555 0100", "n": 1.10 } ]', 0).rows
    assert isinstance(broken, UnreadableRow)
    assert broken.raw == b'{"CustomerID":null,"Phone":"1555 0100","n":1.10}'
    assert "1555" not in repr(broken)


def test_one_broken_row_in_ten_thousand_stays_in_its_place() -> None:
    rows = [row(CustomerID=f"C-{number}") for number in range(10_000)]
    rows[6_789]["CustomerID"] = ""
    page = page_of(*rows)
    assert len(page) == 10_000
    assert [index for index, read in enumerate(page.rows) if isinstance(read, UnreadableRow)] == [6_789]
    assert [read.customer_id for read in page.rows[6_788:6_791] if isinstance(read, SendDetail)] == ["C-6788", "C-6790"]


def test_bytes_that_are_not_utf8_spoil_only_their_row() -> None:
    good, bad = json.dumps(row()).encode(), json.dumps(row()).encode().replace(b"Ana", b"An\xe9")
    page = read_send_details(b"[%b,%b,%b]" % (good, bad, good), 2)
    assert [type(read) for read in page.rows] == [SendDetail, UnreadableRow, SendDetail]
    broken = page.rows[1]
    assert isinstance(broken, UnreadableRow)
    assert b"An\xe9" in broken.raw


def test_an_empty_page_is_empty_and_false() -> None:
    assert not page_of()
    assert len(read_send_details(b" [ ] ", 1)) == 0


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(read_send_details(b"\xef\xbb\xbf" + sample("send_details.json"), 2)) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"a":[1]}',
        b"[",
        b'[{"CustomerID":"C-1"}',
        b"[1,]",
        b"[1 2]",
        b"[1]]",
        b'["\\ud800" 1]',
        b'["\\ud800"]x',
        b'{"\\ud800":1}',
        b"<html>",
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_array_is_no_page(body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read_send_details(body, 1)
    assert str(caught.value) in ("is not JSON", "is not a list")


@pytest.mark.parametrize("depth", range(50, 1_200, 50))
def test_a_row_nested_too_deep_is_an_unreadable_row_or_page(depth: int) -> None:
    try:
        page = read_send_details(b"[%b]" % (b"[" * depth + b"]" * depth), 1)
    except Unreadable:
        return
    assert [type(read) for read in page.rows] == [UnreadableRow]


def test_an_error_text_in_the_place_of_a_page_is_quoted() -> None:
    with pytest.raises(Unreadable) as caught:
        read_send_details(b'"Campaign not found"', 1)
    assert caught.value.quote == "Campaign not found"


@pytest.mark.parametrize(
    ("wire", "ours"), [("007", "007"), (" x ", " x "), (7, "7"), (10**30, str(10**30)), (-3, "-3")]
)
def test_a_customer_id_keeps_its_characters(wire: object, ours: str) -> None:
    assert only(page_of(row(CustomerID=wire))).customer_id == ours


@pytest.mark.parametrize("wire", [True, 1.5, ["C-1"], {}, "", "\t"])
def test_what_is_no_customer_id_is_unreadable(wire: object) -> None:
    assert why(page_of(row(CustomerID=wire))).startswith("CustomerID is ")


@pytest.mark.parametrize("wire", [-1, 1.0, True, "1.0", "", "-1", "٣", 2**63, "9" * 5000, [1], None])
def test_what_is_no_template_id_is_unreadable(wire: object) -> None:
    assert why(page_of(row(TemplateID=wire))).startswith("TemplateID is not a number we can use")


@pytest.mark.parametrize(
    ("wire", "ours"),
    [
        (["Ana", None], ("Ana", None)),
        ([True, False], ("true", "false")),
        ([1.50, 10**30], ("1.5", str(10**30))),
        (["Ana"], ("Ana", None)),
        ([], (None, None)),
        (None, (None, None)),
        ("Ana;", ("Ana", "")),
        ("Ana", ("Ana", None)),
        (5, ("5", None)),
    ],
)
def test_attributes_come_in_the_order_asked_and_are_padded(wire: object, ours: tuple[str | None, ...]) -> None:
    assert only(page_of(row(CustomerAttributes=wire))).attributes == ours


def test_a_number_keeps_its_zeros() -> None:
    body = json.dumps([row(CustomerAttributes=["Ana", 0])]).replace("0]", "1.10]").encode()
    assert only(read_send_details(body, 2)).attributes == ("Ana", "1.10")


def test_one_attribute_in_one_text_may_hold_the_delimiter() -> None:
    assert only(page_of(row(CustomerAttributes="a;b"), asked=1)).attributes == ("a;b",)


def test_more_joined_values_than_asked_for_are_unreadable() -> None:
    assert why(page_of(row(CustomerAttributes="a;b;c"))) == (
        "CustomerAttributes has 3 values for the 2 that were asked for"
    )


def test_a_row_without_its_attributes_is_padded() -> None:
    bare = row()
    del bare["CustomerAttributes"]
    assert only(page_of(bare)).attributes == (None, None)


@pytest.mark.parametrize("key", ["ActionID", "ActionId", "actionID", "actionid"])
def test_an_action_id_is_read_in_every_spelling(key: str) -> None:
    assert only(page_of(row(**{key: 1}))).action_id == 1


@pytest.mark.parametrize("key", ["RecipientGroupID", "recipientGroupId", "RECIPIENTGROUPID"])
@pytest.mark.parametrize(
    ("wire", "ours"),
    [
        (2, 2),
        ("2", 2),
        (0, 0),
        (None, None),
        ("", None),
        ("B", None),
        (1.5, None),
        (True, None),
        (-1, None),
        ([2], None),
    ],
)
def test_a_recipient_group_is_a_whole_number_or_ignored(key: str, wire: object, ours: int | None) -> None:
    assert only(page_of(row(**{key: wire}))).recipient_group_id == ours


def test_the_same_answer_has_the_same_digest() -> None:
    first, second = json.dumps([row()]).encode(), json.dumps([row(CustomerID="C-2")]).encode()
    digests = [read_send_details(body, 2).digest for body in (first, first, b"\xef\xbb\xbf" + first, second)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_attributes_are_not_shown() -> None:
    page = page_of(row())
    assert "Ana" not in repr(page) + repr(page.rows)
    assert "C-1" in repr(page.rows)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2016-08-30 10:00:00", datetime(2016, 8, 30, 10, tzinfo=UTC)),
        ("2016-08-30 10:00", datetime(2016, 8, 30, 10, tzinfo=UTC)),
        ("2016-08-30T10:00:01Z", datetime(2016, 8, 30, 10, 0, 1, tzinfo=UTC)),
        ("2016-08-30 10:00:00.5", datetime(2016, 8, 30, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2016-08-30T10:00:00.1234567Z", datetime(2016, 8, 30, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2016-08-30T12:00:00+02:00", datetime(2016, 8, 30, 10, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(text: str, time: datetime) -> None:
    assert read_time(text) == time
    assert read_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2016-08-30",
        "20160830T100000",
        "2016-08-30 10",
        "2016-02-30 10:00",
        "2016-08-30 25:00",
        "2016-08-30 10:00:00 ",
        "2016-W35-2 10:00",
        "30/08/2016 10:00",
        "2016-08-30_10:00",
        "0001-01-01 00:00+02:00",
        "٢٠١٦-08-30 10:00",
    ],
)
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        read_time(text)


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ids = st.integers(0, 2**70) | st.text(st.characters(), max_size=5) | anything
times = st.sampled_from(["2031-04-02 10:00", "2031-04-02T10:00:00Z", "2031-13-02 10:00:00"]) | anything
values = st.lists(st.none() | st.text(st.characters(), max_size=5), max_size=3) | st.text() | anything
spellings: list[Callable[[str], str]] = [str, str.lower, str.upper]


@st.composite
def likely_rows(draw: st.DrawFn) -> dict[str, Any]:
    """Rows that look like the real ones often enough, with every kind of flaw."""
    parts = {"CustomerID": ids, "TemplateID": ids, "ScheduledTime": times, "CustomerAttributes": values}
    optional = {"ActionID": ids, "RecipientGroupID": ids, "CustomerAttribute": values, "Other": anything}
    chosen = draw(st.fixed_dictionaries(parts, optional=optional))
    return {draw(st.sampled_from(spellings))(key): value for key, value in chosen.items()}


@unhurried
@given(rows=st.lists(anything | likely_rows(), max_size=40), asked=st.integers(0, 3), escape=st.booleans())
def test_any_row_is_either_read_or_kept(rows: list[Any], asked: int, escape: bool) -> None:
    body = json.dumps(rows, ensure_ascii=escape).encode(errors="surrogatepass")
    page = read_send_details(body, asked)
    assert len(page) == len(rows)
    for read in page.rows:
        if isinstance(read, SendDetail):
            assert read.customer_id.strip()
            assert len(read.attributes) == asked
            assert read.scheduled_time.utcoffset() == timedelta(0)
            msgspec.json.encode(read)  # no text holds half a surrogate pair
            assert "\0" not in "".join([read.customer_id, *(value or "" for value in read.attributes)])
        else:
            assert read.raw
            assert read.why.isascii()


@unhurried
@given(row=likely_rows(), asked=st.integers(0, 3))
def test_the_fast_way_and_the_slow_way_read_the_same(row: dict[str, Any], asked: int) -> None:
    raw = json.dumps(row).encode()
    slow = _read_row(raw, asked)
    assert read_send_details(b"[%b]" % raw, asked).rows == [slow]


@unhurried
@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])))
def test_every_iso_time_is_read(time: datetime) -> None:
    if 1 < time.year < 9999:
        assert read_time(time.isoformat()) == time
