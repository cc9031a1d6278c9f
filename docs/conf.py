"""Sphinx configuration."""

import logging as _logging
import sys as _sys
from importlib.metadata import version as _version
from pathlib import Path as _Path

_logging.getLogger("cim_hal").setLevel(_logging.ERROR)  # tutorials print what they have to say
_sys.path.insert(0, str(_Path(__file__).parent / "extensions"))

project = "cim-hal"
author = "the cim-hal authors"
copyright = "2026, the cim-hal authors"
release = _version("cim-hal")
llms_summary = (
    "A hardware abstraction layer for coherent Ising machines, real and emulated: device protocol, "
    "client, server, driver SDK, emulators, and training of quantized networks."
)
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "formulas",
    "public_names",
    "llms",
    "plain_addresses",
    "sphinx_gallery.gen_gallery",
]
default_role = "py:obj"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "tutorials", "reference/wire/*.md"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "cim-hal"
html_static_path = ["_static"]
html_show_search_summary = False  # which a page that is opened from a folder may not fetch
html_css_files = ["pages.css"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {
    "exclude-members": "model_config, model_post_init, "
    "set_fit_request, set_score_request, set_predict_request, set_predict_proba_request, "
    "set_decision_function_request"
}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
smartquotes = False  # options of commands start with two hyphens
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r".*"),  # types as docstrings say them, and those of other packages
    ("py:obj", r"[a-z_]\w*|[A-Z]"),  # parameters and attributes stand in the same quotes as names
    ("py:obj", r"(qnn-train|serve) .*"),  # commands, in the help of others
    ("py:exc", r"CheckpointError|NotApplicable|ValidationError"),  # no page: other tables have them
]
suppress_warnings = ["ref.python"]  # an attribute of the same name in two classes

# Tutorials are scripts: run as the pages are built, once until they change, and shown with what
# they print and draw. One that fails ends the build.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "learn",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"bench_cim\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,
    "reset_modules": (),
    "backreferences_dir": None,
}
