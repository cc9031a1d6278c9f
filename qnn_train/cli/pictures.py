"""Pictures of evaluations and comparisons, in colours that the colour-blind tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.arrays import FloatArray
from qnn_train.evaluation import ClassScores
from qnn_train.training.picture import INK, THIRD, save

if TYPE_CHECKING:
    from cim_hal.study import Interval

__all__ = ["draw_classes", "draw_comparison", "draw_numbers"]

MAX_NAMED = 30  # classes whose counts are written out


def draw_classes(scores: ClassScores, title: str, path: Path) -> None:
    """Draw the confusion matrix and the reliability diagram."""
    figure, (left, right) = _figure(2, (10.5, 4.8))
    figure.suptitle(title, fontsize=11)
    _draw_confusion(left, scores)
    bins = scores.calibration
    sizes = [20 + 300 * each.count / scores.n for each in bins]
    right.plot([0, 1], [0, 1], color=THIRD, linestyle="--", linewidth=1.2, label="calibrated")
    right.scatter(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        s=sizes,
        color=INK,
        label="predictions, area by number",
        zorder=3,
    )
    right.set_xlabel("probability of the predicted class")
    right.set_ylabel("share that is right")
    right.set_title(f"expected calibration error {scores.calibration_error:.3f}", fontsize=10)
    right.set_xlim(0, 1.05)
    right.set_ylim(0, 1.05)
    right.legend(loc="upper left", frameon=False, fontsize=9)
    save(figure, path)


def _draw_confusion(axes: Any, scores: ClassScores) -> None:
    """Colour shares of each row, and write counts where there is room."""
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(counts))
    if len(counts) <= MAX_NAMED:
        names = [name if len(name) <= 14 else f"{name[:13]}…" for name in scores.classes]
        axes.set_xticks(ticks, names, rotation=45 if len(counts) > 3 else 0, fontsize=8)
        axes.set_yticks(ticks, names, fontsize=8)
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    axes.set_title(f"accuracy {scores.accuracy.percent} of {scores.n}", fontsize=10)


def draw_numbers(answers: FloatArray, predicted: FloatArray, title: str, path: Path) -> None:
    """Draw predictions against right answers, and residuals."""
    figure, (left, right) = _figure(2, (10.5, 4.8))
    figure.suptitle(title, fontsize=11)
    ends = [min(answers.min(), predicted.min()), max(answers.max(), predicted.max())]
    left.plot(ends, ends, color=THIRD, linestyle="--", linewidth=1.2, label="exact")
    left.scatter(answers, predicted, s=14, color=INK, alpha=0.6, label="rows")
    left.set_xlabel("right answer")
    left.set_ylabel("predicted")
    left.legend(loc="upper left", frameon=False, fontsize=9)
    right.hist(predicted - answers, bins=30, color=INK)
    right.axvline(0, color=THIRD, linestyle="--", linewidth=1.2)
    right.set_xlabel("predicted less right")
    right.set_ylabel("rows")
    save(figure, path)


def draw_comparison(
    rows: Sequence[tuple[str, Sequence[float], Interval]], score: str, title: str, path: Path
) -> None:
    """Draw a line for each method: its splits as dots, their mean and its interval."""
    figure, (axes,) = _figure(1, (8.0, 1.2 + 0.55 * len(rows)))
    figure.suptitle(title, fontsize=11)
    for place, (_, values, interval) in enumerate(rows):
        axes.scatter(
            values, [place - 0.2] * len(values), s=16, color="#8a94a3", alpha=0.8, zorder=2
        )
        ends = [interval.low, interval.high] if np.isfinite(interval.low) else [interval.value] * 2
        color = INK if place < len(rows) - 1 else THIRD
        axes.plot(ends, [place, place], color=color, linewidth=2.4, zorder=3)
        axes.scatter([interval.value], [place], s=46, marker="D", color=color, zorder=4)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{score}: splits (dots), mean (diamond) and its 95 % interval (line)")
    if axes.get_xlim()[1] > 1:  # no score is above 1, whatever an interval of few splits says
        axes.set_xlim(right=1.01)
    axes.grid(axis="x", color="#d9dde3", linewidth=0.6)
    save(figure, path)


def _figure(count: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """Return a figure and its axes side by side; no window, no global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes
