"""One picture of a training on many images: loss and accuracy against calls of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnn_train.training.curves import SECOND, THIRD, curve, panels

if TYPE_CHECKING:
    from pathlib import Path

    from qnn_train.training.proximal_report import ProximalReport

__all__ = ["draw"]


def draw(report: ProximalReport, path: Path) -> None:
    """Write the picture of `report` to `path` as PNG."""
    figure, (top, bottom) = panels(2, 5.5)
    found, held = report.curve, report.n_validation > 0
    judges = "validation" if held else "training images"
    curve(top, found.calls, found.loss, label=judges)
    top.set_ylabel("least loss so far")
    train = [100 * value for value in found.train_accuracy]
    curve(bottom, found.calls, train, label="training images")
    if held:
        validation = [100 * (value or 0.0) for value in found.validation_accuracy]
        curve(bottom, found.calls, validation, color=SECOND, label=judges)
    test = 100 * report.test_accuracy
    label = f"final network, test: {test:.2f} % of {report.n_test}"
    bottom.axhline(test, color=THIRD, linestyle="--", linewidth=1.2, label=label)
    bottom.set_ylabel("accuracy (%)")
    bottom.set_xlabel("calls of the machine")
    for axes, place in ((top, "upper right"), (bottom, "lower right")):
        axes.legend(loc=place, frameon=False, fontsize=9)
    figure.suptitle(_title(report), fontsize=11)
    figure.savefig(path, dpi=150)


def _title(report: ProximalReport) -> str:
    bits = "real-valued" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    names = report.class_names
    task = " or ".join(names) if len(names) == 2 else f"{len(names)} classes"
    return (
        f"{report.dataset}: {task}, {report.n_train} training images\n"
        f"network {report.network}, {report.bits_per_parameter:.2f} bits per parameter, "
        f"blocks of at most {report.spins} spins\n"
        f"{report.device}, {bits} couplings, seed {report.seed}"
    )
