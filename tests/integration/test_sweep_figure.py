"""The report of a study and its picture, in a real browser."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser, find_browser
from matplotlib.collections import PolyCollection

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


def summary_at(levels, **more):
    """Return a summary with a point at each combination of levels, machine 1 in its description."""
    names, every = list(levels), itertools.product(*levels.values())
    found = {"success_probability": 0.5, "low": 0.1, "high": 0.9, "n_instances": 6}
    return {
        "points": [{"factors": dict(zip(names, at, strict=True)), **found} for at in every],
        "design": "grid",
        "figure": "success probability",
        "machine": {"settings": [{"name": "noise", "unit": "quadrature X"}]},
        "safe": None,
        "retuned": {},
        "control": [],
        "cliffs": [],
        "machine_seeds": [],
        **more,
    }


def changed(summary, **values):
    """Return the summary with other figures at all points."""
    return summary | {"points": [point | values for point in summary["points"]]}


def of_trainings(summary, **figures):
    """Return the summary of trainings, with the ends of figures over the points, each in turn."""
    points = summary["points"]
    for name, ends in figures.items():
        keys = name, f"{name}_low", f"{name}_high"
        every = (dict(zip(keys, one, strict=True)) for one in itertools.cycle(ends))
        points = [point | more for point, more in zip(points, every, strict=False)]
    return summary | {"points": points, "figure": "test accuracy"}


NOISY = {"bits": [2, 4, 8], "noise": [0, 12, 3]}
MANY = {"bits": [2, 4, 8, 0], "noise": [0, 12, 3, 0.5, 1, 7, 8]}
ALONE = summary_at({"bits": [8]})
CASES = {
    "three levels": summary_at(NOISY),
    "seven levels": summary_at(MANY),
    "one point": ALONE,
    "all zero": changed(summary_at(NOISY), success_probability=0.0, low=0.0),
    "names": summary_at({"device": ["emulator", f"tcp://{'laboratory.' * 9}org:5555", "c$^$"]}),
    "long": summary_at(
        {f"imperfections.{'very_' * 9}long": [1e-9, 1e5], "noise": [k + 1 / 3 for k in range(4)]}
    ),
    "near": summary_at({"noise": [0, 1, 1.01, 1.02, 1.03, 1.04, 5], "bits": [2, 4]}),
    "a region": summary_at(
        {**NOISY, "round_trips": [1, 2]}, safe={"points": [], "at_least": 0.5, "confidence": 0.9}
    ),
    "one at a time": summary_at({"bits": [8], "noise": [0, 3]}, design="one-at-a-time"),
    "a list": summary_at(NOISY) | {"points": summary_at(NOISY)["points"][1::2]},
    "trainings": of_trainings(
        summary_at(NOISY),
        infeasibility=[(0.0, 0.0, np.inf), (0.5, 0.4, 0.7)],
        calls=[(6, 5, 7), (7, 6, 8)],
    ),
    "rounding differs": summary_at(NOISY)
    | {
        "points": [
            point | {"rounded": rounded, "rounded_within_10": 1.0}
            for point, rounded in zip(
                summary_at(NOISY)["points"], np.linspace(0, 1, 9), strict=True
            )
        ]
    },
}


def drawn(summary):
    figure = figure_of(summary)
    figure.draw_without_rendering()
    return figure


def legend_of(figure):
    return figure.subfigs[0].legends[0]


@pytest.mark.parametrize("name", CASES)
def test_each_axis_is_named_and_no_text_is_cut_or_covers_another(name):
    figure = drawn(CASES[name])
    whole = figure.get_window_extent().padded(2)
    for part in figure.subfigs:
        assert whole.count_contains(part.texts[0].get_window_extent().corners()) == 4
        axes = [axis for axis in part.axes if axis.get_label() != "<colorbar>"]
        assert axes[0].get_ylabel()
        assert axes[-1].get_xlabel()
        assert len(axes) == 1 or all(axis.get_title(loc="left") for axis in axes)
        for axis in axes:
            labels = [one for one in axis.get_xticklabels() if one.get_text()]
            places = [one.get_window_extent() for one in labels if not one.get_rotation()]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(places)), name
            for text in (axis.title, axis.xaxis.label, *labels):
                assert (
                    not text.get_text()
                    or whole.count_contains(text.get_window_extent().corners()) == 4
                )


def test_the_legend_counts_upwards_then_tells_the_control_and_rounding_and_covers_no_point():
    summary = changed(summary_at(NOISY), rounded=0.7, rounded_within_10=0.9)
    control = {"accuracy": 0.3, "low": 0.2, "high": 0.4, "control": {"method": "random"}}
    controls = [control | {"factors": point["factors"]} for point in summary["points"]]
    figure = drawn(summary | {"control": controls})
    said = [text.get_text() for text in legend_of(figure).get_texts()]
    assert said[:3] == [f"noise = {n} quadrature X" for n in (0, 3, 12)]
    assert said[3:] == [
        "to beat: random",
        "optimum of the rounded model",
        "among its 10 lowest states",
    ]
    place = legend_of(figure).get_window_extent()
    assert not any(place.overlaps(axis.get_window_extent()) for axis in figure.subfigs[0].axes)


@pytest.mark.parametrize(
    ("infeasibility", "drawn_too"),
    [
        ([(0.5, 0.4, 0.7), (0.6, 0.5, 0.8)], ["infeasibility"]),
        ([(0.0, 0.0, np.inf), (2.0, 0.5, 8.0)], ["infeasibility"]),
        ([(None, None, None)], []),  # of a method without constraints
    ],
)
def test_trainings_have_curves_of_what_differs_beside_accuracy(infeasibility, drawn_too):
    calls = [(6, 6, 6)]  # the same at all points
    figure = drawn(of_trainings(summary_at(NOISY), infeasibility=infeasibility, calls=calls))
    *curves, _ = figure.subfigs  # and the map
    assert [part.axes[0].get_ylabel() for part in curves] == ["test accuracy", *drawn_too]
    for part in curves[1:]:
        bottom, top = part.axes[0].get_ylim()
        assert bottom < 0 < max(high for *_, high in infeasibility if high < np.inf) < top < 10


@pytest.mark.parametrize(
    ("name", "panels"), [("three levels", 1), ("seven levels", 7), ("rounding differs", 3)]
)
def test_bands_never_lie_on_one_another(name, panels):
    axes = figure_of(CASES[name]).subfigs[0].axes
    assert len(axes) == panels
    bands = [sum(isinstance(one, PolyCollection) for one in axis.collections) for axis in axes]
    assert bands == [int(panels > 1)] * panels
    assert len({axis.get_ylim() for axis in axes}) == 1


def test_numbers_are_across_before_names_and_a_cliff_before_both():
    levels = {"model": ["sk-8", "cubic-8"], "bits": [2, 4], "noise": [0, 3]}
    cliff = {"factor": "noise", "figure": "r99", "at": {}}
    for cliffs, name in (([], "bits"), ([cliff], "noise (quadrature X)")):
        assert drawn(summary_at(levels, cliffs=cliffs)).subfigs[0].axes[0].get_xlabel() == name


@pytest.mark.parametrize(("bits", "is_line"), [([2, 3, 4], True), ([2, 4, 8], False)])
def test_rounding_is_drawn_between_bits_only_if_nothing_lies_between(bits, is_line):
    summary = summary_at({"coupling_bits": bits, "noise": [0, 3]})
    axis = figure_of(changed(summary, rounded=0.7, rounded_within_10=0.9)).subfigs[0].axes[0]
    (line,) = (line for line in axis.lines if line.get_label() == "optimum of the rounded model")
    assert line.get_xdata().tolist() == bits
    assert (line.get_linestyle() != "None") == is_line


def test_a_level_with_one_point_is_seen_behind_the_others():
    axes = figure_of(CASES["seven levels"]).subfigs[0].axes
    pale = [line for line in axes[0].lines if line.get_label() == "the other levels"]
    assert len(pale) == 6
    assert all(line.get_marker() == "." for line in pale)


def test_a_cliff_is_drawn_where_its_curve_crosses_the_threshold():
    said = {"factor": "noise", "figure": "success_probability", "threshold": 0.3}
    said |= {"at": {"bits": 2}, "level": 2.0, "low": 1.0, "high": np.inf}
    elsewhere = said | {"at": {"bits": 4}, "level": None}
    other = said | {"figure": "r99", "threshold": 7}
    summary = summary_at({"noise": [0, 1, 5], "bits": [2, 4]}, cliffs=[said, elsewhere, other])
    axis = figure_of(summary).subfigs[0].axes[0]
    drawn = [line.get_xydata() for line in axis.lines if set(line.get_ydata()) == {0.3}]
    assert [line[:, 0].tolist() for line in drawn] == [[0, 1], [1, axis.get_xlim()[1]], [2]]


def test_curves_that_are_tuned_anew_differ_in_more_than_colour():
    summary = summary_at({"noise": [0, 3]})
    tuned = [point | {"nuisance": {"gain": 1}} for point in summary["points"]]
    axis = figure_of(summary | {"retuned": {"points": tuned}}).subfigs[0].axes[0]
    fixed, again = (line for line in axis.lines if line.get_linestyle() != "None")
    for name in ("color", "marker", "linestyle", "markerfacecolor"):
        assert getattr(fixed, f"get_{name}")() != getattr(again, f"get_{name}")()


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
        width = browser.value("document.querySelector('svg').getBoundingClientRect().width")
        inches = browser.value("document.querySelector('svg').viewBox.baseVal.width") / 72
        assert width > 300
        assert 10 / 72 * width / inches > 8.5  # pixels of its letters
        assert browser.value("performance.getEntriesByType('resource').length") == 0
        said = browser.value("document.body.innerText")
        for words in ("Safe region", "hatched: at least 0.05", "ten lowest", "Rows by cim-hal"):
            assert words in said or words in browser.value(
                "document.querySelector('svg').outerHTML"
            )
        if kept := os.environ.get("CIM_PICTURES"):
            browser.picture(Path(kept) / "report-phone.png", whole=True)
        browser.look(1000, 800)
        browser.picture(tmp_path / "report.png", whole=True)
        if kept := os.environ.get("CIM_PICTURES"):  # to look at
            browser.picture(Path(kept) / "report.png", whole=True)
        assert not browser.errors
