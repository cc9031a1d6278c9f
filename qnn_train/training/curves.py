"""Curves against calls of a machine, in the hand of all pictures of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["INK", "SECOND", "THIRD", "curve", "panels"]

INK, SECOND, THIRD, GRID = "#1f3a5f", "#2f8f6b", "#c2571a", "#d9dde3"


def panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, one above the other, which share their calls."""
    # The object interface with Agg: no window, no global state of pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(count, 1, sharex=True))


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
