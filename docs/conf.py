"""How the documentation is built: the Markdown files as they are, and the references from the docstrings."""

import pkgutil
from dataclasses import asdict
from typing import Any

from docutils.nodes import Element, TextElement
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

from optirelay import __version__, optimove
from optirelay.simulator.quirks import CHOICES, Quirks

project = "optirelay"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4  # GitHub's, so that the same links lead there and here
highlight_language = "text"

html_theme = "furo"
html_title = f"optirelay {release}"
html_show_copyright = False
html_show_sourcelink = False

default_role = "literal"  # `so` in docstrings
nitpicky = True
# Nothing is asked of the network, so only our own names lead somewhere; type variables do not.
nitpick_ignore_regex = [("py:.*", r"(?!optirelay\.).*"), ("py:class", r".*\.[TP](_co)?")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_display_short_literal_types = True


def public_name(app: Sphinx, env: BuildEnvironment, node: Element, content: TextElement) -> Any:
    """Where the client's modules name each other, readers know the one package that has it all."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if name not in optimove.__all__:
        return None
    domain, kind, target = env.domains.python_domain, node["reftype"], f"optirelay.optimove.{name}"
    return domain.resolve_xref(env, node["refdoc"], app.builder, kind, target, node, content)


def constants() -> dict[str, list[str]]:
    """The comment behind each constant of the client, from the module that makes it."""
    modules = [info.name for info in pkgutil.iter_modules(optimove.__path__, "optirelay.optimove.")]
    docs = [ModuleAnalyzer.for_module(module).find_attr_docs() for module in modules]
    return {
        f"optirelay.optimove.{name}": lines for found in docs for (inside, name), lines in found.items() if not inside
    }


COMMENTS = constants()
QUIRKS = asdict(Quirks())


def comment(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """A constant that another module makes has the comment behind it, and not what its type says."""
    if what == "data":
        lines[:] = COMMENTS.get(name, [])


def values(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """A quirk tells what it is by itself, and what else it may be."""
    quirk = name.removeprefix("optirelay.simulator.quirks.Quirks.")
    if quirk in QUIRKS:
        others = [f"``{choice}``" for choice in CHOICES.get(quirk, ()) if choice != QUIRKS[quirk]]
        lines += ["", f"Default: ``{QUIRKS[quirk]}``" + (f"; else {', '.join(others)}." if others else ".")]


def signature(
    app: Sphinx, what: str, name: str, value: object, options: object, said: str | None, gives: str | None
) -> Any:
    """A default that is made anew for each: written so that the rest of the signature can be read."""
    return (said and said.replace("<factory>", "..."), gives)


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("missing-reference", public_name)
    app.connect("autodoc-process-docstring", comment)
    app.connect("autodoc-process-docstring", values)
    app.connect("autodoc-process-signature", signature)
