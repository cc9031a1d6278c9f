"""The methods that are compared; each returns rows of a group of seeds of one task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import ste
from tasks import TASKS, problem_of

from cim_hal import open_device
from qnn_train import QuantizedNetwork
from qnn_train.scale import Cost, ScaleRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks import Task

    from qnn_train.scale import ScaleProblem

__all__ = ["rows_of"]

CHUNK = 256
HEAT_IMAGES = 2000


def rows_of(
    name: str, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a seed."""
    task = TASKS[name]
    if method == "proximal":
        return [
            _row(task, method, classes, seed, **_proximal(task, classes, seed)) for seed in seeds
        ]
    if method.startswith("ste-"):
        return list(_straight_through(task, method, classes, seeds))
    found = {"logistic": _logistic, "random": _random}[method]
    return [_row(task, method, classes, seed, **found(task, classes, seed)) for seed in seeds]


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
    start = time.perf_counter()
    same = task.images is None
    problems = [problem_of(task, classes, seed) for seed in (seeds[:1] if same else seeds)]
    inputs, labels, tests, answers = (
        np.stack(parts) for parts in zip(*map(_real, problems), strict=True)
    )
    recipe = ste.Recipe(method.removeprefix("ste-"), task.proximal.hidden)
    predicted = ste.train(
        inputs, labels, tests, n_outputs=max(2, len(classes)), seeds=seeds, recipe=recipe
    )
    accuracies = (predicted == answers).mean(axis=1)
    seconds = round((time.perf_counter() - start) / len(seeds), 2)
    for seed, accuracy in zip(seeds, accuracies, strict=True):
        yield _row(task, method, classes, seed, test=float(accuracy), seconds=seconds)


def _real(problem: ScaleProblem) -> tuple[Any, ...]:
    """Return real features and labels from 0 on, of training and test."""
    test = problem.examples(problem.selection.test)
    found = []
    for part in (problem.train, test):
        found.append((part.inputs / problem.recipe.levels).astype(np.float32))
        two = len(problem.selection.classes) == 2
        found.append((part.labels > 0).astype(np.int64) if two else part.labels)
    return tuple(found)


def _logistic(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    inputs, labels, tests, answers = _real(problem_of(task, classes, seed))
    model = LogisticRegression(max_iter=300).fit(inputs, labels)
    return {"test": float(model.score(tests, answers))}


def _random(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return the best on the training images of as many random networks as the machine gave."""
    problem = problem_of(task, classes, seed)
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
