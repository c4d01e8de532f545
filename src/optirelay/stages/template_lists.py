"""How our templates and apps and Optimove's lists differ, and which calls bring the lists in step."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from optirelay.model import AppId, TemplateId


@dataclass(frozen=True, slots=True)
class Listed:
    """A template as Optimove lists it, or is told of it; of listed ones the app may not be known."""

    template_id: TemplateId
    name: str
    app: AppId | None = None


class Kept(Protocol):
    """A template of ours, from a file or from the store."""

    @property
    def key(self) -> str: ...
    @property
    def template_id(self) -> TemplateId: ...
    @property
    def name(self) -> str: ...
    @property
    def app(self) -> AppId | None: ...
    @property
    def dropped(self) -> bool: ...


class Standing(StrEnum):
    """How a template of ours and Optimove's list agree."""

    OK = "ok"
    MISSING = "missing"  # ours, and Optimove does not list it
    RENAMED = "renamed"  # listed under another name, or told of with another app
    FOREIGN = "foreign"  # listed, and not ours


_BEST_FIRST = (Standing.OK, Standing.FOREIGN, Standing.RENAMED, Standing.MISSING)


@dataclass(frozen=True, slots=True)
class TemplateState:
    """One template in one of Optimove's lists; `key` is None where it is not ours, `name` is ours wherever it is."""

    template_id: TemplateId
    name: str
    key: str | None
    state: Standing
    app: AppId | None = None
    listed: str | None = None  # its name at Optimove; None: it is not there
    told: bool = False  # as far as we know it is there as it is ours
    dropped: bool = False  # it was ours, and is to go

    @property
    def drifted(self) -> bool:
        """Whether it was there as it is ours, and somebody else changed that."""
        return self.told and self.state is not Standing.OK


def compare(
    ours: Sequence[Kept], theirs: Sequence[Listed], told: Mapping[TemplateId, Listed] | None = None
) -> list[TemplateState]:
    """Every template of one list, ours first; `told` is what that list holds because of us, as far as we know.

    Optimove does not tell the app of a template: where it does not, it is what was told last.
    """
    told = told or {}
    listed = {template.template_id: template for template in theirs}
    states = [_state(t, listed.get(t.template_id), told.get(t.template_id)) for t in ours if not t.dropped]
    kept, dropped = {state.template_id for state in states}, {t.template_id for t in ours if t.dropped}
    for number, template in listed.items():
        if number not in kept:
            was_ours = number in dropped or number in told
            states.append(
                TemplateState(number, template.name, None, Standing.FOREIGN, listed=template.name, dropped=was_ours)
            )
    return states


def _state(ours: Kept, listed: Listed | None, told: Listed | None) -> TemplateState:
    standing = Standing.MISSING
    if listed is not None:
        app = listed.app or (told and told.app)
        same = (listed.name, app) == (ours.name, ours.app)
        standing = Standing.OK if same else Standing.RENAMED
    return TemplateState(
        ours.template_id,
        ours.name,
        ours.key,
        standing,
        app=ours.app,
        listed=None if listed is None else listed.name,
        told=told is not None and (told.name, told.app) == (ours.name, ours.app),
    )


def in_all_lists(by_list: Sequence[Sequence[TemplateState]]) -> list[TemplateState]:
    """Every template of a channel that has several of Optimove's lists, each once, as in the worst of them."""
    found: dict[tuple[TemplateId, str | None], TemplateState] = {}
    for row in (row for rows in by_list for row in rows):
        there = found.get((row.template_id, row.key))
        if there is None or _BEST_FIRST.index(row.state) > _BEST_FIRST.index(there.state):
            found[row.template_id, row.key] = row
    return list(found.values())


class Step(StrEnum):
    """What a sync does to one template in one list."""

    NONE = ""
    ADD = "add"
    RENAME = "rename"
    DROP = "drop"
    WAIT = "drop later"  # a running campaign uses it
    LEAVE = "leave alone"  # it was never ours


@dataclass(frozen=True, slots=True)
class Rules:
    """How far a sync goes; `in_use` are the templates of running campaigns."""

    prune: bool = False  # also what was never ours goes
    force: bool = False  # also what a running campaign uses
    in_use: Collection[TemplateId] = ()


def step_of(state: TemplateState, rules: Rules) -> Step:
    """What is done to a template."""
    match state.state:
        case Standing.MISSING:
            return Step.ADD
        case Standing.RENAMED:
            return Step.RENAME
        case Standing.FOREIGN if state.dropped or rules.prune:
            return Step.WAIT if state.template_id in rules.in_use and not rules.force else Step.DROP
        case Standing.FOREIGN:
            return Step.LEAVE
        case _:
            return Step.NONE


@dataclass(frozen=True, slots=True)
class Change:
    """One call: templates to delete, or to add."""

    delete: Sequence[TemplateId] = ()
    add: Sequence[Listed] = ()


def next_changes(states: Iterable[TemplateState], rules: Rules, *, per_call: int, delete_first: bool) -> list[Change]:
    """The calls that bring one list in step, each with at most `per_call` templates.

    A renamed template is added under its new name; with `delete_first` it is deleted right before, with as many as
    then are added in one call.
    """
    by_step: dict[Step, list[TemplateState]] = {}
    for state in states:
        by_step.setdefault(step_of(state, rules), []).append(state)
    changes = [Change(add=_as_told(part)) for part in _parts(by_step.get(Step.ADD, []), per_call)]
    for part in _parts(by_step.get(Step.RENAME, []), per_call):
        if delete_first:
            changes.append(Change(delete=_ids(part)))
        changes.append(Change(add=_as_told(part)))
    return changes + [Change(delete=_ids(part)) for part in _parts(by_step.get(Step.DROP, []), per_call)]


def _parts(states: Sequence[TemplateState], per_call: int) -> list[Sequence[TemplateState]]:
    return [states[start : start + per_call] for start in range(0, len(states), per_call)]


def _ids(states: Sequence[TemplateState]) -> list[TemplateId]:
    return [state.template_id for state in states]


def _as_told(states: Sequence[TemplateState]) -> list[Listed]:
    return [Listed(state.template_id, state.name, state.app) for state in states]


# --- apps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppChange:
    """What one of Optimove's channels lacks, by id its name, and what it has that is not wanted any more."""

    add: Mapping[AppId, str]
    delete: Sequence[AppId]


def compare_apps(wanted: Mapping[AppId, str], told: Mapping[AppId, str], named: Collection[AppId]) -> AppChange:
    """The settings' apps against those that Optimove was told of. What a template still names stays."""
    return AppChange(
        add={app: name for app, name in wanted.items() if told.get(app) != name},
        delete=[app for app in told if app not in wanted and app not in named],
    )
