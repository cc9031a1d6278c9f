"""A page for each name that `reference/api.md` lists, and links to it from wherever it is named.

The pages are in no table of contents: the sidebar of every page would have each of them, which made
the docs three times as slow to build.
"""

from __future__ import annotations

from importlib import import_module
from inspect import isclass
from typing import TYPE_CHECKING, Any

from sphinx.ext.autosummary.generate import find_autosummary_in_files

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PAGE = """:orphan:

{word}
{line}

:doc:`Python, by task <../api>`

.. currentmodule:: {module}

.. auto{kind}:: {word}
"""
# Public names by the module in which they are defined, and by their last word.
NAMES: dict[str, str] = {}


def write_pages(app: Sphinx) -> None:
    """Write the page of each listed name, where it is not there yet."""
    folder = app.srcdir / "reference/api"
    folder.mkdir(exist_ok=True)
    pages = {}
    for entry in find_autosummary_in_files([str(app.srcdir / "reference/api.md")]):
        pages[f"{entry.name}.rst"] = _page(entry.name)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(name: str) -> str:
    module, _, word = name.rpartition(".")
    named = getattr(import_module(module), word)
    NAMES.setdefault(word, name)
    NAMES[f"{getattr(named, '__module__', module)}.{word}"] = name
    if isclass(named):
        kind = "exception" if issubclass(named, BaseException) else "class"
    else:
        kind = "function" if callable(named) else "data"
    page = PAGE.format(word=word, line="=" * len(word), module=module, kind=kind)
    return page + "   :members:\n" * isclass(named)


def link(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a name of the language Python that was not found as it was written."""
    if node.get("refdomain") != "py":
        return None
    asked = node["reftarget"]
    owner, _, last = asked.rpartition(".")
    public = NAMES.get(asked) or NAMES.get(last)
    if public is None and owner in NAMES:  # a method
        public = f"{NAMES[owner]}.{last}"
    if public is None or public == asked:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen."""
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
