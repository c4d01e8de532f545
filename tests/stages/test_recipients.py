"""Optimove's rows, one by one: who is written to, where, with what, and why somebody is not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optirelay.model import ChannelKind, Recipient, Skip
from optirelay.optimove import get_customer_send_details_by_channel
from optirelay.settings import ChannelSettings
from optirelay.stages.recipients import Tags, never_ends, read_rows, tags_of

TAGS = Tags("EMAIL", ("FIRST_NAME", "CITY"))
TEN = datetime(2031, 4, 2, 10, tzinfo=UTC)


def read(*rows: Any, tags: Tags = TAGS) -> list[Recipient]:
    call = get_customer_send_details_by_channel(campaign_id=1, channel_id=2, attributes=tags.asked, skip=0, top=10)
    return read_rows(call.read(json.dumps(rows).encode()).rows, tags)


def row(**changed: Any) -> dict[str, Any]:
    usual = {"CustomerID": "C-1", "TemplateID": 17, "ScheduledTime": "2031-04-02 10:00:00"}
    return usual | {"CustomerAttributes": ["ana@example.com", "Ana", "Rome"]} | changed


def only(**changed: Any) -> Recipient:
    (recipient,) = read(row(**changed))
    return recipient


def test_a_row_is_a_recipient() -> None:
    assert only() == Recipient("C-1", 17, TEN, "ana@example.com", {"FIRST_NAME": "Ana", "CITY": "Rome"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wire", "city"),
    [
        (None, None),
        ("", None),
        (" \t", None),
        ("NULL", None),
        (" NULL ", None),
        ("null", "null"),
        (0, "0"),
        (7.5, "7.5"),
        (True, "true"),
        ("007", "007"),
    ],
)
def test_a_value_is_there_or_missing(wire: object, city: str | None) -> None:
    expected = {"FIRST_NAME": "Ana"} | ({} if city is None else {"CITY": city})
    assert only(CustomerAttributes=["ana@example.com", "Ana", wire]).personalization == expected


@pytest.mark.parametrize(
    "attributes",
    [
        {"CustomerAttributes": ["ana@example.com", "Ana", None]},
        {"CustomerAttributes": ["ana@example.com", "Ana"]},
        {"CustomerAttributes": "ana@example.com;Ana;NULL"},
        {"CustomerAttributes": "ana@example.com;Ana"},
        {"CustomerAttributes": None, "CustomerAttribute": "ana@example.com;Ana;NULL"} | {"gone": "CustomerAttributes"},
        {"CustomerAttributes": None, "customerattribute": ["ana@example.com", "Ana"]} | {"gone": "CustomerAttributes"},
    ],
)
def test_attributes_come_in_every_form_seen(attributes: dict[str, Any]) -> None:
    whole = row(**attributes)
    whole.pop(whole.pop("gone", ""), None)
    (recipient,) = read(whole)
    assert (recipient.address, recipient.personalization) == ("ana@example.com", {"FIRST_NAME": "Ana"})


@pytest.mark.parametrize("action", [1, "1", " 1 "])
def test_the_control_group_is_skipped_and_never_asked_for_an_address(action: object) -> None:
    recipient = only(ActionID=action, CustomerAttributes=[None, "Ana", "Rome"])
    assert (recipient.customer_id, recipient.template_id, recipient.send_at) == ("C-1", 17, TEN)
    assert (recipient.skip, recipient.address, recipient.personalization) == (Skip.CONTROL_GROUP, None, {})


@pytest.mark.parametrize("action", [None, "", 0, 2, "214"])
def test_any_other_action_is_written_to(action: object) -> None:
    assert only(ActionID=action).skip is None


@pytest.mark.parametrize(
    ("wire", "group"), [(None, None), (1, None), ("1", None), (2, 2), ("3", 3), (0, 0), ("B", None), (2**31, None)]
)
def test_the_recipient_group_is_kept_where_it_is_another_than_1(wire: object, group: int | None) -> None:
    assert only(RecipientGroupID=wire).group == group
    assert only(RecipientGroupID=wire, ActionID=1).group == group


@pytest.mark.parametrize(
    ("changed", "skip"),
    [
        ({"CustomerID": None}, Skip.NO_CUSTOMER),
        ({"CustomerID": "  "}, Skip.NO_CUSTOMER),
        ({"CustomerID": "NULL"}, Skip.NO_CUSTOMER),
        ({"CustomerID": ["C-1"]}, Skip.UNREADABLE),
        ({"CustomerID": "x" * 501}, Skip.UNREADABLE),
        ({"TemplateID": None}, Skip.UNREADABLE),
        ({"TemplateID": 2**31}, Skip.UNREADABLE),
        ({"TemplateID": "17a"}, Skip.UNREADABLE),
        ({"ScheduledTime": "soon"}, Skip.UNREADABLE),
        ({"ScheduledTime": "0001-01-01 00:00:00"}, Skip.UNREADABLE),
        ({"ScheduledTime": "9999-12-31 23:59:59"}, Skip.UNREADABLE),
        ({"CustomerAttributes": ["ana@example.com", "x" * 65537]}, Skip.UNREADABLE),
        ({"CustomerAttributes": ["ana@example.com", {"x": 1}]}, Skip.UNREADABLE),
        ({"CustomerAttributes": ["ana@example.com", "Ana", "Rome", "more"]}, Skip.UNREADABLE),
        ({"CustomerAttributes": ["x" * 65537, "Ana"]}, Skip.UNREADABLE),
        ({"ActionID": "none"}, Skip.UNREADABLE),
    ],
)
def test_a_row_that_cannot_be_used_is_somebody_of_its_own(changed: dict[str, Any], skip: Skip) -> None:
    (first, again, other) = read(row(**changed), row(**changed), row(**changed, Note="x"))
    assert (first.skip, first.template_id, first.send_at, first.address) == (skip, None, None, None)
    assert first.customer_id.startswith("raw:")
    assert first == again
    assert other.skip is skip


@pytest.mark.parametrize(
    ("changed", "customer_id"), [({"CustomerID": "0012"}, "0012"), ({"CustomerID": 12}, "12"), ({}, "C-1")]
)
def test_a_customer_id_is_text_and_keeps_its_zeros(changed: dict[str, Any], customer_id: str) -> None:
    assert only(**changed).customer_id == customer_id


def test_the_largest_values_are_kept() -> None:
    recipient = only(CustomerID="x" * 500, TemplateID=2**31 - 1, CustomerAttributes=["a@example.com", "x" * 65536])
    assert recipient.skip is None
    assert len(recipient.personalization["FIRST_NAME"]) == 65536


@pytest.mark.parametrize(
    ("address", "skip"),
    [(None, Skip.NO_ADDRESS), ("NULL", Skip.NO_ADDRESS), ("ana", Skip.BAD_ADDRESS), (15550100123, Skip.BAD_ADDRESS)],
)
def test_an_address_is_missing_or_none_by_its_syntax(address: object, skip: Skip) -> None:
    assert only(CustomerAttributes=[address, "Ana"]).skip is skip


def addressed(kind: str, value: object, country: str | None = None) -> Recipient:
    """Somebody on a channel of that kind, whose address Optimove has so."""
    tags = Tags("TO", ("FIRST_NAME",), ChannelKind(kind), country)
    (recipient,) = read(row(CustomerAttributes=[value, "Ana"]), tags=tags)
    assert recipient.personalization == {"FIRST_NAME": "Ana"}
    assert (recipient.address is None) == (recipient.skip is not None)
    return recipient


FULL_TOKEN, FULL_NAME = "t" * 4096, "é" * 500


@pytest.mark.parametrize(
    ("kind", "country", "written", "address"),
    [
        ("email", None, " Ana@Example.COM ", "Ana@example.com"),
        ("sms", "FR", "06 12 34 56 78", "+33612345678"),
        ("sms", "FR", 33612345678, "+33612345678"),
        ("sms", "FR", "+1 (202) 555-0123", "+12025550123"),
        ("sms", "US", "(202) 555-0123", "+12025550123"),
        ("sms", None, "+33 6 12 34 56 78", "+33612345678"),
        ("sms", None, "33612345678", "+33612345678"),
        ("push", None, "\tfcm:APA91b-_x=\n", "fcm:APA91b-_x="),
        ("push", "FR", FULL_TOKEN, FULL_TOKEN),
        ("inapp", None, "  Ana Café  #12 ", "Ana Café  #12"),
        ("inapp", None, 4711, "4711"),
        ("inapp", None, FULL_NAME, FULL_NAME),
    ],
)
def test_an_address_is_read_by_the_kind_of_its_channel(
    kind: str, country: str | None, written: object, address: str
) -> None:
    assert addressed(kind, written, country).address == address


@pytest.mark.parametrize(
    ("kind", "country", "written"),
    [
        ("sms", None, "06 12 34 56 78"),
        ("sms", "FR", "1234"),
        ("sms", "FR", "ana@example.com"),
        ("sms", "FR", "0612345678 ext 5"),
        ("sms", "FR", "0612345678, 0687654321"),
        ("sms", "FR", "9" * 60_000),
        ("push", None, "two tokens"),
        ("push", None, "a\u00a0b"),
        ("push", None, "a\x1bb"),
        ("push", None, FULL_TOKEN + "t"),
        ("inapp", None, "two\nlines"),
        ("inapp", None, "a\u2028b"),
        ("inapp", None, FULL_NAME + "é"),
    ],
)
def test_what_is_no_address_of_the_kind_is_a_bad_address(kind: str, country: str | None, written: str) -> None:
    assert addressed(kind, written, country).skip is Skip.BAD_ADDRESS


@pytest.mark.parametrize("kind", ["sms", "push", "inapp"])
@pytest.mark.parametrize("written", [None, "", " ", "NULL"])
def test_a_value_that_says_nothing_is_no_address_of_any_kind(kind: str, written: str | None) -> None:
    assert addressed(kind, written, "FR").skip is Skip.NO_ADDRESS


READABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))  # else the row is unreadable


@given(
    kind=st.sampled_from(ChannelKind),
    value=READABLE | st.from_regex(r"[+0-9() .-]{0,20}", fullmatch=True),
    country=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_a_value_is_it_is_an_address_or_the_reason_why_not(
    kind: ChannelKind, value: str, *, country: bool
) -> None:
    address = addressed(kind, value, "FR" if country else None).address
    if address is not None:
        assert address.isprintable()
        address.encode()  # it can be kept
        assert addressed(kind, address).address == address  # and is the same when read again


def test_the_tags_are_the_channels_and_the_country_is_the_tenants() -> None:
    channel = ChannelSettings.model_construct(
        name="texts", kind=ChannelKind.SMS, address_attribute="MOBILE", personalization=("NAME", "MOBILE")
    )
    tags = tags_of(channel, default_country="FR")
    assert tags == Tags("MOBILE", ("NAME", "MOBILE"), ChannelKind.SMS, "FR")
    assert tags.asked == ("MOBILE", "NAME")


# --- people of our own directory --------------------------------------------------------------------------------------

LOCAL, E164 = "06 12 34 56 78", "+33612345678"
BY_ID, BY_EMAIL = Tags(None, ("NAME",), default_country="FR"), Tags(None, ("NAME",), ChannelKind.SMS, "FR", "EMAIL")


def test_the_directory_asks_for_what_finds_somebody_and_for_no_address() -> None:
    channel = ChannelSettings.model_construct(
        name="texts", kind=ChannelKind.SMS, address_attribute=None, match_attribute="EMAIL", personalization=("NAME",)
    )
    assert tags_of(channel, default_country="FR") == BY_EMAIL
    by_id = tags_of(channel.model_copy(update={"match_attribute": None}), default_country="FR")
    assert (BY_EMAIL.asked, by_id.asked) == (("EMAIL", "NAME"), ("NAME",))
    nothing = Tags(None, ())
    assert nothing.asked == ()
    (recipient,) = read(row(CustomerAttributes=None), tags=nothing)
    assert (recipient.customer_id, recipient.address, recipient.skip, recipient.personalization) == (
        "C-1",
        None,
        None,
        {},
    )


def test_who_is_found_by_their_customer_id_needs_nothing_else() -> None:
    (recipient,) = read(row(CustomerAttributes=["Ana"]), tags=BY_ID)
    assert (recipient.address, recipient.skip, recipient.personalization) == (None, None, {"NAME": "Ana"})
    unreadable, nobody, control = read(
        *(
            row(CustomerAttributes=["Ana"], **changed)
            for changed in ({"TemplateID": None}, {"CustomerID": " "}, {"ActionID": 1})
        ),
        tags=BY_ID,
    )
    assert [r.skip for r in (unreadable, nobody, control)] == [Skip.UNREADABLE, Skip.NO_CUSTOMER, Skip.CONTROL_GROUP]


@pytest.mark.parametrize(
    ("written", "found_by"),
    [
        (" Ana.Lee@Example.COM ", "Ana.Lee@example.com"),
        (LOCAL, E164),
        (33612345678, E164),
        ("+33 6 12 34 56 78", E164),
        *(
            (nothing, None)
            for nothing in (None, "", " ", "NULL", "ana", "ana@", "@", "1234", "a@b.example;c@d.example")
        ),
        *((hostile, None) for hostile in ("a" * 10_000, "9" * 10_000, "@" * 10_000, "a" * 10_000 + "@example.com")),
    ],
)
def test_a_value_finds_somebody_by_e_mail_or_phone_or_nobody(written: object, found_by: str | None) -> None:
    (recipient,) = read(row(CustomerAttributes=[written, "Ana"]), tags=BY_EMAIL)
    assert (recipient.address, recipient.skip) == (found_by, None if found_by else Skip.NO_ADDRESS)
    assert recipient.personalization == {"NAME": "Ana"}  # and the value is no personalization


def test_what_finds_somebody_is_personalization_where_the_channel_names_it() -> None:
    tags = Tags(None, ("EMAIL", "NAME"), ChannelKind.SMS, "FR", "EMAIL")
    (recipient,) = read(row(CustomerAttributes=["ana@example.com", "Ana"]), tags=tags)
    assert recipient.personalization == {"EMAIL": "ana@example.com", "NAME": "Ana"}


@pytest.mark.parametrize(
    ("rows", "same", "received", "handed_over", "endless"),
    [
        (10, 0, 0, 0, False),
        (10, 1, 40, 40, False),
        (10, 2, 20, 20, True),
        (10, 0, 200, 40, False),
        (10, 0, 201, 40, True),
        (0, 0, 201, 40, False),
    ],
)
def test_a_reading_never_ends_that_brings_the_same_again_and_again(
    rows: int, same: int, received: int, handed_over: int, endless: bool
) -> None:
    assert never_ends(rows, same=same, received=received, handed_over=handed_over) is endless
