"""Liquid that comes to an end: what one rendering may write, loop over and work through."""

import functools
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

from liquid import Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.filters.misc import date as liquid_date
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import ResourceLimitError
from liquid.expression import Expression
from liquid.filter import with_context
from liquid.template import BoundTemplate
from liquid.token import Token
from liquid.undefined import UNDEFINED
from liquid.utils import ReadOnlyChainMap

MAX_OUTPUT = 1 << 20  # characters that the Liquid of one part may write, and that one value may have
MAX_WORK = 4_000_000  # characters that one rendering of one part may handle; less than a second at the very worst
MAX_RANGE_END = 100_000  # both ends of a range such as (1..12), at most this far from 0
MAX_DIGITS = 16  # of what is read as an end of a range
MAX_INTEGER_BITS = 4096
MAX_DATE = 64  # characters: nothing longer is read as a date, or says how to write one
FILTER_WORK = 20  # what calling a filter costs, in characters

NOT_OFFERED = ("include", "render")  # they read other files


class TooMuchError(ResourceLimitError):
    """More text or more rounds than a message can need."""

    def __init__(self) -> None:
        super().__init__("it writes, or works through, too much text", token=None)


class Context(RenderContext):
    """One rendering of one part: knows how much work it may still do, and what time it is."""

    __slots__ = ("at", "left", "weight")

    def __init__(self, template: BoundTemplate, scope: Mapping[str, object], at: datetime) -> None:
        super().__init__(template, globals=scope)
        self.at = at
        self.left = MAX_WORK
        self.weight = 1
        times = {"now": at, "today": at.date()}
        self.scope = ReadOnlyChainMap(self.locals, self.globals, times, self.counters)

    def spend(self, characters: int) -> None:
        self.left -= characters
        if self.left < 0:
            raise TooMuchError

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        value = super().get(path, token=token, default=default)
        if isinstance(value, str | list):  # it is about to be compared, searched or written
            self.spend(_size_of(value))
        return value

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.spend(length * self.weight)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:  # noqa: ARG002  # Liquid names it
        return Output(self)


class Output(StringIO):
    """What the Liquid of a part, or a `capture` in it, writes: at most MAX_OUTPUT characters."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self._size = 0

    def write(self, text: str, /) -> int:
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise TooMuchError
        self.context.spend(len(text))
        return super().write(text)

    def take(self) -> str:
        """What was written since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


class _Weighed(Node):
    """A loop that says how much text a round of it stands for."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.weight = len(str(self))

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        assert isinstance(context, Context)
        outer, context.weight = context.weight, self.weight
        try:
            return super().render_to_output(context, buffer)  # type: ignore[safe-super]  # mixed into a node that has it
        finally:
            context.weight = outer


class _ForNode(_Weighed, ForNode):
    pass


class _TablerowNode(_Weighed, TablerowNode):
    pass


class _ForTag(ForTag):
    node_class = _ForNode


class _TablerowTag(TablerowTag):
    node_class = _TablerowNode


class RangeEnd(Expression):
    """An end of a range, not so far out that counting there takes long."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def __str__(self) -> str:
        return str(self.inner)

    def evaluate(self, context: RenderContext) -> int:
        assert isinstance(context, Context)
        value: Any = self.inner.evaluate(context)
        try:
            end = int(value[:MAX_DIGITS] if isinstance(value, str) else value)
        except (OverflowError, TypeError, ValueError):
            end = 0  # as Liquid has it
        if abs(end) > MAX_RANGE_END:
            raise TooMuchError
        context.spend(abs(end))
        return end

    def children(self) -> list[Expression]:
        return [self.inner]


def _size_of(value: object) -> int:
    """How much text a value stands for, in characters."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_size_of, value)) + len(value)
    if isinstance(value, range):
        return len(value) * len(str(MAX_RANGE_END))
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise TooMuchError
    return 1


def _growth(name: str, value: object, arguments: tuple[object, ...]) -> int:
    """What the filters whose result or work can be far larger than what they are given will come to, in characters."""
    if name in ("replace", "replace_first", "replace_last") and len(arguments) > 1:
        text, old, new = str(value), str(arguments[0]), str(arguments[1])
        return text.count(old) * len(new)
    if name == "join" and isinstance(value, list | tuple | range):
        return len(value) * (len(str(arguments[0])) if arguments else 1)
    if name == "uniq" and isinstance(value, list | tuple | range):
        return len(value) ** 2
    return 0


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, paid for in work and with a result of bounded size."""

    @with_context
    @functools.wraps(function)
    def filter_(value: object, *arguments: object, context: Context, **named: object) -> object:
        context.spend(FILTER_WORK + _size_of(value) + sum(map(_size_of, arguments)))
        context.spend(_growth(name, value, (*arguments, *named.values())))
        result = function(value, *arguments, **named)
        size = _size_of(result)
        if size > MAX_OUTPUT:
            raise TooMuchError
        context.spend(size)
        return result

    return filter_


@with_context
def _date(value: object, layout: object, *, context: Context) -> object:
    """Liquid's `date`, in UTC and by the time of the message; what is no date passes as it is."""
    context.spend(FILTER_WORK)
    moment = _moment_of(value, context.at)
    if len(str(moment)) > MAX_DATE or len(str(layout)) > MAX_DATE:
        return value
    try:
        with warnings.catch_warnings(action="ignore"):  # they would quote the value
            return liquid_date(moment, layout, environment=context.env)
    except (ArithmeticError, ValueError):
        return value


def _moment_of(value: object, now: datetime) -> object:
    text = str(value).strip() if isinstance(value, str | int) else ""
    try:
        if text in ("now", "today"):
            return now
        return datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
    except (ArithmeticError, OSError, ValueError):
        return value


@with_context
def _as_it_is(value: object, *, context: Context) -> object:
    context.spend(FILTER_WORK)
    return value


class BoundedEnvironment(Environment):
    """Standard Liquid without other files, every filter and loop within bounds."""

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in NOT_OFFERED:
            del self.tags[name]
        self.add_tag(_ForTag)
        self.add_tag(_TablerowTag)
        for name, function in list(self.filters.items()):
            wants_environment = getattr(function, "with_environment", False)
            bound = functools.partial(function, environment=self) if wants_environment else function
            self.add_filter(name, _bounded(name, bound))
        self.add_filter("date", _date)


def _made_from_html() -> BoundedEnvironment:
    """For a text made from the HTML: what only escapes has nothing to do there."""
    environment = BoundedEnvironment()
    for name in ("escape", "escape_once"):
        environment.add_filter(name, _as_it_is)
    return environment


HTML = BoundedEnvironment(autoescape=True)
TEXT = BoundedEnvironment()
TEXT_FROM_HTML = _made_from_html()
