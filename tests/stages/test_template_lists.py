"""How our templates and apps and Optimove's lists differ, and the calls that bring them in step."""

from dataclasses import dataclass

import pytest

from optirelay.model import AppId, TemplateId
from optirelay.stages.template_lists import (
    Change,
    Listed,
    Rules,
    Standing,
    Step,
    TemplateState,
    compare,
    compare_apps,
    in_all_lists,
    next_changes,
    step_of,
)

IOS, WEB = AppId("ios"), AppId("web")
NO_MORE = Rules()


@dataclass(frozen=True)
class Ours:
    template_id: TemplateId
    name: str
    app: AppId | None = None
    dropped: bool = False

    @property
    def key(self) -> str:
        return f"key-{self.template_id}"


def ours(template_id: int, name: str, app: AppId | None = None, *, dropped: bool = False) -> Ours:
    return Ours(TemplateId(template_id), name, app, dropped)


def listed(template_id: int, name: str, app: AppId | None = None) -> Listed:
    return Listed(TemplateId(template_id), name, app)


def told(*templates: Listed) -> dict[TemplateId, Listed]:
    return {template.template_id: template for template in templates}


def changes(
    states: list[TemplateState],
    rules: Rules = NO_MORE,
    *,
    per_call: int = 100,
    delete_first: bool = True,
) -> list[Change]:
    return next_changes(states, rules, per_call=per_call, delete_first=delete_first)


def test_our_templates_and_optimoves_list_are_compared_by_id_and_name() -> None:
    states = compare(
        [ours(1, "One"), ours(2, "Two"), ours(3, "Three")], [listed(9, "Nine"), listed(2, "2"), listed(1, "One")]
    )
    assert [(s.template_id, s.name, s.key, s.state, s.listed) for s in states] == [
        (1, "One", "key-1", Standing.OK, "One"),
        (2, "Two", "key-2", Standing.RENAMED, "2"),
        (3, "Three", "key-3", Standing.MISSING, None),
        (9, "Nine", None, Standing.FOREIGN, "Nine"),
    ]


def test_an_app_is_what_was_told_last_where_optimove_does_not_list_it() -> None:
    mine = [ours(1, "One", IOS), ours(2, "Two", IOS), ours(3, "Three"), ours(4, "Four", IOS), ours(5, "Five", IOS)]
    theirs = [listed(1, "One"), listed(2, "Two"), listed(3, "Three"), listed(4, "Four", WEB), listed(5, "Five", IOS)]
    known = told(listed(1, "One", IOS), listed(3, "Three", WEB), listed(4, "Four", IOS), listed(5, "Five", WEB))
    standing = [state.state.value for state in compare(mine, theirs, known)]
    assert standing == ["ok", "renamed", "renamed", "renamed", "ok"]


def test_what_was_there_as_it_is_ours_and_is_not_any_more_has_drifted() -> None:
    mine = [ours(1, "One"), ours(2, "Two"), ours(3, "Three, anew"), ours(4, "Four"), ours(5, "Five")]
    known = told(listed(1, "One"), listed(2, "Two"), listed(3, "Three"), listed(5, "Five"))
    states = compare(mine, [listed(2, "Zwei"), listed(3, "Three"), listed(5, "Five")], known)
    assert [state.template_id for state in states if state.drifted] == [1, 2]


def test_only_what_was_ours_goes_by_itself() -> None:
    mine = [ours(1, "One", dropped=True), ours(2, "Two", dropped=True)]
    states = compare(mine, [listed(1, "One"), listed(3, "Three"), listed(9, "Nine")], told(listed(3, "Three")))
    assert [(state.template_id, step_of(state, Rules())) for state in states] == [
        (1, Step.DROP),
        (3, Step.DROP),
        (9, Step.LEAVE),
    ]
    assert changes(states) == [Change(delete=[TemplateId(1), TemplateId(3)])]
    assert changes(states, Rules(prune=True)) == [Change(delete=[TemplateId(1), TemplateId(3), TemplateId(9)])]


@pytest.mark.parametrize("prune", [False, True])
def test_what_a_running_campaign_needs_goes_by_force_alone(*, prune: bool) -> None:
    used = [TemplateId(1), TemplateId(9)]
    states = compare([ours(1, "One", dropped=True)], [listed(1, "One"), listed(9, "Nine")])
    kept = [step_of(state, Rules(prune=prune, in_use=used)) for state in states]
    assert kept == [Step.WAIT, Step.WAIT if prune else Step.LEAVE]
    assert changes(states, Rules(prune=prune, in_use=used)) == []
    (change,) = changes(states, Rules(prune=prune, force=True, in_use=used))
    assert change.delete == (used if prune else used[:1])


def test_calls_are_not_too_large_and_a_renamed_one_is_deleted_right_before_it_is_added() -> None:
    states = compare(
        [ours(number, "new") for number in range(1, 8)],
        [listed(1, "new"), *(listed(number, "old") for number in (2, 3, 4)), listed(9, "x")],
    )
    assert changes(states, per_call=2) == [
        Change(add=[listed(5, "new"), listed(6, "new")]),
        Change(add=[listed(7, "new")]),
        Change(delete=[TemplateId(2), TemplateId(3)]),
        Change(add=[listed(2, "new"), listed(3, "new")]),
        Change(delete=[TemplateId(4)]),
        Change(add=[listed(4, "new")]),
    ]
    assert [change.add for change in changes(states, per_call=100, delete_first=False)] == [
        [listed(5, "new"), listed(6, "new"), listed(7, "new")],
        [listed(2, "new"), listed(3, "new"), listed(4, "new")],
    ]
    assert changes(compare([ours(1, "One")], [listed(1, "One")])) == []


def test_a_channel_with_two_lists_shows_each_template_as_in_the_worst_of_them() -> None:
    mine = [ours(1, "One"), ours(2, "Two"), ours(3, "Three")]
    first = compare(mine, [listed(1, "One"), listed(2, "2"), listed(9, "Nine")])
    second = compare(mine, [listed(1, "One"), listed(2, "Two"), listed(3, "Three")])
    shown = [(state.template_id, state.state.value) for state in in_all_lists([first, second])]
    assert shown == [(1, "ok"), (2, "renamed"), (3, "missing"), (9, "foreign")]


def test_apps_are_added_and_renamed_and_go_once_no_template_names_them() -> None:
    change = compare_apps(
        {IOS: "Acme iOS", WEB: "Acme"}, {WEB: "Old", AppId("tv"): "TV", AppId("car"): "Car"}, {AppId("tv")}
    )
    assert (change.add, change.delete) == ({IOS: "Acme iOS", WEB: "Acme"}, [AppId("car")])
    nothing = compare_apps({IOS: "Acme iOS"}, {IOS: "Acme iOS"}, set())
    assert (nothing.add, nothing.delete) == ({}, [])
