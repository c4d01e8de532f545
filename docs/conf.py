"""How the documentation is built: the Markdown files as they are, and the references from the docstrings."""

from typing import Any

from docutils.nodes import Element, TextElement
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from optirelay import __version__, optimove

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
# Nothing is asked of the network, so only our own names lead somewhere.
nitpick_ignore_regex = [("py:.*", r"(?!optirelay\.).*")]

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


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("missing-reference", public_name)
