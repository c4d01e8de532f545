"""Campaigns: which there were."""

from datetime import date

import pytest

from optirelay.optimove import Unreadable, get_executed_campaigns_by_channel

CALL = get_executed_campaigns_by_channel(452, date(2031, 4, 2))


def test_the_campaigns_of_a_day_are_asked_for_as_documented() -> None:
    assert (CALL.method, CALL.path) == ("GET", "/actions/GetExecutedCampaignsByChannel")
    assert CALL.query == {"ChannelID": 452, "Date": "2031-04-02"}


def test_the_campaigns_of_a_day_are_read_with_ids_as_numbers_or_text() -> None:
    assert CALL.read(b'[{"CampaignID":90211},{"campaignId":"90212"}]') == [90211, 90212]
    assert CALL.read(b"[]") == []


@pytest.mark.parametrize("body", [b'"No such channel"', b"{}", b"[{}]", b"[1]"])
def test_what_is_no_list_of_campaigns_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        CALL.read(body)
