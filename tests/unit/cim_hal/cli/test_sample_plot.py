"""Pictures show what was measured, whatever was."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cim_machines import Adjustable, Exhaustive

from cim_hal import IsingModel, TraceRequest, open_device
from cim_hal.cli.sample_plot import SUFFIXES, picture, readable

MODEL = IsingModel.from_couplings(np.ones((12, 12)) - np.eye(12))


@pytest.fixture(scope="module")
def samples():
    with open_device(Adjustable()) as device:
        return device.sample(MODEL, n_runs=40, seed=1, trace=TraceRequest(every=3, runs=6))


def test_the_lines_are_the_amplitudes_of_the_best_traced_run(samples):
    trace = samples.trace
    shown = int(np.argmin(trace.energies(MODEL)[-1]))
    figure = picture(samples, MODEL, title="walks")
    pump, lines, below = figure.axes[:3]
    np.testing.assert_array_equal(pump.lines[-1].get_ydata(), trace.pump)
    drawn = [np.array(segment) for segment in lines.collections[0].get_segments()]
    assert len(drawn) == 12
    found = np.sort([curve[-1, 1] for curve in drawn])
    np.testing.assert_allclose(found, np.sort(trace.amplitudes[-1, shown]), rtol=1e-6)
    for curve in drawn:
        np.testing.assert_array_equal(curve[:, 0], trace.round_trips)
    assert len(below.lines) == trace.n_runs + 1


def test_all_runs_are_counted_in_the_histograms(samples):
    figure = picture(samples, MODEL, title="walks")
    counts = sorted(
        sum(patch.get_height() for patch in axes.patches)
        for axes in figure.axes
        if axes.patches and axes.get_xlabel() == "final energy"
    )
    assert counts == [40]
    (spins,) = (axes for axes in figure.axes if "readout" in axes.get_title(loc="left"))
    assert sum(patch.get_width() for patch in spins.patches) == samples.amplitudes.size


def test_thousands_of_spins_are_thinned_out_and_said_so():
    n = 2000
    model = IsingModel.from_couplings(np.zeros((n, n)))
    with open_device(Adjustable()) as device:
        many = device.sample(model, n_runs=2, seed=1, trace=TraceRequest(every=10))
    figure = picture(many, model, title="many")
    assert "600 of 2000 spins" in " ".join(axes.get_title(loc="left") for axes in figure.axes)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_can_be_written(samples, suffix):
    target = io.BytesIO()
    picture(samples, MODEL, title="walks").savefig(target, format=suffix[1:])
    assert target.getvalue()[:5] in {b"\x89PNG\r", b"<?xml", b"%PDF-"}


def test_without_trace_or_amplitudes_the_energies_remain():
    model = IsingModel.from_couplings([[0, 1.5], [1.5, 0]])
    with open_device(Exhaustive()) as device:
        bare = device.sample(model, n_runs=3, seed=0)
    figure = picture(bare, model, title="bare")
    figure.savefig(io.BytesIO(), format="png")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "amplitudes at readout, all runs",
        "3 of 3 runs at the lowest",
    ]


def test_no_figure_is_kept_by_pyplot(samples):
    import sys

    picture(samples, MODEL, title="walks")
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_minus_signs_are_minus_signs():
    assert readable(-6612.0) == "−6612"
