"""The report of a study and its picture, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chromium import Browser, find_browser

from cim_hal.cli.sweep_figure import figure_of

REGION = """
[study]
name = "A region of three factors"
[[models.family]]
kind = "sk"
n = 8
count = 6
[machine]
device = "emulator-mean-field"
[factors]
coupling_bits = [3, 8]
noise = [0.0, 0.3]
round_trips = [20, 200]
[repeat]
runs = 16
[safe]
at_least = 0.05
"""


def test_the_legend_counts_upwards_and_covers_no_point():
    at = [{"factors": {"bits": b, "noise": n}} for n in (0, 12, 3) for b in (2, 8)]
    points = [one | {"n_instances": 6, "low": 0.1, "high": 0.9} for one in at]
    summary = {
        "points": [one | {"success_probability": 0.5} for one in points],
        "design": "grid",
        "figure": "success probability",
        "safe": None,
        "retuned": {},
        "control": [],
        "machine_seeds": [],
    }
    figure = figure_of(summary)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    legend = axis.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"noise = {n}" for n in (0, 3, 12)]
    assert not legend.get_window_extent().overlaps(axis.get_window_extent())


def test_a_browser_shows_the_report_whole_on_a_phone_and_without_a_network(run, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(REGION)
    assert run("sweep", str(study), "--out", str(tmp_path / "out"))[0] == 0
    path = find_browser()
    if path is None:
        pytest.skip("there is no browser here (chromium), so nobody looks at the report")
    with Browser(path) as browser:
        browser.look(360, 800)
        browser.visit((tmp_path / "out/report.html").as_uri())
        browser.wait_for("document.readyState === 'complete' && !!document.querySelector('svg')")
        assert browser.value("document.documentElement.scrollWidth") <= 360
        assert browser.value("document.querySelector('svg').getBoundingClientRect().width") > 300
        assert browser.value("performance.getEntriesByType('resource').length") == 0
        said = browser.value("document.body.innerText")
        for words in ("Safe region", "hatched: at least 0.05", "ten lowest", "Rows by cim-hal"):
            assert words in said or words in browser.value(
                "document.querySelector('svg').outerHTML"
            )
        browser.look(1000, 800)
        browser.picture(tmp_path / "report.png", whole=True)
        if kept := os.environ.get("CIM_PICTURES"):  # to look at
            browser.picture(Path(kept) / "report.png", whole=True)
        assert not browser.errors
