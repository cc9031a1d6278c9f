"""Formulas as MathML, made when the docs are built: pages need no script and no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from latex2mathml.converter import convert

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

# What the converter does not know, in what it knows.
SPELLINGS = (
    (r"\\arg\b", r"\\operatorname{arg}"),
    (r"\\[bB]ig+[lr]?(?=\\[lr]angle)", ""),
    (r"\{aligned\}", "{split}"),
    (r"(?<!\\)\\\n", r"\\ "),
)


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a sentence."""
    writer.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula in a line of its own, scrolled where the page is narrower."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.append(to_mathml(node.astext(), display="block"))
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def to_mathml(formula: str, display: str = "inline") -> str:
    r"""Return TeX as MathML; what is left of its commands is an error, never shown.

    Lines that end with ``\\`` are aligned, as Sphinx does it.
    """
    if r"\\" in formula and r"\begin" not in formula:
        formula = rf"\begin{{split}}{formula}\end{{split}}"
    for pattern, spelling in SPELLINGS:
        formula = re.sub(pattern, spelling, formula)
    found = convert(formula, display=display).replace(r"\_", "_")
    if "\\" in found:
        raise ValueError(f"this formula cannot be shown: {formula}")
    return re.sub(r"<mo([^>]*)>(&#x0007C;|&#x02016;)", r'<mo\1 lspace="0" rspace="0">\2', found)


def setup(app: Sphinx) -> dict[str, Any]:
    """Make it the renderer `mathml` of the HTML builder."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
