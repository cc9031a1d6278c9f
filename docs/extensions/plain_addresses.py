"""Addresses of machines in the help of commands stay text: reStructuredText would link them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def unlink(_app: Sphinx, document: nodes.document) -> None:
    """Replace links that were made of a bare address, such as tcp://host:port, by its text."""
    for node in list(document.findall(nodes.reference)):
        address = node.get("refuri", "")
        if node.astext() == address and not address.startswith("https://"):
            node.parent.replace(node, node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen."""
    app.connect("doctree-read", unlink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
