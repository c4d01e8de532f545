"""A text of a template: parsed once, with its constants apart, rendered often."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from liquid import Environment, RenderContext, escape
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, KeywordArgument, Path, StringLiteral
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import OutputNode
from liquid.exceptions import FilterError, LiquidError, LiquidTypeError, ResourceLimitError
from liquid.expression import Expression
from liquid.template import BoundTemplate
from liquid.token import Token

from optirelay.errors import GiveUp, NeedsOperator
from optirelay.stages.content.bounds import MAX_OUTPUT, MAX_WORK, BoundedEnvironment, Context, Output, RangeEnd
from optirelay.stages.content.frame import Frame
from optirelay.stages.content.mime import MAX_ENCODED_LINE, needs_no_encoding

LIQUID = re.compile(r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
"""A piece of Liquid in a source that can be parsed."""
_OPENING = re.compile(r"\{%-?\s*(raw|doc)\s*-?%\}|\{\{|\{%")
_SPECIAL = re.compile("[&<>\"']")
_BLANK = re.compile(r"\{[{%]-?\s{100}")

TOO_MUCH = f"it writes more than {MAX_OUTPUT:,} characters or works through more than {MAX_WORK:,}"
MOST_PLAIN = MAX_OUTPUT // MAX_ENCODED_LINE  # places for short values
NOT_TEXT = ("promo_codes", "now", "today")  # what is in scope and no string


class CannotRender(GiveUp):
    """A message that its template cannot be made into; the text shows no value of the recipient's."""


class BadTemplate(NeedsOperator):
    """A template that is no Liquid; `faults` has a sentence for each part that is wrong, the text has them all."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Value:
    """Most of the Liquid there is: `{{ NAME }}`, perhaps with a `default`; rendered without Liquid's machinery."""

    name: str
    default: str
    escaped: bool

    def render(self, scope: Mapping[str, object]) -> str:
        value = scope.get(self.name)
        if not value:
            return self.default
        return str(escape(str(value))) if self.escaped else str(value)


@dataclass(frozen=True, slots=True)
class Part:
    """One parsed text of a template: constants, and what is rendered between them (one less).

    A value that stands in several places is rendered once for all of them.
    """

    name: str
    constants: tuple[str, ...]
    dynamic: tuple[Value | Node, ...]  # each once
    places: tuple[int, ...]  # which of them stands between one constant and the next
    names: tuple[str, ...]  # the top-level names it looks up, without those it assigns itself
    template: BoundTemplate = field(repr=False)
    frame: Frame = field(repr=False)

    def render(self, scope: Mapping[str, object], at: datetime) -> list[str]:
        """What each of `dynamic` comes to. Raises CannotRender."""
        rendered: list[str] = []
        output: Output | None = None
        octets = 0
        for dynamic in self.dynamic:
            if isinstance(dynamic, Value):
                text = dynamic.render(scope)
            else:
                output = output or Output(Context(self.template, scope, at))
                text = self._rendered(dynamic, output)
            rendered.append(text)
            octets += len(text)
            if octets * len(self.places) > MAX_OUTPUT and self._characters(rendered) > MAX_OUTPUT:
                raise CannotRender(f"{self.name}: {TOO_MUCH}")
        return rendered

    def _characters(self, rendered: Sequence[str]) -> int:
        """How many characters that is, in all places where it stands."""
        return sum(len(rendered[place]) for place in self.places if place < len(rendered))

    def _rendered(self, node: Node, output: Output) -> str:
        try:
            node.render(output.context, output)
            return output.take()
        except Exception as error:  # noqa: BLE001  # whatever a template and a value make of each other
            raise CannotRender(_why(self.name, node, error)) from None

    def whole(self, rendered: Sequence[str]) -> str:
        """The constants with what was rendered between them."""
        return self.frame.filled([rendered[place] for place in self.places])


class PlainValues:
    """What stands between the constants of some parts, where that is nothing but plain values."""

    def __init__(self, values: Sequence[Value]) -> None:
        """`values`: what stands in each place, in the order of the places."""
        self._names = tuple(dict.fromkeys((value.name, value.default) for value in values))
        numbers = {name: number for number, name in enumerate(self._names)}
        self._places = tuple(numbers[value.name, value.default] for value in values)

    @classmethod
    def of(cls, *parts: Part) -> "PlainValues | None":
        """None where something else stands there, too, or very much."""
        dynamic = [part.dynamic[place] for part in parts for place in part.places]
        values = [value for value in dynamic if isinstance(value, Value)]
        return cls(values) if len(values) == len(dynamic) <= MOST_PLAIN else None

    def fit(self, scope: Mapping[str, object]) -> list[str] | None:
        """The text for each place; None where a value would have to be escaped or encoded."""
        texts = [str(scope.get(name) or default) for name, default in self._names]
        if not needs_no_encoding(texts) or _SPECIAL.search("".join(texts)):
            return None
        return [texts[place] for place in self._places]


def parse(name: str, source: str, environment: BoundedEnvironment) -> Part:
    """A part of a template, ready to be rendered. Raises BadTemplate."""
    refuse_unclosed(name, source)
    try:
        template = environment.from_string(source)
        _inspect(template)
        used = template.analyze()
    except LiquidError as error:
        cause = error.__cause__
        what = "it is nested too deep" if isinstance(cause, RecursionError | ResourceLimitError) else error.message
        line = _line_of(error.token)
        where = f"{name}, line {line}" if line else f"{name}, at its end"
        raise BadTemplate(f"{where}: {what}; correct it and push the template again.") from None
    constants, dynamic, places = [""], dict[Value | Node, int](), list[int]()
    for node in template.nodes:
        if isinstance(node, ContentNode):
            constants[-1] += node.text
        else:
            value = _value_of(node, not_plain={*used.locals, *NOT_TEXT}, escaped=environment.autoescape)
            places.append(dynamic.setdefault(value or node, len(dynamic)))
            constants.append("")
    return Part(
        name, tuple(constants), tuple(dynamic), tuple(places), tuple(sorted(used.globals)), template, Frame(constants)
    )


def refuse_unclosed(name: str, source: str) -> None:
    """What nobody means, and what would keep Liquid's own reader busy for long, is a BadTemplate."""
    if blank := _BLANK.search(source):
        raise _bad(name, source, blank.start(), "far too much white space stands behind the opening braces")
    start = 0
    while opening := _OPENING.search(source, start):
        start = opening.end()
        if opening[1]:
            closing = re.compile(rf"\{{%-?\s*end{opening[1]}\s*-?%\}}").search(source, start)
            start = closing.end() if closing else -1
        else:
            start = source.find("}}" if opening[0] == "{{" else "%}", start)
        if start < 0:
            raise _bad(name, source, opening.start(), f"{opening[0]} is never closed")


def _bad(name: str, source: str, place: int, what: object) -> BadTemplate:
    line = source.count("\n", 0, place) + 1
    return BadTemplate(f"{name}, line {line}: {what}; correct it and push the template again.")


def _value_of(node: Node, *, not_plain: Collection[str], escaped: bool) -> Value | None:
    """The node as a plain value, if it is one of the recipient's and nothing but its `default` is asked of it."""
    expression = node.expression if isinstance(node, OutputNode) else None
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        return None
    name, filters = expression.left.path[0], expression.filters or []
    if len(expression.left.path) > 1 or not isinstance(name, str) or name in not_plain:
        return None
    if not filters:
        return Value(name, "", escaped)
    arguments = filters[0].args
    if len(filters) > 1 or filters[0].name != "default" or len(arguments) != 1:
        return None
    default = arguments[0].value
    return Value(name, default.value, escaped) if isinstance(default, StringLiteral) else None


def _inspect(template: BoundTemplate) -> None:
    """Find filters that do not exist or get the wrong number of arguments; put bounds on ranges."""
    for expression in _expressions(template):
        if isinstance(expression, RangeLiteral):
            expression.start = RangeEnd(expression.start)
            expression.stop = RangeEnd(expression.stop)
        if isinstance(expression, FilteredExpression):
            for used in expression.filters or ():
                _inspect_filter(used, template.env)


def _inspect_filter(used: Filter, environment: Environment) -> None:
    used.validate_filter_arguments(environment)
    signature = inspect.signature(environment.filters[used.name])
    named = [argument.name for argument in used.args if isinstance(argument, KeywordArgument)]
    ours = [name for name in ("context", "environment") if name in signature.parameters]
    try:
        signature.bind(None, *[None] * (len(used.args) - len(named)), **dict.fromkeys(named + ours))
    except TypeError as error:
        raise LiquidTypeError(f"the filter '{used.name}': {error}", token=used.token) from None


def _expressions(template: BoundTemplate) -> Iterator[Expression]:
    context = RenderContext(template)
    nodes = list(template.nodes)
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children(context))
        expressions = list(node.expressions())
        while expressions:
            expression = expressions.pop()
            expressions.extend(expression.children())
            yield expression


def _line_of(token: Token | None) -> int | None:
    if token is None or token.start_index < 0:
        return None
    return token.source.count("\n", 0, token.start_index) + 1


def _why(name: str, node: Node, error: Exception) -> str:
    """Where and what, in words of ours: Liquid's own may quote a value."""
    line = _line_of(getattr(error, "token", None) or node.token)
    if isinstance(error, ResourceLimitError | MemoryError | RecursionError):
        what = TOO_MUCH
    elif isinstance(error, FilterError | LiquidTypeError):
        what = "something is asked of a value that it cannot do"
    else:
        what = f"a filter or tag cannot use the value that it gets ({type(error).__name__})"
    return f"{name}, line {line}: {what}"
