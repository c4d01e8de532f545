"""The text part of a mail whose template has only HTML."""

import re

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

from optirelay.model import TemplateContent
from optirelay.stages.content.bounds import TEXT, TEXT_FROM_HTML
from optirelay.stages.content.templating import LIQUID, BadTemplate, CannotRender, Part, parse

MAX_CONVERTED = 1 << 18  # characters of rendered HTML that are made into a text; about a second at the very worst
_CONFIG = ParserConfig(css=CSS_PROFILES["strict"])

_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style|title)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"""<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^<>"']|"[^"]*"|'[^']*')*+)>""")
_VALUE = r"""\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
_HREF = re.compile(rf"(?:^|\s)href{_VALUE}", re.IGNORECASE)
_ALT = re.compile(rf"(?:^|\s)alt{_VALUE}", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_LINES = frozenset({"table", "thead", "tbody", "tfoot", "tr"})
_CELLS = frozenset({"td", "th"})

# The mark that stands for a piece of Liquid while HTML becomes text: private characters around its number.
_TAG_NAME = re.compile(r"\{%-?\s*(\w*|#)")
_MARK = re.compile("\ue000([0-9]+)\ue001")
_LONE_MARKS = re.compile("^[ \t]*((?:\ue000[0-9]+\ue001[ \t]*)+)\n", re.MULTILINE)

_OPENING = frozenset({"if", "unless", "for", "case", "comment"})
_MIDDLE = frozenset({"else", "elsif", "when"})
_CLOSING = frozenset(f"end{name}" for name in _OPENING)
_WRITING = frozenset({"", "cycle", "echo", "increment", "decrement"})  # "" is {{ … }}
_STATEMENTS = _OPENING | _MIDDLE | _CLOSING | {"assign", "break", "continue"}


def text_part(content: TemplateContent) -> Part | None:
    """The text's own template, or one made from the HTML; None where each text is made from the rendered HTML."""
    if content.text is not None:
        return parse("text", content.text, TEXT)
    source = text_template_of(content.html)
    try:
        return None if source is None else parse("text", source, TEXT_FROM_HTML)
    except BadTemplate:  # the HTML can be parsed, what was made of it cannot
        return None


def text_of(html: str) -> str:
    """HTML as a person would read it: no markup, links as `label (address)`, images by their alternative text."""
    html = html.encode("utf-8", "replace").decode("utf-8")  # libxml2 reads nothing where half a character stands
    return _tidy(get_text(_simplified(html), _CONFIG))


def whole_text_of(html: str) -> str:
    """The same of a whole rendered mail. Raises CannotRender where that would take too long."""
    if len(html) > MAX_CONVERTED:
        raise CannotRender(f"html: more than {MAX_CONVERTED:,} characters, too long to make a text from; add one")
    return text_of(html)


def text_template_of(html: str) -> str | None:
    """A text template that says what this HTML template says, to be rendered without escaping.

    None where that cannot be made for sure; the text is then made from each rendered HTML (`text_of`).
    """
    pieces: list[str] = LIQUID.findall(html)
    if any(map(_is_bound_to_html, pieces)) or re.search("[\ue000\ue001]", html):
        return None
    numbers = iter(range(len(pieces)))
    marked = text_of(LIQUID.sub(lambda _: f"\ue000{next(numbers)}\ue001", html))
    found = [int(number) for number in _MARK.findall(marked)]
    if not _says_the_same(pieces, found) or re.search("\\{\\{|\\{%|\\{\ue000", marked):
        return None
    marked = _LONE_MARKS.sub(lambda lone: _without_line(lone, pieces), marked)
    return _MARK.sub(lambda mark: pieces[int(mark[1])], marked)


def _is_bound_to_html(piece: str) -> bool:
    """Whether it makes HTML, or says so: then only the rendered HTML can be made into text."""
    known = _name_of(piece) in _STATEMENTS | _WRITING
    return not known or bool(re.search(r"[<>&]|\b(safe|newline_to_br|escapejs)\b", piece))


def _name_of(piece: str) -> str:
    tag = _TAG_NAME.match(piece)
    return tag[1] if tag else ""


def _without_line(lone: re.Match[str], pieces: list[str]) -> str:
    """Tags that write nothing leave no empty line behind."""
    names = {_name_of(pieces[int(number)]) for number in _MARK.findall(lone[1])}
    return lone[1].replace(" ", "") if names <= _STATEMENTS else lone[0]


def _says_the_same(pieces: list[str], found: list[int]) -> bool:
    """Nothing twice; the statements in their order; what is written stands between the same two statements.

    Only what stood in an attribute or in a part that nobody sees may be missing, and blocks only as a whole.
    """
    if len(found) != len(set(found)):
        return False
    statements = [number for number, piece in enumerate(pieces) if _name_of(piece) in _STATEMENTS]
    kept = [number for number in found if number in set(statements)]
    if kept != sorted(kept) or not _only_whole_blocks(pieces, statements, lost=set(statements) - set(kept)):
        return False
    passed = 0
    for number in found:
        if passed < len(kept) and number == kept[passed]:
            passed += 1
        elif passed != sum(statement < number for statement in kept):
            return False
    return True


def _only_whole_blocks(pieces: list[str], statements: list[int], *, lost: set[int]) -> bool:
    depth = 0
    for number in statements:
        name = _name_of(pieces[number])
        if number not in lost:
            if depth:
                return False
        elif name in _OPENING:
            depth += 1
        elif not depth or name == "assign":
            return False
        elif name in _CLOSING:
            depth -= 1
    return depth == 0


def _simplified(html: str) -> str:
    """Tables as lines (mails use them for layout), links and images as text, no attributes."""
    links: list[str] = []

    def simpler(tag: re.Match[str]) -> str:
        closing, name, attributes = tag[1], tag[2].lower(), tag[3]
        hidden = ' style="display:none"' if _HIDDEN.search(attributes) else ""
        if name == "img":
            return "" if hidden else f" {_attribute(_ALT, attributes)} "
        if name == "a" and closing:
            return "</a>" + (links.pop() if links else "")
        if name == "a":
            links.append(_shown(_attribute(_HREF, attributes)))
        if name in _CELLS:
            return "</span> " if closing else f" <span{hidden}>"
        return f"<{closing}{'div' if name in _LINES else name}{hidden}>"

    return _TAG.sub(simpler, _UNSEEN.sub("", html))


def _attribute(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    return (found[1] or found[2] or found[3] or "").strip() if found else ""


def _shown(address: str) -> str:
    if re.match("https?://|www\\.|\ue000", address, re.IGNORECASE):
        return f" ({address})"
    written = re.match("(?:mailto|tel):([^?]+)", address, re.IGNORECASE)
    return f" ({written[1]})" if written else ""


def _tidy(text: str) -> str:
    text = re.sub(r"(?<!\S)(\S+) \(\1\)", r"\1", text)  # a link whose label is its address
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"
