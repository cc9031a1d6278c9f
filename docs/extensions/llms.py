"""Write `llms.txt`: what the docs are about, and every page with a link, for programs that read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sphinx.util.nodes import clean_astext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the file beside the pages of a build that went well."""
    if exception is None and app.builder.format == "html":
        text = "\n".join(_lines(app.env, app.config.llms_summary))
        (app.outdir / "llms.txt").write_text(text + "\n", encoding="utf-8")


def _lines(env: BuildEnvironment, summary: str) -> Iterator[str]:
    yield from (f"# {env.config.project}", "", f"> {summary}")
    for tree in _trees(env):
        yield from ("", f"## {tree['caption']}", "")
        yield from (line for _, page in tree["entries"] for line in _rows(env, page))


def _trees(env: BuildEnvironment) -> list[Any]:
    from sphinx.addnodes import toctree

    return list(env.get_doctree(env.config.root_doc).findall(toctree))


def _rows(env: BuildEnvironment, page: str) -> Iterator[str]:
    yield f"- [{clean_astext(env.titles[page])}]({page}.html)"
    for below in env.toctree_includes.get(page, []):
        yield from _rows(env, below)


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen."""
    app.add_config_value("llms_summary", "", "env", str)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
