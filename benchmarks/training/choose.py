"""How the numbers of a recipe were chosen: variants, compared on training images kept apart.

    python benchmarks/training/choose.py ten-binary '{}' '{"clip": 8.0}' --rows FILE

With a file, rows are appended to it, and those that are there are not computed again. A line tells
of a variant the mean accuracy with its 95 % interval over seeds (Student's t), that of each seed,
by how much it is ahead of the first variant, paired, and CPU seconds.

All images: a sixth of the training images of each class is kept apart. Few images: all training
images that were not drawn. Test images are never loaded into the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from tasks import TASKS, dataset
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train.data import ImageSet
from qnn_train.training import ProximalProblem, TrainingRun
from qnn_train.training.descent import accuracy

if TYPE_CHECKING:
    from tasks import Task

    from cim_hal import Session

SHARE = 1 / 6


def main() -> None:
    """Train what is missing, then tell of each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("variants", nargs="+", type=json.loads)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=100, help="not those of the results")
    parser.add_argument("--rows", type=Path, default=Path(os.devnull), help="JSON lines")
    options = parser.parse_args()
    task, rows = TASKS[options.task], _read(options.rows)
    with threadpool_limits(1), open_device(task.device) as session, options.rows.open("a") as file:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for variant in options.variants:
                name = {"task": task.name, "variant": variant, "seed": seed}
                if any(row | name == row for row in rows):
                    continue
                rows.append(name | _row(task, seed, variant, session))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    found = [_of(rows, task.name, variant) for variant in options.variants]
    for variant, mine in zip(options.variants, found, strict=True):
        print(f"| `{json.dumps(variant)}` {_line(mine, found[0])}")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _row(task: Task, seed: int, variant: dict[str, Any], session: Session) -> dict[str, Any]:
    start, changes = time.process_time(), {k: _value(v) for k, v in variant.items()}
    found = _kept_apart(task, seed, changes, session)
    return {"kept_apart": found, "cpu": round(time.process_time() - start, 2)}


def _of(rows: list[dict[str, Any]], task: str, variant: Any) -> dict[int, dict[str, Any]]:
    """Return the rows of a variant by seed."""
    return {row["seed"]: row for row in rows if (row["task"], row["variant"]) == (task, variant)}


def _line(mine: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]]) -> str:
    values = {seed: 100 * row["kept_apart"] for seed, row in mine.items()}
    ahead = [values[seed] - 100 * first[seed]["kept_apart"] for seed in mine.keys() & first.keys()]
    shown = " ".join(f"{value:.2f}" for value in values.values())
    spent = np.mean([row["cpu"] for row in mine.values()])
    return f"| {_interval([*values.values()])} | {shown} | {_interval(ahead)} | {spent:.1f} |"


def _interval(values: list[float]) -> str:
    mean = f"{np.mean(values):.2f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.2f}"


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _kept_apart(task: Task, seed: int, changes: dict[str, Any], session: Session) -> float:
    """Train one variant and return its accuracy on the images kept apart."""
    whole = dataset().select(task.classes)
    if task.images is None:
        rng, held = np.random.default_rng([seed, 8]), []
        for label in np.unique(whole.train.labels):
            members = np.flatnonzero(whole.train.labels == label)
            held.append(rng.choice(members, round(SHARE * len(members)), replace=False))
        apart = np.concatenate(held)
    else:
        apart = np.setdiff1d(
            np.arange(len(whole.train)), whole.train.stratified(task.images, seed=seed)
        )
    rest = np.setdiff1d(np.arange(len(whole.train)), apart)
    selection = replace(whole, train=whole.train.take(rest), test=_nothing())
    recipe = replace(task.proximal, **{"seed": seed, "train_samples": None, **changes})
    problem = ProximalProblem.of(recipe, selection)
    run = TrainingRun(problem, session if recipe.oracle == "machine" else None)
    for _ in run:
        pass
    return accuracy(run.stepper.best, problem.examples(whole.train.take(apart)))


def _nothing() -> ImageSet:
    return ImageSet(np.zeros((0, 28, 28)), np.zeros(0, np.int64))


if __name__ == "__main__":
    main()
