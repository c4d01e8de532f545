"""A notification of a customer who met a trigger, read: which message it asks for, and which are the same one."""

import json
import random
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.triggers import body
from tests.web.mutants import mutants

from optirelay.addresses import reader_of
from optirelay.model import (
    LARGEST_NUMBER,
    LONGEST_CUSTOMER_ID,
    LONGEST_VALUE,
    NOBODY,
    CampaignId,
    ChannelKind,
    Fired,
    Recipient,
    Skip,
    Triggered,
)
from optirelay.settings import ChannelSettings
from optirelay.stages import notifications, triggers
from optirelay.stages.notifications import LONGEST_CAMPAIGN_ID, MalformedNotification
from optirelay.store.sids import sid_of

ARRIVAL = datetime(2031, 4, 3, 0, 0, 5, tzinfo=UTC)
READING = triggers.Reading("email", reader_of("email", None))
TAGS = {"FIRST_NAME": "Ana", "EMAIL": "ana@example.com"}


def read(told: bytes, reading: triggers.Reading = READING) -> Triggered:
    notification = notifications.read(told)
    campaign_id = notification.campaign_id or CampaignId("1")
    return triggers.read(notification, campaign_id, sha256(told).digest(), ARRIVAL, reading)


def one(reading: triggers.Reading = READING, **changed: Any) -> Triggered:
    return read(body(**{"personalization": TAGS, **changed}), reading)


def key(triggered: Triggered) -> tuple[object, ...]:
    """What the ledger goes by."""
    to = triggered.recipient
    return triggered.campaign_id, triggered.day, to.customer_id, to.template_id, triggered.occurrence


def test_a_notification_is_one_message() -> None:
    read = one()
    assert (read.campaign_id, read.day) == ("58831", date(2031, 4, 2))
    assert read.recipient == Recipient("C-004711", 17, ARRIVAL, "ana@example.com", TAGS)  # type: ignore[arg-type]
    assert read.fired == Fired("Viewed loans page three times", "214", ("LOAN5",))


def test_names_do_not_go_by_case_and_ids_are_numbers_or_texts() -> None:
    spelled = {
        "EVENTTYPEID": "11",
        "TimeStamp": "2031-04-02T14:44:09+02:00",
        "TRIGGERNAME": "Viewed loans page three times",
        "customerid": "C-004711",
        "CampaignID": 58831.0,
        "ActionId": "0214",
        "ChannelID": "604",
        "templateId": "017",
        "PROMOCODES": "LOAN5",
        "Email": " ana@example.com ",
        "first_name": "Ana",
    }
    read_otherwise, usual = read(json.dumps(spelled).encode()), one()
    assert key(read_otherwise) == key(usual)
    assert (read_otherwise.fired, read_otherwise.recipient.address) == (usual.fired, "ana@example.com")
    assert read_otherwise.recipient.personalization == {"Email": " ana@example.com ", "first_name": "Ana"}


def test_zeros_in_front_of_a_customer_id_count_and_a_number_is_its_digits() -> None:
    ids = [one(customerID=value).recipient.customer_id for value in ("0017", "17", 17, 17.0, " 17 ", 2**70)]
    assert ids == ["0017", "17", "17", "17", "17", str(2**70)]


@pytest.mark.parametrize("value", [None, "", " \t", "NULL", " NULL ", [], {}, ["x"], {"x": "y"}])
def test_a_value_that_says_nothing_is_missing(value: object) -> None:
    read = one(customerID=value, triggerName=value, actionID=value, promoCode=value, personalization={"EMAIL": value})
    assert read.fired == Fired(None, None, ("x",) if value == ["x"] else ())
    assert (read.recipient.skip, read.recipient.personalization) == (Skip.NO_CUSTOMER, {})
    beside = one(personalization={"EMAIL": value}, email="bea@example.com", first_name=value)
    assert (beside.recipient.address, beside.recipient.personalization) == (
        "bea@example.com",
        {"email": "bea@example.com"},
    )


def test_what_stands_in_personalization_comes_before_what_stands_beside_it() -> None:
    read = one(personalization={"EMAIL": "ana@example.com"}, email="bea@example.com", CITY="Rome", visits=3, vip=True)
    assert read.recipient.address == "ana@example.com"
    assert read.recipient.personalization == {"EMAIL": "ana@example.com", "CITY": "Rome", "visits": "3", "vip": "true"}


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (["A", "B", "A"], ("A", "B", "A")),
        ([" A ", "", None, "NULL", True, ["B"], {"C": "D"}, 5, 5.0, 1.5], ("A", "5", "5")),
        ("A", ("A",)),
        ("A,B", ("A,B",)),
        (7, ("7",)),
        ([], ()),
        ("", ()),
        (None, ()),
        (False, ()),
        ({"A": "B"}, ()),
    ],
)
def test_promo_codes_are_read_in_every_shape(said: object, codes: tuple[str, ...]) -> None:
    assert one(promoCode=said).fired.promo_codes == codes
    assert one(promoCode=None, promoCodes=said).fired.promo_codes == codes


@pytest.mark.parametrize(
    "stamp",
    [
        "2031-04-02T12:44:09",
        "2031-04-02T12:44:09Z",
        "2031-04-02 14:44:09+02:00",
        "2031-04-02T12:44:09.000+00:00",
        " 2031-04-02 12:44:09 ",
    ],
)
def test_a_time_stamp_in_another_spelling_is_the_same_one(stamp: str) -> None:
    assert key(one(timeStamp=stamp, notes="other bytes")) == key(one())


@pytest.mark.parametrize(
    "changed",
    [
        {"timeStamp": "2031-04-02 12:44:10"},
        {"timeStamp": "soon"},
        {"timeStamp": None},
        {"actionID": 215},
        {"actionID": "x"},
        {"actionID": None},
        {"templateID": 18},
        {"customerID": "C-4711"},
        {"campaignID": "58832"},
    ],
)
def test_another_action_time_stamp_template_customer_or_campaign_is_another_message(changed: dict[str, Any]) -> None:
    assert key(one(**changed)) != key(one())
    assert key(one(**changed)) == key(one(**changed))


@pytest.mark.parametrize("stamp", [None, "", "NULL" * 17, [], {}, True])
def test_without_a_time_stamp_the_bytes_decide(stamp: object) -> None:
    told = one(timeStamp=stamp)
    assert told.occurrence == sha256(body(timeStamp=stamp, personalization=TAGS)).digest()
    assert key(told) != key(one(timeStamp=stamp, notes="other bytes"))


@pytest.mark.parametrize(
    ("stamp", "day"),
    [
        ("2031-04-02 23:59:59", date(2031, 4, 2)),
        ("2031-04-02 23:59:59-01:00", date(2031, 4, 3)),
        ("1999-12-31 23:59:59", date(2020, 1, 1)),
        ("2999-12-31 23:59:59", date(2199, 1, 1)),
        *[(stamp, ARRIVAL.date()) for stamp in (None, "soon", 1712038322, "2031-04-02", "2031-02-30 10:00:00")],
        *[(stamp, ARRIVAL.date()) for stamp in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")],
    ],
)
def test_a_message_is_of_the_day_of_its_time_stamp_or_of_its_arrival(stamp: object, day: date) -> None:
    assert one(timeStamp=stamp).day == day


def test_a_visitor_is_known_by_the_address_alone() -> None:
    visitor = one(customerID=None)
    assert (visitor.recipient.skip, visitor.recipient.address) == (None, "ana@example.com")
    assert visitor.recipient.customer_id.startswith(NOBODY)
    again = one(customerID="NULL", personalization={"email": "ANA@example.com"})
    assert key(again) == key(visitor)
    assert key(one(customerID=None, personalization={"EMAIL": "bea@example.com"})) != key(visitor)


@pytest.mark.parametrize(
    ("changed", "skip"),
    [
        ({"personalization": {}}, Skip.NO_ADDRESS),
        ({"personalization": ["ana@example.com"]}, Skip.NO_ADDRESS),
        ({"personalization": json.dumps(TAGS)}, Skip.NO_ADDRESS),
        ({"personalization": {"EMAIL": "ana at example"}}, Skip.BAD_ADDRESS),
        ({"personalization": {"EMAIL": "ana@example.com\nBcc: eve@example.com"}}, Skip.BAD_ADDRESS),
        ({"customerID": None, "personalization": {}}, Skip.NO_CUSTOMER),
        ({"customerID": None, "personalization": {"EMAIL": "x"}}, Skip.BAD_ADDRESS),
        *[({"actionID": action}, Skip.CONTROL_GROUP) for action in (1, "1", 1.0, " 01 ")],
        ({"actionID": 1, "personalization": {}}, Skip.CONTROL_GROUP),
        *[({"templateID": value}, Skip.UNREADABLE) for value in (None, "", "x", -1, 1.5, True, 2**31, "9" * 3000)],
        ({"customerID": "i" * (LONGEST_CUSTOMER_ID + 1)}, Skip.UNREADABLE),
        ({"actionID": "a" * 101}, Skip.UNREADABLE),
        ({"triggerName": "t" * 501}, Skip.UNREADABLE),
        ({"promoCode": ["\0"]}, Skip.UNREADABLE),
        ({"customerID": "a\0b"}, Skip.UNREADABLE),
        ({"personalization": {**TAGS, "a\0b": "x"}}, Skip.UNREADABLE),
        ({"personalization": TAGS, "more": "x" * (LONGEST_VALUE + 1)}, Skip.UNREADABLE),
    ],
)
def test_who_cannot_be_written_to_is_skipped_for_it(changed: dict[str, Any], skip: Skip) -> None:
    read = one(**changed)
    assert read.recipient.skip is skip
    if skip is Skip.UNREADABLE:
        assert read.recipient.customer_id.startswith(NOBODY)
        assert (read.recipient.template_id, read.recipient.address, read.recipient.personalization) == (None, None, {})
        assert key(read) == key(one(**changed))
    assert_it_can_be_kept(read)


# --- whatever it is ---------------------------------------------------------------------------------------------------


def assert_it_can_be_kept(read: Triggered) -> None:
    """Every part of it has room in the ledger's columns, and a message that goes has all that it needs."""
    to, fired = read.recipient, read.fired
    codes, tags = fired.promo_codes, to.personalization
    texts = [read.campaign_id, to.customer_id, to.address or "", fired.trigger or "", fired.action_id or "", *codes]
    for text in (*texts, *tags, *tags.values()):
        assert "\0" not in text
        text.encode()  # no lone surrogates
        assert len(text) <= LONGEST_VALUE
    assert 0 < len(read.campaign_id) <= LONGEST_CAMPAIGN_ID
    assert 0 < len(to.customer_id) <= LONGEST_CUSTOMER_ID  # characters of four octets fit into the index, too
    assert len(read.occurrence) <= 32
    assert len(fired.action_id or "") <= triggers.LONGEST_ID
    assert len(fired.trigger or "") <= triggers.LONGEST_TRIGGER
    assert date(2020, 1, 1) <= read.day <= date(2199, 1, 1)
    assert sid_of(1, read.day, 1)
    assert to.send_at == ARRIVAL
    assert to.template_id is None or 0 <= to.template_id <= LARGEST_NUMBER
    assert (to.template_id is None) == (to.skip is Skip.UNREADABLE)
    assert to.skip is not None or (to.address is not None and to.address.isprintable())


def assert_it_is_read_or_malformed(told: bytes) -> None:
    try:
        read_ = read(told)
    except MalformedNotification:
        return
    assert_it_can_be_kept(read_)
    assert key(read_) == key(read(told))


NAMES = [*json.loads(body()), "EMAIL", "x"]
TEXTS = st.text(max_size=9) | st.sampled_from(
    ["NULL", "\ud800", "\0", "17", "ana@example.com", "0001-01-01T00:00+14:00"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.datetimes().map(str)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_the_fields_are_what_is_read_can_be_kept(changed: dict[str, Any]) -> None:
    fields = json.loads(body()) | changed | {"eventTypeID": 11}
    assert_it_is_read_or_malformed(json.dumps(fields).encode())


def test_whatever_the_body_is_what_is_read_can_be_kept() -> None:
    broken = mutants(random.Random(5))
    for _ in range(800):
        assert_it_is_read_or_malformed(next(broken).body)


# --- people of our own directory --------------------------------------------------------------------------------------


def in_directory(match: str | None) -> triggers.Reading:
    channel = ChannelSettings.model_construct(
        name="texts", kind=ChannelKind.SMS, address_attribute=None, match_attribute=match
    )
    return triggers.reading_of(channel, default_country="FR")


@pytest.mark.parametrize(
    ("changed", "skip"),
    [({}, None), ({"personalization": {"": "ana@example.com"}}, None), ({"customerID": " "}, Skip.NO_CUSTOMER)],
)
def test_who_is_found_by_their_customer_id_needs_no_address(changed: dict[str, Any], skip: Skip | None) -> None:
    recipient = one(in_directory(None), **changed).recipient
    assert (recipient.address, recipient.skip) == (None, skip)


@pytest.mark.parametrize(
    ("changed", "found_by"),
    [
        ({"personalization": {"e-Mail": " Ana@Example.COM "}}, "Ana@example.com"),
        ({"personalization": {}, "E-MAIL": "06 12 34 56 78"}, "+33612345678"),
        ({"personalization": {"E-mail": "NULL"}, "e-mail": 33612345678}, "+33612345678"),
        ({"personalization": {"E-mail": "bea@example.com"}, "e-mail": "ana@example.com"}, "bea@example.com"),
        *(({"personalization": {"E-mail": value}}, None) for value in (None, " ", "ana", "1", "9" * 10_000, "a;b@c.d")),
    ],
)
def test_what_finds_somebody_is_looked_up_as_addresses_are(changed: dict[str, Any], found_by: str | None) -> None:
    recipient = one(in_directory("E-Mail"), **changed).recipient
    assert (recipient.address, recipient.skip) == (found_by, None if found_by else Skip.NO_ADDRESS)
    assert recipient.customer_id == "C-004711"


def test_an_anonymous_visitor_is_who_their_value_finds() -> None:
    twice = [
        one(in_directory("EMAIL"), customerID=None, timeStamp=stamp, personalization={"EMAIL": address}).recipient
        for stamp, address in (("2031-04-02 10:00", "ana@example.com"), ("2031-04-02 11:00", "ANA@example.com"))
    ]
    assert twice[0].customer_id == twice[1].customer_id
    assert twice[0].customer_id.startswith(NOBODY)
    assert [one.skip for one in twice] == [None, None]
    assert one(in_directory("EMAIL"), customerID=None, personalization={}).recipient.skip is Skip.NO_CUSTOMER


def test_what_a_channel_takes_from_its_own_settings_is_left_alone() -> None:
    channel = ChannelSettings.model_construct(
        name="texts", kind=ChannelKind.SMS, address_attribute="Mobile", match_attribute=None
    )
    reading = triggers.reading_of(channel, default_country="FR")
    recipient = one(reading, personalization={"MOBILE": "06 12 34 56 78"}).recipient
    assert (reading.directory, recipient.address) == (False, "+33612345678")
    assert one(reading, personalization={"MOBILE": "1"}).recipient.skip is Skip.BAD_ADDRESS
