"""Which of Optimove's listeners are ours, and how they stand."""

from optirelay.model import TenantId
from optirelay.optimove import EventListener
from optirelay.stages.listeners import ListenerRow, ListenerState, base_url, compare, host_of, old_ones

BASE = base_url("https://relay.example.com/", TenantId("acme"))
OURS = BASE + "the-secret-of-our-listener"
THEIRS = "https://partner.example.com/optimove/acme/13"


def row(event_type: int, channel_id: int | None) -> ListenerRow:
    return ListenerRow(None, event_type, channel_id, OURS, ListenerState.MISSING)


def states(*theirs: EventListener) -> list[tuple[int, ListenerState, str | None]]:
    rows = compare([row(13, 504), row(4, None)], theirs, "acme")
    return [(found.event_type, found.state, found.leads_to) for found in rows]


def test_a_listener_is_missing_moved_or_fine() -> None:
    missing, moved, fine = ListenerState.MISSING, ListenerState.MOVED, ListenerState.OK
    assert states() == [(13, missing, None), (4, missing, None)]
    assert states(EventListener(13, THEIRS, 504), EventListener(4, OURS)) == [(13, moved, THEIRS), (4, fine, OURS)]


def test_one_without_a_channel_that_leads_to_others_is_theirs_whatever_they_wrote() -> None:
    for url in ("https://partner.example.com/webhook", "http://[", "nothing that is a URL"):
        assert states(EventListener(4, url))[1:] == [
            (4, ListenerState.MISSING, None),
            (4, ListenerState.FOREIGN, url),
        ]


def test_what_nobody_wants_is_removed_only_where_all_of_it_is_ours() -> None:
    listed = [
        *(EventListener(13, OURS, 504), EventListener(4, THEIRS)),  # both wanted
        *(EventListener(13, OURS, 505), EventListener(2, OURS)),
        EventListener(11, THEIRS, 504),
        *(EventListener(3, OURS), EventListener(3, THEIRS)),  # to remove one might remove both
    ]
    rows = compare([row(13, 504), row(4, None)], listed, "acme")
    assert old_ones(rows, lambda found: found.url.startswith(BASE)) == [(13, 505), (2, None)]


def test_the_host_of_an_address_is_all_that_is_told_of_it() -> None:
    assert host_of("https://user:password@partner.example.com:8443/secret?key=secret") == "partner.example.com"
    assert host_of("http://[") == host_of("secret") == "no host"
