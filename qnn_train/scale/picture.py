"""One picture of a training on many images: loss and accuracy against calls of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qnn_train.scale.report import ScaleReport

__all__ = ["draw"]

INK, SECOND, THIRD, GRID = "#1f3a5f", "#2f8f6b", "#c2571a", "#d9dde3"


def draw(report: ScaleReport, path: Path) -> None:
    """Write the picture of `report` to `path` as PNG."""
    # The object interface with Agg: no window, no global state of pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    curve, held = report.curve, report.n_validation > 0
    _plot(top, curve.calls, curve.loss, INK, "validation" if held else "training images")
    top.set_ylabel("least loss so far")
    train = [100 * value for value in curve.train_accuracy]
    _plot(bottom, curve.calls, train, INK, "training images")
    if held:
        validation = [100 * (value or 0.0) for value in curve.validation_accuracy]
        _plot(bottom, curve.calls, validation, SECOND, "validation")
    test = 100 * report.test_accuracy
    label = f"final network, test: {test:.2f} % of {report.n_test}"
    bottom.axhline(test, color=THIRD, linestyle="--", linewidth=1.2, label=label)
    bottom.set_ylabel("accuracy (%)")
    bottom.set_xlabel("calls of the machine")
    for axes, place in ((top, "upper right"), (bottom, "lower right")):
        axes.legend(loc=place, frameon=False, fontsize=9)
    figure.suptitle(_title(report), fontsize=11)
    figure.savefig(path, dpi=150)


def _plot(axes: Any, calls: Sequence[int], values: Sequence[float], color: str, label: str) -> None:
    axes.plot(calls, values, color=color, marker="o", markersize=3, linewidth=1.2, label=label)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _title(report: ScaleReport) -> str:
    bits = "real-valued" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    names = report.class_names
    task = " or ".join(names) if len(names) == 2 else f"{len(names)} classes"
    return (
        f"{report.dataset}: {task}, {report.n_train} training images\n"
        f"network {report.network}, {report.bits_per_parameter:.2f} bits per parameter, "
        f"blocks of at most {report.spins} spins\n"
        f"{report.device}, {bits} couplings, seed {report.seed}"
    )
