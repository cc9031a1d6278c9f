"""The methods that are compared; each returns rows of a group of seeds of one task."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import ste
from tasks import TASKS, dataset, problem_of

from cim_hal import open_device
from qnn_train import QuantizedNetwork, Recipe, prepare
from qnn_train.run import TrainingRun
from qnn_train.scale import Cost, ScaleRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks import Task

    from qnn_train.scale import ScaleProblem

__all__ = ["rows_of"]

CHUNK = 256
HEAT_IMAGES = 2000
# A program of more images, or of four voters, which can tie, is not what anybody would take.
IN_A_PROGRAM, VOTERS = 20, 3


def rows_of(
    name: str, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a seed."""
    task = TASKS[name]
    one_by_one = {"proximal": _proximal, "random": _random, "penalty": _penalty}
    if method in one_by_one:
        made = ((seed, one_by_one[method](task, classes, seed)) for seed in seeds)
        return [_row(task, method, classes, seed, **found) for seed, found in made]
    found = _logistic if method == "logistic" else _straight_through
    return list(found(task, method, classes, seeds))


def _row(
    task: Task, method: str, classes: tuple[int, ...], seed: int, **rest: Any
) -> dict[str, Any]:
    return {"task": task.name, "method": method, "classes": list(classes), "seed": seed, **rest}


def _proximal(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    with open_device(task.device) as session:
        run = ScaleRun(problem_of(task, classes, seed), session)
        for _ in run:
            pass
        report = run.outcome().report
    return {
        "test": report.test_accuracy,
        "train": report.train_accuracy,
        "calls": report.oracle_calls,
        "runs": report.runs_per_call,
        "seconds": round(report.seconds, 2),
        "bits": report.bits_per_parameter,
        "device": report.device,
        "curve": [report.curve.calls, report.curve.train_accuracy],
    }


def _straight_through(
    task: Task, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    recipe = ste.Recipe(method.removeprefix("ste-"), task.proximal.hidden)
    for seed in seeds:
        inputs, labels, tests, answers = _real(_images(task, classes, seed))
        start = time.perf_counter()
        predicted = ste.train(
            inputs, labels, tests, n_outputs=max(2, len(classes)), seed=seed, recipe=recipe
        )
        yield _row(
            task,
            method,
            classes,
            seed,
            test=float((predicted == answers).mean()),
            seconds=round(time.perf_counter() - start, 2),
        )


@lru_cache(maxsize=1)
def _whole(name: str, classes: tuple[int, ...]) -> ScaleProblem:
    return problem_of(TASKS[name], classes, 0)


def _images(task: Task, classes: tuple[int, ...], seed: int) -> ScaleProblem:
    """Return the images of a seed; where all are taken, those of every seed."""
    whole = task.images is None
    return _whole(task.name, classes) if whole else problem_of(task, classes, seed)


def _real(problem: ScaleProblem) -> tuple[Any, ...]:
    """Return real features and labels from 0 on, of training and test."""
    test = problem.examples(problem.selection.test)
    found = []
    for part in (problem.train, test):
        found.append((part.inputs / problem.recipe.levels).astype(np.float32))
        two = len(problem.selection.classes) == 2
        found.append((part.labels > 0).astype(np.int64) if two else part.labels)
    return tuple(found)


def _logistic(
    task: Task, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    from sklearn.linear_model import LogisticRegression

    score = None
    for seed in seeds:
        if score is None or task.images is not None:  # it draws nothing but the images
            inputs, labels, tests, answers = _real(_images(task, classes, seed))
            model = LogisticRegression(max_iter=300).fit(inputs, labels)
            score = float(model.score(tests, answers))
        yield _row(task, method, classes, seed, test=score)


def _random(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return the best on the training images of as many random networks as the machine gave."""
    problem = _images(task, classes, seed)
    with open_device(task.device) as session:
        count = Cost.of(problem, session.capabilities).runs
    rng = np.random.default_rng([seed, 9])
    n_bits, train = problem.architecture.n_bits, problem.train
    order = rng.permutation(len(train))[:HEAT_IMAGES]
    best = []
    for first in range(0, count, CHUNK):
        bits = rng.integers(0, 2, (min(CHUNK, count - first), n_bits)).astype(np.int8)
        network = QuantizedNetwork.from_bits(problem.architecture, bits)
        right = (network.predict(train.inputs[order]) == train.labels[order]).mean(axis=1)
        best += [(right[k], bits[k]) for k in np.argsort(-right)[:4]]
    best.sort(key=lambda pair: -pair[0])
    finalists = np.stack([bits for _, bits in best[:16]])
    network = QuantizedNetwork.from_bits(problem.architecture, finalists)
    right = (network.predict(train.inputs) == train.labels).mean(axis=1)
    test = problem.examples(problem.selection.test)
    chosen = network[int(right.argmax())]
    accuracy = float((chosen.predict(test.inputs) == test.labels).mean())
    return {"test": accuracy, "train": float(right.max()), "networks": count}


def _penalty(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return what the penalty method makes of 20 images in as many calls, two classes only.

    Its candidates are compared on all images of the task.
    """
    few = task.images is not None
    recipe = Recipe(
        train_samples=task.images if few and task.images <= IN_A_PROGRAM else IN_A_PROGRAM,
        grid=task.proximal.grid,
        hidden=VOTERS,
        weights=task.weights,
        score="subset" if few else "train",
        seed=seed,
    )
    with open_device(task.device) as session:
        calls = Cost.of(_images(task, classes, seed), session.capabilities).calls
        run = TrainingRun(
            prepare(recipe, dataset().select(classes)),
            session,
            iterations=calls,
            n_runs=task.proximal.n_runs,
            method="penalty",
        )
        for _ in run:
            pass
        report = run.outcome().report
    return {
        "test": report.test_accuracy,
        "train": report.train_accuracy,
        "calls": report.oracle_calls,
        "seconds": round(report.seconds, 2),
        "bits": report.bits_per_parameter,
    }
