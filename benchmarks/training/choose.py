"""How the numbers of a recipe were chosen: variants, compared on training images kept apart.

    python benchmarks/training/choose.py ten-binary '{}' '{"clip": 8.0}'

All images: a sixth of the training images of each class is kept apart. Few images: all training
images that were not drawn. Test images are never loaded into the comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
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
    """Print one line a variant: mean accuracy on images kept apart, its error, and the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("variants", nargs="+", type=json.loads)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=100, help="not those of the results")
    options = parser.parse_args()
    task = TASKS[options.task]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with threadpool_limits(1), open_device(task.device) as session:
        for variant in options.variants:
            start, changes = time.process_time(), {k: _value(v) for k, v in variant.items()}
            found = [_kept_apart(task, seed, changes, session) for seed in seeds]
            mean = float(np.mean(found))
            error = float(np.std(found) / max(1, len(seeds) - 1) ** 0.5)
            each = (time.process_time() - start) / len(found)
            shown = " ".join(f"{100 * value:.2f}" for value in found)
            told = f"{100 * mean:.2f} ± {100 * error:.2f} %  {each:.2f} s"
            print(f"{told}  {variant}  ({shown})", flush=True)


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
