"""Pages are read without a network: formulas are in them, and nothing is fetched from elsewhere."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
from chromium import Browser, find_browser
from source_tree import ROOT

LOOK = runpy.run_path(str(ROOT / "docs/look.py"))
PAGE = r"""# Formulas

In a sentence $E = -\tfrac12 \sigma^T J \sigma - |h|$, and alone:

$$
w_t &\in \arg\min_w w^T G w \\
\dot x &= \big\langle x, \mathcal A x\big\rangle
$$
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A small site with the theme, the styles and the formulas of the docs."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.md").write_text(PAGE)
    options = ["-q", "-W", "-c", ROOT / "docs", "-D", "extensions=myst_parser,formulas"]
    subprocess.run([sys.executable, "-m", "sphinx", *options, folder, folder / "html"], check=True)
    return folder / "html"


@pytest.mark.slow  # Sphinx is no part of what the fast tests need
def test_pages_with_formulas_load_nothing_from_elsewhere(site):
    assert list(LOOK["loaded_from_elsewhere"](site)) == []
    text = (site / "index.html").read_text()
    assert text.count("<math") == 2
    assert "\\" not in text.split("<math", 1)[1].rsplit("</math>", 1)[0]


@pytest.mark.parametrize(
    "line",
    [
        '<script defer src="https://cdn.example/mathjax.js">',
        '<img alt="x" src="//elsewhere/x.png">',
        '<link rel="stylesheet" href="http://fonts.example/css">',
    ],
)
def test_what_comes_from_elsewhere_is_found(tmp_path, line):
    (tmp_path / "page.html").write_text(f'<a href="https://example.org">text</a>{line}')
    assert len(list(LOOK["loaded_from_elsewhere"](tmp_path))) == 1


@pytest.mark.parametrize(
    ("url", "n_faults"),
    [
        ("https://arxiv.org/abs/2506.18240", 0),
        ("https://doi.org/10.1103/PhysRevA.88.063853", 0),
        ("https://github.com/Shopify/toxiproxy#toxics", 0),
        ("http://arxiv.org/abs/2506.18240", 1),
        ("tcp://127.0.0.1:5555", 1),
        ("https://HOST:PORT/", 1),
        ("https://arxiv.org/abs/2506.18240.", 1),
        ("https://docs.example.org/page", 1),
        ("https://github.com/TODO", 1),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, url, n_faults):
    (tmp_path / "page.html").write_text(f'<a href="page.html">here</a> <a class="x" href="{url}">x')
    assert len(list(LOOK["doubtful_links"](tmp_path))) == n_faults


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<div style="width: 600px">wide</div>', "wider than 390 px"),
        ('<img alt="x" src="http://127.0.0.1:9/x.png">', "asks for http://127.0.0.1:9/x.png"),
        ("<script>throw new Error('no')</script>", "Error: no"),
    ],
)
def test_what_is_wrong_with_a_page_is_seen(tmp_path, body, fault):
    path = find_browser()
    if path is None:
        pytest.skip("there is no browser here (chromium), so nobody looks at the page")
    head = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    (tmp_path / "page.html").write_text(f"<!doctype html><head>{head}</head><body>{body}")
    with Browser(path) as browser:
        found = list(LOOK["seen_by"](browser, tmp_path / "page.html", LOOK["PHONE"]))
    assert any(fault in each for each in found)


@pytest.mark.slow
def test_a_browser_without_network_shows_formulas(site):
    path = find_browser()
    if path is None:
        pytest.skip("there is no browser here (chromium), so nobody looks at the page")
    with Browser(path) as browser:
        for size in (LOOK["WIDE"], LOOK["PHONE"]):
            assert list(LOOK["seen_by"](browser, site / "index.html", size)) == []
            heights = browser.value(
                "[...document.querySelectorAll('mfrac, msub, mtable')]"
                ".map(e => e.getBoundingClientRect().height)"
            )
            assert len(heights) >= 3
            assert min(heights) > 5
        rows = "[...document.querySelectorAll('mtr')].map(e => e.getBoundingClientRect().top)"
        first, second = browser.value(rows)
        assert second > first
