"""Accuracy on the training images against calls of the machine, all seeds of chosen tasks.

python benchmarks/training/plot.py ten-binary ten-ternary --out docs/_static/ten-classes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rows import Rows
from tasks import TASKS

COLORS = ("#1f3a5f", "#c2571a", "#2f8f6b")


def main() -> None:
    """Draw one line a seed; a point is the test accuracy of its last network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", choices=list(TASKS))
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/training/rows"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = Rows(options.folder).all
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, color in zip(options.tasks, COLORS, strict=False):
        mine = [row for row in rows if (row["task"], row["method"]) == (name, "proximal")]
        for index, row in enumerate(mine):
            calls, train = row["curve"]
            label = f"{name}: training images, seeds: {len(mine)}" if index == 0 else None
            axes.plot(calls, [100 * a for a in train], color=color, linewidth=1.1, label=label)
            label = f"{name}: test images, at the end" if index == 0 else None
            axes.plot(calls[-1], 100 * row["test"], "o", color=color, markersize=5, label=label)
        goal = f"{name}: asked for"
        axes.axhline(TASKS[name].goal, color=color, linestyle=":", linewidth=1.2, label=goal)
    axes.set_xlabel("calls of the machine")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(bottom=60)
    axes.grid(color="#d9dde3", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(options.out, dpi=150)


if __name__ == "__main__":
    main()
