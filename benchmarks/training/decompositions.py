"""Ways to cut ten classes into blocks, at equal calls of the machine.

    python benchmarks/training/decompositions.py --out benchmarks/training/ways.jsonl
    python benchmarks/training/decompositions.py --out FILE --plot docs/_static/decompositions.png

A sixth of the training images is kept apart and compared on; test images are not loaded. Rows that
are there are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tasks import TASKS, dataset
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train.training import Cost, ProximalProblem, TrainingRun

if TYPE_CHECKING:
    from cim_hal import Session
    from qnn_train.data import Selection
    from qnn_train.training import ProximalRecipe

TASK = TASKS["ten-ternary"]
SHARE = 1 / 6
WAYS: dict[str, dict[str, Any]] = {
    "whole neurons": {"block_reads": None},
    "a third of the inputs": {},
    "three inputs of all neurons": {"block_reads": 3, "block_spins": 496},
    "whole neurons, fine first": {
        "first_weights": "3bit",
        "block_reads": None,
        "block_spins": 192,
    },
    "a third of the inputs, fine first": {"first_weights": "3bit"},
}
COLORS = ("#7a8794", "#1f3a5f", "#b0a04f", "#2f8f6b", "#c2571a")


def main() -> None:
    """Compute the rows that are missing; draw them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    rows = [json.loads(line) for line in lines]
    if options.plot:
        _draw(rows, options.plot)
        return
    done = {(row["way"], row["seed"], row["asked"]) for row in rows}
    images = dataset().select(TASK.groups[0])
    with threadpool_limits(1), open_device(TASK.device) as session, options.out.open("a") as file:
        for seed in options.seeds:
            for way, changes in WAYS.items():
                if (way, seed, options.calls) not in done:
                    recipe = replace(TASK.proximal, seed=seed, validation=SHARE, **changes)
                    row = _trained(recipe, images, session, options.calls)
                    row |= {"way": way, "seed": seed, "asked": options.calls}
                    file.write(json.dumps(row) + "\n")
                    file.flush()


def _trained(
    recipe: ProximalRecipe, images: Selection, session: Session, calls: int
) -> dict[str, Any]:
    """Train in as many sweeps as `calls` allow."""
    problem = ProximalProblem.of(replace(recipe, sweeps=2), images)
    each = Cost.of(problem, session.capabilities).calls / 2  # of a sweep, of both codes
    sweeps = max(2, 2 * round(calls / each / 2))
    run = TrainingRun(ProximalProblem.of(replace(recipe, sweeps=sweeps), images), session)
    start = time.process_time()
    for _ in run:
        pass
    history = run.checkpoint().history
    block_spins = run.stepper.machine["block_spins"]
    return {
        "calls": history.calls,
        "loss": history.objective,
        "train": history.accuracy,
        "validation": history.validation_accuracy,
        "spins": max(map(max, problem.block_sizes(block_spins))),
        "seconds": round(time.process_time() - start, 1),
    }


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy on the images kept apart against calls."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for way, color in zip(WAYS, COLORS, strict=True):
        for index, row in enumerate(row for row in rows if row["way"] == way):
            accuracies = [100 * value for value in row["validation"]]
            label = way if index == 0 else None
            axes.plot(row["calls"], accuracies, color=color, linewidth=1.3, label=label)
    axes.set_xlabel("calls of the machine")
    axes.set_ylabel("accuracy on images kept apart (%)")
    axes.set_ylim(bottom=60)
    axes.grid(color="#d9dde3", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
