"""How much each imperfection costs: measured curves, a table in Markdown, and their picture.

Run as ``python benchmarks/plot_imperfections.py measured.json``: what the file does not hold yet
is measured and added to it (20 minutes on two cores), then the table is printed and the picture
written to ``docs/_static/imperfections.png``.

A point is ``emulator`` with one imperfection alone, 1000 round trips, on ten spin glasses of
100 spins and on the graph G22, 64 runs each, for eight seeds that are both the seed of the job
and that of the machine's static errors. Intervals are Student's, of the means of the seeds, so that
they hold the difference between machines.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from cim_hal import Capabilities, IsingModel, Program, PumpSchedule, StopToken, lower, read_model
from emulator import Converter, EmulatedCim, Imperfections, MeasurementFeedback

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CIM_SHARED_DIR", ROOT.parent / "shared"))
PICTURE = ROOT / "docs/_static/imperfections.png"
SEEDS, RUNS, ROUND_TRIPS = range(1, 9), 64, 1000
BEST_CUT = 13359  # of G22
INK, RUST, FAINT, BAND = "#1f3a5f", "#c2571a", "#9aa5b1", "#e9edf2"


@dataclass(frozen=True)
class Imperfect:
    """One imperfection: the values it takes, and the range of good laboratories (assumed)."""

    name: str
    label: str
    values: tuple[float, ...]
    typical: tuple[float, float]
    is_log: bool = False

    def machine(self, value: float, seed: int) -> MeasurementFeedback:
        """Return the machine with this imperfection alone."""
        ideal = MeasurementFeedback(imperfections=Imperfections(seed=seed))
        match self.name:
            case "adc_bits":
                return replace(ideal, adc=Converter(full_scale=0.12, bits=int(value)))
            case "electronic_noise":
                return replace(ideal, electronic_noise=value)
            case _:
                wrong: dict[str, Any] = {self.name: value}
                return replace(ideal, imperfections=Imperfections(seed=seed, **wrong))


CURVES = (
    Imperfect(
        "injection_phase_rad", "phase error (rad)", (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4), (0, 0.1)
    ),
    Imperfect("electronic_noise", "electronic noise", (1, 3, 10, 20, 40, 80), (1, 5), is_log=True),
    Imperfect("adc_bits", "ADC bits", (8, 7, 6, 5, 4, 3, 2), (6.5, 8)),
    Imperfect(
        "coupling_error", "coupling error", (0.01, 0.03, 0.1, 0.2, 0.4), (0.01, 0.03), is_log=True
    ),
    Imperfect("leakage", "leakage", (0.01, 0.03, 0.1, 0.2, 0.4), (0.01, 0.03), is_log=True),
    Imperfect(
        "dead_fraction", "dead pulses", (0.001, 0.003, 0.01, 0.03, 0.1), (0.001, 0.002), is_log=True
    ),
)
# name, typical value, severe value
ROWS: tuple[tuple[str, float, float], ...] = (
    ("coupling_error", 0.03, 0.2),
    ("injection_gain_error", 0.02, 0.3),
    ("injection_noise", 0.01, 0.3),
    ("injection_phase_rad", 0.05, 1.2),
    ("phase_drift_rad", 0.003, 0.03),
    ("timing_jitter", 0.05, 1.0),
    ("pump_error", 0.01, 0.1),
    ("pump_noise", 0.005, 0.1),
    ("pump_depletion", 0.01, 0.2),
    ("threshold_drift", 0.01, 0.2),
    ("detector_gain_error", 0.01, 0.3),
    ("detector_offset", 0.1, 5.0),
    ("electronic_noise", 3.0, 40.0),
    ("leakage", 0.01, 0.2),
    ("dead_fraction", 0.001, 0.03),
    ("adc_bits", 8, 4),
    ("accumulator_bits", 12, 6),
)


@dataclass(frozen=True)
class Quantity:
    """What is measured, and a row of the picture."""

    name: str
    label: str
    scale: float
    limits: tuple[float, float | None]
    colour: str


ROWS_OF_PICTURE = (
    Quantity("success", "±1 glasses, 100 spins\nP(ground state)", 1.0, (0.0, None), INK),
    Quantity("cut", "G22, 2000 spins\nmean cut, % of best", 100 / BEST_CUT, (93.5, 100.0), RUST),
)


@cache
def glasses() -> list[tuple[IsingModel, float]]:
    with np.load(SHARED / "instances/sk/SK1_N100.npz") as archive:
        weights, listed = archive["W"].astype(float), archive["listed_ground_energies"]
    return [(IsingModel.from_maxcut(W), E) for W, E in zip(weights, listed, strict=True)]


@cache
def graph() -> IsingModel:
    return read_model(SHARED / "instances/gset/G22.txt").model


def energies(dynamics: MeasurementFeedback, model: IsingModel, seed: int) -> np.ndarray:
    machine = EmulatedCim(
        dynamics,
        capabilities=Capabilities(name="bench", max_spins=model.n_spins, coupling_bits=16),
    )
    schedule = PumpSchedule.linear(0.0, 1.1, round_trips=ROUND_TRIPS)
    program = Program(lower(model, machine.describe()), schedule, RUNS, seed)
    return model.energy(program.lowering.lift(machine.run(program, StopToken()).spins))


def measure(machine: Callable[[int], MeasurementFeedback]) -> dict[str, list[float]]:
    """Return the success probability on the glasses and the mean cut of G22, by seed."""
    success, cuts = [], []
    for seed in SEEDS:
        found = [np.mean(energies(machine(seed), m, seed) == E) for m, E in glasses()]
        success.append(float(np.mean(found)))
        weights = -graph().J.sum() / 2
        cuts.append(float(np.mean(weights - energies(machine(seed), graph(), seed)) / 2))
    return {"success": success, "cut": cuts}


def interval(values: list[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(student.ppf(0.975, len(values) - 1) * error)


def points() -> dict[str, Callable[[int], MeasurementFeedback]]:
    """All points to measure, by the key they have in the file."""
    wanted = [(sweep, value) for sweep in CURVES for value in sweep.values]
    wanted += [(Imperfect(name, "", (), (0, 0)), v) for name, *pair in ROWS for v in pair]
    ideal = {"ideal": lambda seed: MeasurementFeedback(imperfections=Imperfections(seed=seed))}
    named = {
        f"{sweep.name}={value:g}": lambda seed, sweep=sweep, value=value: sweep.machine(value, seed)
        for sweep, value in wanted
    }
    return ideal | named


def draw(measured: dict[str, Any]) -> None:
    """Draw a column for each imperfection: success above, cut below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    size = {"figsize": (12.5, 4.8), "sharex": "col", "sharey": "row"}
    figure, axes = plt.subplots(len(ROWS_OF_PICTURE), len(CURVES), **size)
    for row, quantity in zip(axes, ROWS_OF_PICTURE, strict=True):
        for axis, sweep in zip(row, CURVES, strict=True):
            draw_curve(axis, sweep, quantity, measured)
        row[0].set_ylabel(quantity.label)
        row[0].set_ylim(*quantity.limits)
    for axis, sweep in zip(axes[-1], CURVES, strict=True):
        axis.set_xlabel(sweep.label)
    explained = {
        "nothing wrong": Line2D([], [], color=FAINT, linestyle=(0, (4, 3))),
        "good laboratory (assumed)": Patch(color=BAND),
        "95 % interval, eight machines": Patch(color=INK, alpha=0.2),
    }
    figure.align_labels()
    figure.tight_layout(w_pad=0.8, rect=(0, 0, 1, 0.94))
    figure.legend(explained.values(), explained.keys(), loc="upper right", ncols=3, frameon=False)
    figure.savefig(PICTURE, dpi=150)


def draw_curve(axis: Axes, sweep: Imperfect, quantity: Quantity, measured: dict[str, Any]) -> None:
    """Draw a curve with its interval, the ideal machine, and what laboratories have."""
    keys = [f"{sweep.name}={value:g}" for value in sweep.values]
    means, halves = (
        np.array([interval(measured[key][quantity.name]) for key in keys]).T * quantity.scale
    )
    ideal = interval(measured["ideal"][quantity.name])[0] * quantity.scale
    low, high = means - halves, means + halves
    axis.axvspan(*sweep.typical, color=BAND, zorder=0, linewidth=0)
    axis.axhline(ideal, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axis.fill_between(sweep.values, low, high, color=quantity.colour, alpha=0.2, linewidth=0)
    axis.plot(sweep.values, means, color=quantity.colour, marker="o", markersize=3.5, linewidth=1.5)
    axis.grid(axis="y", color="#d9dde3", linewidth=0.6)
    axis.tick_params(axis="y", length=0)
    if sweep.is_log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    if sweep.name == "adc_bits":
        axis.set_xlim(8.3, 1.7)
        axis.set_xticks(range(8, 1, -1))


def table(measured: dict[str, Any]) -> str:
    """Return the table of typical and severe values in Markdown."""

    def cells(key: str) -> str:
        (p, dp), (cut, dcut) = (interval(measured[key][q]) for q in ("success", "cut"))
        return f"{p:.2f} ± {dp:.2f} | {cut:.0f} ± {dcut:.0f}"

    head = "| | typical | P(ground state) | cut | severe | P(ground state) | cut |"
    lines = [head, "|" + "---|" * 7, f"| nothing wrong | | {cells('ideal')} | | | |"]
    for name, *values in ROWS:
        pair = (f"{value:g} | {cells(f'{name}={value:g}')}" for value in values)
        lines.append(f"| `{name}` | {' | '.join(pair)} |")
    return "\n".join(lines)


def main() -> None:
    path = Path(sys.argv[1])
    measured = json.loads(path.read_text()) if path.exists() else {}
    for key, machine in points().items():
        if key not in measured:
            measured[key] = measure(machine)
            path.write_text(json.dumps(measured, indent=1))
            print(
                key, interval(measured[key]["success"]), interval(measured[key]["cut"]), flush=True
            )
    print(table(measured))
    draw(measured)


if __name__ == "__main__":
    main()
