"""A job as papers draw it: amplitudes and energies over a run, and where all runs ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet, Trace

__all__ = ["SUFFIXES", "picture", "readable"]

SUFFIXES = (".png", ".svg", ".pdf")

UP, DOWN, LOWEST, INK, FAINT = "#1f4e8c", "#c2571a", "#15795a", "#26303c", "#9aa5b1"
DASHES = (0, (4, 3))
MAX_LINES = 600


def picture(samples: SampleSet, model: IsingModel, *, title: str) -> Figure:
    """Return the picture of a job; of its last readout only, where it has no trace."""
    # No pyplot: it would keep the figure, and choose a window.
    from matplotlib.figure import Figure

    if samples.trace is None:
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        values, energies = figure.subplots(1, 2)
        _amplitude_histogram(values, samples, orientation="vertical")
        _energy_histogram(energies, samples)
    else:
        figure = Figure(figsize=(10.0, 7.6), layout="constrained")
        _draw_run(figure, samples, samples.trace, model)
    figure.suptitle(title, fontsize=11, color=INK)
    return figure


def readable(value: float) -> str:
    """Return a number with a minus sign, and not a hyphen."""
    return f"{value:g}".replace("-", "−")


def _draw_run(figure: Figure, samples: SampleSet, trace: Trace, model: IsingModel) -> None:
    energies = trace.energies(model)
    shown = int(np.argmin(energies[-1]))
    grid = figure.add_gridspec(3, 2, width_ratios=(4.2, 1.3), height_ratios=(0.9, 3.4, 2.4))
    pump = figure.add_subplot(grid[0, 0])
    lines = figure.add_subplot(grid[1, 0], sharex=pump)
    below = figure.add_subplot(grid[2, 0], sharex=pump)
    _draw_pump(pump, trace)
    _write_facts(figure.add_subplot(grid[0, 1]), samples)
    _draw_amplitudes(lines, trace, shown)
    _draw_energies(below, trace, energies, shown, samples)
    beside = figure.add_subplot(grid[1, 1], sharey=lines)
    _amplitude_histogram(beside, samples, orientation="horizontal")
    beside.tick_params(labelleft=False)
    _energy_histogram(figure.add_subplot(grid[2, 1]), samples)
    for axes in (pump, lines):
        axes.tick_params(labelbottom=False)


def _draw_pump(axes: Axes, trace: Trace) -> None:
    _prepare(axes)
    axes.axhline(1.0, color=FAINT, linewidth=0.8, linestyle=DASHES)
    axes.plot(trace.round_trips, trace.pump, color=INK, linewidth=1.4)
    axes.set_ylim(0.0, 1.12 * max(float(trace.pump.max()), 1.0))
    axes.set_xlim(0, trace.round_trips[-1])
    _caption(axes, "pump rate, in thresholds")


def _write_facts(axes: Axes, samples: SampleSet) -> None:
    record = samples.record
    facts = (
        counted(samples.spins.shape[1], "spin"),
        counted(len(samples), "run"),
        counted(record.round_trips, "round trip"),
        f"seed {record.seed}",
        f"{record.device_s:.3g} s on the device",
    )
    axes.set_axis_off()
    for line, fact in enumerate(facts):
        axes.text(0, 1 - 0.22 * line, fact, va="top", fontsize=9, color=INK)


def _draw_amplitudes(axes: Axes, trace: Trace, run: int) -> None:
    from matplotlib.collections import LineCollection

    _prepare(axes)
    values = trace.amplitudes[:, run]
    spins = np.linspace(0, values.shape[1] - 1, min(values.shape[1], MAX_LINES)).astype(int)
    # In no order of sign, so that neither colour covers the other.
    spins = np.random.default_rng(0).permutation(spins)
    curves = [np.column_stack([trace.round_trips, values[:, i]]) for i in spins]
    colours = [DOWN if values[-1, i] < 0 else UP for i in spins]
    crowd = min(len(spins) / 300, 1.0)
    lines = LineCollection(
        curves,
        colors=colours,
        linewidths=1.3 - 0.8 * crowd,
        alpha=0.9 - 0.55 * crowd,
        rasterized=len(spins) > 100,
    )
    axes.add_collection(lines)
    top = 1.08 * float(np.abs(values).max()) or 1.0
    axes.set_ylim(-top, top)
    axes.set_ylabel("amplitude")
    part = (
        ""
        if len(spins) == values.shape[1]
        else f", {len(spins)} of {counted(values.shape[1], 'spin')}"
    )
    _caption(axes, f"run {run + 1} of {trace.n_runs} traced{part}; colour: final sign")


def _draw_energies(
    axes: Axes, trace: Trace, energies: NDArray[np.float64], shown: int, samples: SampleSet
) -> None:
    _prepare(axes)
    others = np.delete(energies, shown, axis=1)
    if others.size:
        axes.plot(trace.round_trips, others, color=FAINT, linewidth=0.7, alpha=0.6)
    axes.plot(trace.round_trips, energies[:, shown], color=LOWEST, linewidth=1.6, label="run above")
    label = f"lowest of all runs: {readable(samples.best_energy)}"
    axes.axhline(samples.best_energy, color=LOWEST, linewidth=1.0, linestyle=DASHES, label=label)
    # What comes before the first descent would flatten all that follows.
    low, high = samples.best_energy, float(energies.max())
    top = max(low + 0.2 * (high - low), np.quantile(energies, 0.97), energies[-1].max())
    margin = 0.06 * (top - low) or 1.0
    axes.set_ylim(low - margin, top + margin)
    axes.set_xlabel("round trips")
    axes.set_ylabel("energy")
    axes.legend(loc="upper right", frameon=True, framealpha=0.85, edgecolor="none", fontsize=9)


def _amplitude_histogram(axes: Axes, samples: SampleSet, *, orientation: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    _prepare(axes)
    _caption(axes, "amplitudes at readout, all runs")
    if samples.amplitudes is None:
        axes.text(0.5, 0.5, "not reported", transform=axes.transAxes, ha="center", color=FAINT)
        return
    values = samples.amplitudes.ravel()
    edge = float(np.abs(values).max()) or 1.0
    halves = [values[values < 0], values[values >= 0]]
    bins = np.linspace(-edge, edge, 61)
    axes.hist(halves, list(bins), color=[DOWN, UP], stacked=True, orientation=orientation)
    counts = axes.xaxis if orientation == "horizontal" else axes.yaxis
    counts.set_major_locator(MaxNLocator(3, integer=True))


def _energy_histogram(axes: Axes, samples: SampleSet) -> None:
    from matplotlib.ticker import MaxNLocator

    _prepare(axes)
    low, high = samples.best_energy, float(samples.energies[-1])
    margin = 0.06 * (high - low) or max(abs(low) * 1e-3, 0.5)
    n_bins = min(max(len(samples) // 3, 8), 40) if high > low else 1
    width = (high - low) / n_bins or margin
    bins = low + width * (np.arange(n_bins + 2) - 0.5)
    axes.hist(samples.energies, list(bins), color=FAINT)
    axes.axvline(low, color=LOWEST, linewidth=1.0, linestyle=DASHES)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel("final energy")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    count = int(np.count_nonzero(samples.energies == low))
    _caption(axes, f"{count} of {counted(len(samples), 'run')} at the lowest")


def _prepare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def _caption(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9, color=INK)
