"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "cim-hal"
author = "the cim-hal authors"
copyright = "2026, the cim-hal authors"
release = _version("cim-hal")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/wire/*.md"]
html_theme = "furo"
html_title = "cim-hal"
html_static_path = ["_static"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
smartquotes = False  # options of commands start with two hyphens
suppress_warnings = ["ref.python"]  # an attribute of the same name in two classes
