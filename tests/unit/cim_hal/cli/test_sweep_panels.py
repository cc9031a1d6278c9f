"""Factors of a study on an axis: units, order, labels that do not touch."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from cim_hal.cli.sweep_panels import Scale

UNITS = {"noise": "quadrature X", "adc.bits": "bits", "gain": "1", "delay": "round trips"}


def scale(name, *levels, unit="1"):
    machine = {"settings": [{"name": name, "unit": unit}]}
    return Scale.of({"machine": machine, "points": [{"factors": {name: n}} for n in levels]}, name)


def test_an_axis_has_the_unit_that_the_machine_tells_and_none_where_its_name_has_it():
    titles = [scale(name, 1, 2, unit=unit).title for name, unit in UNITS.items()]
    assert titles == ["noise (quadrature X)", "adc.bits", "gain", "delay (round trips)"]
    point = {"factors": {"runs": 1}}
    assert Scale.of({"machine": {}, "points": [point]}, "runs").title == "runs"


def test_no_rounding_stands_behind_all_bits_and_names_stay_in_their_order():
    bits = scale("adc.bits", 0, 8, 2)
    assert [bits.named(level) for level in bits.levels] == [
        "adc.bits = 2",
        "adc.bits = 8",
        "adc.bits = none",
    ]
    assert [bits.place(level) for level in bits.levels] == [2, 8, 10]
    assert scale("lowering", "max", "least-error").levels == ("max", "least-error")


@pytest.mark.parametrize(
    ("levels", "is_log", "labels"),
    [
        ((0, 1, 1.01, 5), False, ["0", "1", "5"]),
        ((1, 10, 1000), True, ["1", "10", "1000"]),
        ((4,), False, ["4"]),
    ],
)
def test_labels_are_those_of_levels_that_do_not_touch(levels, is_log, labels):
    axis = Figure().subplots()
    scale("noise", *levels).draw(axis, 3.0)
    assert (axis.get_xscale() == "log") == is_log
    assert [label.get_text() for label in axis.get_xticklabels()] == labels
