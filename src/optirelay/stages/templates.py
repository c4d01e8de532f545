"""Template files as marketers' colleagues write them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Any

import yaml

from optirelay.errors import NeedsOperator
from optirelay.model import AppId, ChannelKind, TemplateContent, TemplateId

ENDING = ".liquid"
TEXT_ENDING = ".txt"
MAX_FILE_BYTES = 1 << 20
MAX_FRONT_MATTER_BYTES = 64 << 10
MAX_TEMPLATE_ID = 2**31 - 1
NEEDED = ("id", "name", "channel")
KNOWN = (*NEEDED, "subject", "from", "required", "app")
WITH_SUBJECT = (ChannelKind.EMAIL, ChannelKind.PUSH)
"""Kinds of channels that have nothing to show without a subject, which is a push's title."""
BUILT_IN = frozenset({"customer_id", "campaign_id", "promo_codes", "unsubscribe_url", "now", "today"})

MAX_DEPTH = 10  # of lists and mappings in the front matter
MAX_SHOWN = 40  # characters of a key, in a fault

_FENCE = "---"
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class BadTemplateFile(NeedsOperator):
    """Files that are no templates; `faults` has a sentence each: which file, where, what is wrong, the mend."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A template as its file says it; `key` is the file's name without `.liquid`."""

    key: str
    template_id: TemplateId
    name: str
    channels: tuple[str, ...]
    content: TemplateContent


def read_template_file(file_name: str, source: bytes, plain: bytes | None) -> TemplateFile:
    """The template in `NAME.liquid`, with the text of `NAME.txt` if there is one. Raises BadTemplateFile."""
    key = file_name.removesuffix(ENDING)
    faults: list[str] = []
    text = None if plain is None else _decoded(f"{key}{TEXT_ENDING}", plain, faults)
    if text is not None and not text.strip():
        faults.append(f"{key}{TEXT_ENDING}: it is empty; fill it, or remove it to have the text made from the HTML.")
    whole = _decoded(file_name, source, faults)
    cut = None if whole is None else _front_and_body(file_name, whole, faults)
    fields = None if cut is None else _Fields(file_name, cut[0], faults)
    if cut is None or fields is None or faults:
        raise BadTemplateFile(faults)
    content = TemplateContent(
        subject=fields.subject,
        html=cut[1],
        text=text,
        sender=fields.sender,
        required=fields.required,
        app=None if fields.app is None else AppId(fields.app),
    )
    return TemplateFile(key, TemplateId(fields.id), fields.name, fields.channels, content)


def read_directory(
    files: Mapping[str, bytes], channels: Mapping[str, ChannelKind], apps: Mapping[str, Collection[str]] | None = None
) -> list[TemplateFile]:
    """The templates of a directory, by key; `channels` are the tenant's, `apps` those of its push channels.

    Raises BadTemplateFile with every fault.
    """
    templates: list[TemplateFile] = []
    faults: list[str] = []
    for file_name in sorted(files):
        key = file_name.removesuffix(ENDING)
        if file_name.endswith(ENDING):
            try:
                templates.append(read_template_file(file_name, files[file_name], files.get(f"{key}{TEXT_ENDING}")))
            except BadTemplateFile as bad:
                faults += bad.faults
        elif file_name.endswith(TEXT_ENDING) and file_name.removesuffix(TEXT_ENDING) + ENDING not in files:
            template = file_name.removesuffix(TEXT_ENDING) + ENDING
            faults.append(f"{file_name}: there is no {template} that it is the text of; add that, or remove the file.")
    faults += _unknown_channels(templates, channels)
    faults += _unfit(templates, channels)
    faults += _unknown_apps(templates, channels, apps or {})
    faults += _repeated_ids(templates)
    if faults:
        raise BadTemplateFile(faults)
    return templates


def _unknown_channels(templates: Iterable[TemplateFile], channels: Collection[str]) -> list[str]:
    there_are = ", ".join(sorted(channels)) or "none"
    return [
        f'{template.key}{ENDING}: the tenant has no channel "{channel}"; '
        f"{_did_you_mean(channel, channels)}its channels: {there_are}."
        for template in templates
        for channel in template.channels
        if channel not in channels
    ]


def _unfit(templates: Iterable[TemplateFile], channels: Mapping[str, ChannelKind]) -> Iterator[str]:
    """What the kinds of a template's channels need, or have no use for."""
    for template in templates:
        known = {channel: channels[channel] for channel in template.channels if channel in channels}
        with_subject = next((channel for channel, kind in known.items() if kind in WITH_SUBJECT), None)
        if with_subject is not None and not template.content.subject:
            yield (
                f"{template.key}{ENDING}: subject is missing, which {with_subject} ({channels[with_subject]}) needs; "
                "add it to the front matter."
            )
        if template.content.text is not None and known and ChannelKind.EMAIL not in known.values():
            yield (
                f"{template.key}{TEXT_ENDING}: no channel of {template.key}{ENDING} carries e-mail, which alone has a "
                "text beside its body; remove the file."
            )


def _unknown_apps(
    templates: Iterable[TemplateFile], channels: Mapping[str, ChannelKind], apps: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Apps that are named where there are none, or that a channel's settings do not name."""
    for template in templates:
        app = template.content.app
        known = [channel for channel in template.channels if channel in channels]
        if app is None or not known:
            continue
        push = [channel for channel in known if channels[channel] is ChannelKind.PUSH]
        if not push:
            yield f"{template.key}{ENDING}: no channel of it is a push channel, which alone has apps; remove app."
        for channel in push:
            there_are = apps.get(channel, ())
            if app not in there_are:
                yield (
                    f'{template.key}{ENDING}: channel {channel} has no app "{app}"; {_did_you_mean(app, there_are)}'
                    f"its apps in the settings: {', '.join(there_are) or 'none'}."
                )


def _repeated_ids(templates: Iterable[TemplateFile]) -> list[str]:
    def place(pair: tuple[str, TemplateFile]) -> tuple[str, TemplateId]:
        return pair[0], pair[1].template_id

    pairs = sorted(((channel, template) for template in templates for channel in template.channels), key=place)
    faults = []
    for (channel, template_id), same in groupby(pairs, key=place):
        names = [f"{template.key}{ENDING}" for _, template in same]
        if len(names) > 1:
            faults.append(f"{', '.join(names)}: all have id {template_id} in {channel}; give each an id of its own.")
    return faults


def _decoded(file_name: str, source: bytes, faults: list[str]) -> str | None:
    if len(source) > MAX_FILE_BYTES:
        faults.append(f"{file_name}: {len(source):,} bytes are too many; make it at most {MAX_FILE_BYTES:,}.")
        return None
    try:
        text = source.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        faults.append(f"{file_name}, line {line}: it is not UTF-8; save it as UTF-8.")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        faults.append(f"{file_name}, line {line}: it holds a NUL character; remove it.")
        return None
    return text


def _front_and_body(file_name: str, text: str, faults: list[str]) -> tuple[str, str] | None:
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if line.rstrip() == _FENCE][:2]
    if not fences or fences[0] != 0:
        faults.append(f"{file_name}, line 1: there is no front matter; put id, name … between two lines ---.")
        return None
    if len(fences) == 1:
        faults.append(f"{file_name}: its front matter has no end; put a line --- behind it.")
        return None
    front, body = "\n".join(lines[1 : fences[1]]), "\n".join(lines[fences[1] + 1 :])
    if not body.strip():
        faults.append(f"{file_name}, line {fences[1] + 1}: nothing follows the front matter; write the message there.")
    return front, body


class _Fields:
    """What the front matter says; every fault in it is added to `faults`."""

    def __init__(self, file_name: str, front: str, faults: list[str]) -> None:
        self._file_name = file_name
        self._faults = faults
        self._lines: dict[str, int] = {}
        self._values = self._load(front)
        if self._values is None:
            return
        self._look_at_keys()
        self.id: int = self._read("id", _id, 0)
        self.name: str = self._read("name", _words, "")
        self.channels: tuple[str, ...] = self._read("channel", _channels, ())
        self.subject: str = self._read("subject", _line, "")
        self.sender: str | None = self._read("from", _words, None)
        self.required: tuple[str, ...] = self._read("required", _names, ())
        self.app: str | None = self._read("app", _words, None)

    def _load(self, front: str) -> dict[Any, Any] | None:
        """The keys and values; None after a fault that leaves nothing to look at."""
        if len(front.encode()) > MAX_FRONT_MATTER_BYTES:
            self._fault("front matter", f"is larger than {MAX_FRONT_MATTER_BYTES:,} bytes; move text into the body")
            return None
        try:
            wrong = _forbidden(front)
            if wrong:
                self._fault(None, *wrong)
                return None
            root = yaml.compose(front, Loader=yaml.SafeLoader)
            values = yaml.safe_load(front)
        except yaml.MarkedYAMLError as error:
            self._fault(
                None, f"it is no YAML ({error.problem}); put values with special characters in quotes", _line_of(error)
            )
            return None
        except (yaml.YAMLError, RecursionError, TypeError, ValueError):
            self._fault("front matter", "is no YAML that can be read; write lines such as `name: Welcome back`")
            return None
        if not isinstance(root, yaml.MappingNode) or not isinstance(values, dict):
            self._fault("front matter", "has no fields; write lines such as `name: Welcome back`")
            return None
        for node, _ in root.value:
            key = str(node.value)
            if key in self._lines:
                self._fault(key, "is there twice; remove one", _line_of(node))
            self._lines[key] = _line_of(node)
        return values

    def _look_at_keys(self) -> None:
        assert self._values is not None
        for key in map(str, self._values):
            if key not in KNOWN:
                self._fault(key, f"is not known; {_did_you_mean(key, KNOWN)}known: {', '.join(KNOWN)}")
        for key in NEEDED:
            if self._values.get(key) is None:
                self._fault(key, "is missing; add it to the front matter")

    def _read(self, key: str, read: Callable[[Any], Any], otherwise: Any) -> Any:
        assert self._values is not None
        value = self._values.get(key)
        if value is None:
            return otherwise
        try:
            return read(value)
        except ValueError as error:
            self._fault(key, str(error))
            return otherwise

    def _fault(self, key: str | None, what: str, line: int | None = None) -> None:
        line = line or self._lines.get(key or "")
        where = f"{self._file_name}, line {line}" if line else self._file_name
        shown = f"{key[:MAX_SHOWN]} ".encode("utf-8", "backslashreplace").decode() if key else ""
        self._faults.append(f"{where}: {shown}{what}.")


def _forbidden(front: str) -> tuple[str, int] | None:
    """What a front matter has no use for and a small file could do harm with, and its line."""
    depth = 0
    for token in yaml.scan(front, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            return "& and * are not supported; put the value in quotes", _line_of(token)
        if isinstance(token, _OPENING):
            depth += 1
        elif isinstance(token, _CLOSING):
            depth -= 1
        if depth > MAX_DEPTH:
            return "it is nested too deep; a field is text, a number or a list", _line_of(token)
    return None


def _line_of(marked: Any) -> int:
    """The line in the file: YAML counts from 0, and the fence stands before it."""
    mark = getattr(marked, "start_mark", None) or getattr(marked, "problem_mark", None)
    return mark.line + 2 if mark else 1


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TEMPLATE_ID:
        raise ValueError(f"must be a whole number from 1 to {MAX_TEMPLATE_ID}; write for instance 17")
    return value


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")  # noqa: TRY004
    value = value.strip()
    if any(character < " " or "\x7f" <= character <= "\x9f" or character in "\u2028\u2029" for character in value):
        raise ValueError("must be one line without control characters; write it on one line")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds half a character; write the character itself")
    return value


def _words(value: object) -> str:
    words = _line(value)
    if not words:
        raise ValueError("is empty; fill it in or remove the line")
    return words


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of names; write for instance [FIRST_NAME]")  # noqa: TRY004
    return tuple(dict.fromkeys(map(_words, value)))


def _channels(value: object) -> tuple[str, ...]:
    if not isinstance(value, str | list) or not value:
        raise ValueError("must be the name of a channel, or a list of names; write for instance newsletter")
    return _names(value if isinstance(value, list) else [value])


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), n=1)
    return f'did you mean "{near[0]}"? ' if near else ""


def unknown_names(used: Collection[str], known: Collection[str]) -> list[str]:
    """Names that a template looks up and that are neither known (tags, parameters) nor built in: misspelt, perhaps."""
    return sorted({*used} - {*known} - BUILT_IN)
