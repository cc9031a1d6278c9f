"""Pictures of a training: curves against oracle calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cim_hal.atomic_files import replacing
from cim_hal.text import counted
from qnn_train.training.recipe import PROXIMAL
from qnn_train.training.report import RunReport

__all__ = ["INK", "SECOND", "THIRD", "curve", "draw", "panels", "save"]

INK, SECOND, THIRD, GRID = "#1f3a5f", "#2f8f6b", "#c2571a", "#d9dde3"


def draw(report: RunReport, path: Path) -> None:
    """Write the picture of `report` to `path` as PNG."""
    if report.method == PROXIMAL:
        figure, network = _of_losses(report), f"blocks of at most {counted(report.spins, 'spin')}"
    else:
        figure, network = _of_program(report), counted(report.spins, "spin")
    figure.suptitle(_title(report, network), fontsize=11)
    save(figure, path)


def panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, one above the other, which share their calls."""
    # The object interface with Agg: no window, no global state of pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(count, 1, sharex=True))
    axes[-1].set_xlabel("oracle calls")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, axes


def curve(
    axes: Any,
    calls: Sequence[int],
    values: Sequence[float | None],
    *,
    color: str = INK,
    label: str | None = None,
) -> None:
    """Draw one number a step; None leaves a gap."""
    known = [float("nan") if value is None else value for value in values]
    axes.plot(calls, known, color=color, marker="o", markersize=3, linewidth=1.2, label=label)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format of the suffix of `path`, whole or not at all."""
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format=Path(path).suffix.lstrip(".") or "png")


def _of_program(report: RunReport) -> Any:
    """Draw infeasibility, objective and accuracy."""
    history = report.history
    figure, (top, middle, bottom) = panels(3, 7.5)
    averaged = " of averaged W" if any(history.gap) else ""
    for axes, values, label in (
        (top, history.infeasibility, f"infeasibility{averaged}"),
        (middle, history.objective, f"objective{averaged}"),
    ):
        curve(axes, history.calls, values)
        axes.set_ylabel(label)
    where = "training split" if report.score == "train" else "training images"
    label = f"best network so far, {where}"
    curve(bottom, history.calls, _percent(history.accuracy), label=label)
    if all(history.infeasibility):
        top.set_yscale("log")
    _mark_test(bottom, report)
    return figure


def _of_losses(report: RunReport) -> Any:
    """Draw loss and accuracies."""
    history, held = report.history, bool(report.n_validation)
    figure, (top, bottom) = panels(2, 5.5)
    judges = "validation" if held else "training images"
    curve(top, history.calls, history.objective, label=judges)
    top.set_ylabel("least loss so far")
    top.legend(loc="upper right", frameon=False, fontsize=9)
    curve(bottom, history.calls, _percent(history.accuracy), label="training images")
    if held:
        measured = _percent(history.validation_accuracy)
        curve(bottom, history.calls, measured, color=SECOND, label=judges)
    _mark_test(bottom, report)
    return figure


def _percent(shares: Sequence[float | None]) -> list[float | None]:
    return [None if share is None else 100 * share for share in shares]


def _mark_test(axes: Any, report: RunReport) -> None:
    """Draw the test accuracy as a line."""
    test = 100 * report.test_accuracy
    label = f"final network, test: {test:.2f} % of {report.n_test}"
    axes.axhline(test, color=THIRD, linestyle="--", linewidth=1.2, label=label)
    axes.set_ylabel("accuracy (%)")
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _title(report: RunReport, network: str) -> str:
    bits = "real-valued" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    names = report.class_names
    classes = " or ".join(names) if len(names) == 2 else counted(len(names), "class")
    images = report.train_samples or report.n_train
    return (
        f"{report.dataset}: {classes}, {counted(images, 'training image')}\n"
        f"network {report.network}, {report.bits_per_parameter:.2f} bits per parameter, "
        f"{network}\n{report.method} on {report.device}, {bits} couplings, seed {report.seed}"
    )
