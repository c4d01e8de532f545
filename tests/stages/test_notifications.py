"""What Optimove tells, read in every spelling, and what it makes us do."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import LISTENER_SECRET

from optirelay.model import CampaignId, ChannelName, Notification, ProblemKind
from optirelay.optimove import EventListener
from optirelay.settings import TenantSettings
from optirelay.settings import read as read_settings
from optirelay.stages import campaigns, listeners
from optirelay.stages.campaigns import CallOff, Kept, SendOne, SendPlan, Step
from optirelay.stages.listeners import ListenerState
from optirelay.stages.notifications import MalformedNotification, read

STAMP = "2031-04-02 06:12:02"
OCCASION = "2031-04-02T06:12:02+00:00"
NEWS, TEXTS, MAIL = ChannelName("news"), ChannelName("texts"), ChannelName("mail")


def acme(**changed: Any) -> TenantSettings:
    channels = {"news": {"scheduled_id": 504}, "texts": {"triggered_id": 605}, "mail": {"scheduled_id": 506}}
    tenant = {"api_url": "https://api5.optimove.net", "api_key": "k", "listener_secret": LISTENER_SECRET}
    document = {"tenants": {"acme": tenant | {"channels": channels} | changed}}
    return read_settings(document, path=Path("optirelay.toml")).tenants["acme"]


CHANNELS = acme().channels


def body(**fields: Any) -> bytes:
    return json.dumps({"TimeStamp": STAMP, "CampaignID": 90211} | fields).encode()


def step(told: bytes) -> Step:
    return campaigns.next_step(read(told), sha256(told).digest(), CHANNELS)


def plan(*channels: ChannelName, occasion: str = OCCASION, announced: bool = True) -> SendPlan:
    return SendPlan(CampaignId("90211"), channels, occasion, announced)


def test_a_13_is_read_on_its_channel() -> None:
    assert step(body(EventTypeID=13, ChannelID=506)) == plan(MAIL)


def test_a_1_is_read_on_every_scheduled_channel_and_is_an_occasion_of_its_own() -> None:
    assert step(body(EventTypeID=1)) == plan(NEWS, MAIL, occasion=f"type 1, {OCCASION}", announced=False)


def test_a_1_that_names_a_channel_is_read_on_that_one() -> None:
    assert step(body(EventTypeID=1, ChannelID="506")) == plan(MAIL, occasion=f"type 1, {OCCASION}")


def test_a_4_calls_the_campaign_off() -> None:
    assert step(body(EventTypeID=4)) == CallOff(CampaignId("90211"))


@pytest.mark.parametrize("event_type", [0, 2, 3, 5, 14, 15, 99, 2**31 - 1])
def test_other_types_are_kept_and_nothing_is_done(event_type: int) -> None:
    assert step(body(EventTypeID=event_type, ChannelID=504, ClearanceRequiredBy=STAMP)) == Kept()


def test_an_11_is_one_message_on_the_channel_whose_triggered_id_it_names() -> None:
    assert step(body(EventTypeID=11, ChannelID="605")) == SendOne(CampaignId("90211"), TEXTS)
    assert step(body(EventTypeID=11, ChannelID=605, CampaignID="winback-7")) == SendOne(CampaignId("winback-7"), TEXTS)


@pytest.mark.parametrize(("event_type", "channel_id"), [(1, 605), (13, 605), (1, 7), (13, 7), (11, 504), (11, 7)])
def test_a_channel_id_that_is_nobodys_is_told(event_type: int, channel_id: int) -> None:
    kept = step(body(EventTypeID=event_type, ChannelID=channel_id))
    assert isinstance(kept, Kept)
    assert kept.kind is ProblemKind.UNKNOWN_CHANNEL_ID
    assert str(channel_id) in kept.problem


@pytest.mark.parametrize("event_type", [1, 4, 13])
@pytest.mark.parametrize("campaign_id", [None, "", "x", "٣", -1, 1.5, True, [90211], 2**63, "9" * 3000, "9 0"])
def test_what_names_no_campaign_is_told(event_type: int, campaign_id: object) -> None:
    kept = step(body(EventTypeID=event_type, ChannelID=504, CampaignID=campaign_id))
    assert isinstance(kept, Kept)
    assert (kept.kind, "CampaignID" in kept.problem) == (ProblemKind.UNREADABLE_NOTIFICATION, True)


@pytest.mark.parametrize("channel_id", [None, "", "x", -1, 2**31, True])
def test_a_13_without_a_channel_is_told(channel_id: object) -> None:
    kept = step(body(EventTypeID=13, ChannelID=channel_id))
    assert isinstance(kept, Kept)
    assert (kept.kind, "ChannelID" in kept.problem) == (ProblemKind.UNREADABLE_NOTIFICATION, True)


@pytest.mark.parametrize(
    "told",
    [
        {"EventTypeID": 13, "CampaignID": 90211, "ChannelID": 504, "TimeStamp": STAMP},
        {"eventTypeId": "13", "campaignId": "90211", "channelId": "504", "timeStamp": "2031-04-02T06:12:02Z"},
        {"EVENTTYPEID": 13.0, "CAMPAIGNID": " 90211 ", "CHANNELID": 504.0, "TIMESTAMP": "2031-04-02 08:12:02+02:00"},
        {"eventtypeid": "013", "campaignid": "0090211", "channelid": "0504", "timestamp": STAMP, "more": [{}]},
    ],
)
def test_the_same_in_another_spelling_is_the_same(told: dict[str, Any]) -> None:
    assert read(json.dumps(told).encode()) == Notification(13, CampaignId("90211"), 504, OCCASION)


@pytest.mark.parametrize(
    ("stamp", "occasion"),
    [
        ("1999-12-31 23:59", "1999-12-31T23:59:00+00:00"),
        ("soon", "soon"),
        (1712038322, "1712038322"),
        ("x" * 65, None),
        (None, None),
        ("", None),
        ({}, None),
    ],
)
def test_any_time_stamp_tells_two_occasions_apart(stamp: object, occasion: str | None) -> None:
    told = body(EventTypeID=13, ChannelID=504, TimeStamp=stamp)
    assert read(told).occasion == occasion
    assert step(told) == plan(NEWS, occasion=occasion or sha256(told).hexdigest())


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["EventTypeID", "CampaignID", "ChannelID", "TimeStamp", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(["x"]),
    )
)
def test_whatever_is_told_it_is_read_or_malformed(told: dict[str, Any]) -> None:
    whole = json.dumps(told).encode()
    try:
        notification = read(whole)
    except MalformedNotification:
        return
    found = campaigns.next_step(notification, sha256(whole).digest(), CHANNELS)
    assert not isinstance(found, SendPlan) or 0 <= int(found.campaign_id) < 2**63


URL = f"https://relay.example.com/optimove/acme/{LISTENER_SECRET}"


def test_more_event_types_are_wanted_without_a_channel() -> None:
    wanted = listeners.wanted(acme(listen_also=[5, 1]), "https://relay.example.com/")
    assert [(row.event_type, row.channel, row.channel_id, row.url) for row in wanted] == [
        (13, NEWS, 504, URL),
        (13, MAIL, 506, URL),
        (11, TEXTS, 605, URL),
        (4, None, None, URL),
        (5, None, None, URL),
        (1, None, None, URL),
    ]


def test_a_listener_without_a_channel_is_ours_by_its_url() -> None:
    theirs = [
        EventListener(1, f"{URL}-before", None),
        EventListener(5, "https://others.example.com/", None),
        EventListener(2, "https://others.example.com/", None),
    ]
    wanted = listeners.wanted(acme(listen_also=[1, 5], channels={}), "https://relay.example.com")
    assert [(row.event_type, row.state) for row in listeners.compare(wanted, theirs, "acme")] == [
        (1, ListenerState.MOVED),
        (5, ListenerState.MISSING),
        (5, ListenerState.FOREIGN),
        (2, ListenerState.FOREIGN),
    ]
