"""One picture of a training run: infeasibility, objective and accuracy against oracle calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qnn_train.training.curves import THIRD, curve, panels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qnn_train.training.report import RunReport

__all__ = ["draw"]


def draw(report: RunReport, path: Path) -> None:
    """Write the picture of `report` to `path` as PNG."""
    from matplotlib.ticker import MaxNLocator

    figure, (top, middle, bottom) = panels(3, 7.5)
    calls = report.history.calls
    averaged = " of averaged W" if any(report.history.gap) else ""
    _plot(top, calls, report.history.infeasibility, f"infeasibility{averaged}")
    _plot(middle, calls, report.history.objective, f"objective{averaged}")
    _plot(bottom, calls, [100 * value for value in report.history.accuracy], "accuracy (%)")
    if all(report.history.infeasibility):
        top.set_yscale("log")
    _mark_accuracies(bottom, report)
    bottom.set_xlabel("oracle calls")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(_title(report), fontsize=11)
    figure.savefig(path, dpi=150)


def _plot(axes: Any, calls: Sequence[int], values: Sequence[float | None], label: str) -> None:
    curve(axes, calls, values)
    axes.set_ylabel(label)


def _mark_accuracies(axes: Any, report: RunReport) -> None:
    where = "training split" if report.score == "train" else "training images"
    axes.lines[0].set_label(f"best network so far, {where}")
    test = 100 * report.test_accuracy
    axes.axhline(
        test,
        color=THIRD,
        linestyle="--",
        linewidth=1.2,
        label=f"final network, test: {test:.2f} % of {report.n_test}",
    )
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _title(report: RunReport) -> str:
    bits = "real-valued" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    return (
        f"{report.dataset}: {report.class_names[0]} or {report.class_names[1]}\n"
        f"network {report.network}, {report.bits_per_parameter:.2f} bits per parameter, "
        f"{report.spins} spins\n{report.method} on {report.device}, {bits} couplings, "
        f"seed {report.seed}"
    )
