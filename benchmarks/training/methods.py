"""The methods that are compared; each returns rows of a group of seeds of one task."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import ste
from heats import best_of
from tasks import TASKS, problem_of

from cim_hal import open_device
from qnn_train.solve.straight_through import straight_through
from qnn_train.training import Cost, TrainingRun
from qnn_train.training.descent import accuracy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tasks import Task

    from qnn_train.training import ProximalProblem

__all__ = ["MACHINE", "SLOW", "rows_of"]

MACHINE = "machine"
ORACLES = (MACHINE, "descent", "annealing")
SLOW = (*ORACLES, "ste", "random")  # a seed at a time
PATIENCE_S = 600.0  # of a job: the work of its run is shared with others

# Steps of 256 images of STE in the codes of the network, and epochs of the one with real numbers:
# what more of either brought was looked at on images kept apart.
STEPS, MORE_STEPS = 1500, 9000
EPOCHS = {"pairs": 15}
MORE_EPOCHS = 45


def rows_of(
    name: str, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a seed."""
    task = TASKS[name]
    if method == "logistic":
        return list(_logistic(task, classes, seeds))
    ways = {name: partial(_proximal, oracle=name) for name in ORACLES}
    real = {f"ste-real-{kind}": partial(_real_ste, kind=kind) for kind in ("ternary", "binary")}
    found = {**ways, **real, "ste": _coded_ste, "random": _random}[method]
    return [_row(task, method, classes, seed, **found(task, classes, seed)) for seed in seeds]


def _row(
    task: Task, method: str, classes: tuple[int, ...], seed: int, **rest: Any
) -> dict[str, Any]:
    return {"task": task.name, "method": method, "classes": list(classes), "seed": seed, **rest}


def _proximal(task: Task, classes: tuple[int, ...], seed: int, *, oracle: str) -> dict[str, Any]:
    problem = problem_of(task, classes, seed, oracle=oracle)
    start = time.process_time()
    with ExitStack() as stack:
        session = None
        if oracle == MACHINE:
            session = stack.enter_context(open_device(task.device, timeout_s=PATIENCE_S))
        run = TrainingRun(problem, session)
        for _ in run:
            pass
        report = run.outcome().report
    return {
        "cpu_seconds": round(time.process_time() - start, 2),
        "test": report.test_accuracy,
        "train": report.train_accuracy,
        "calls": report.oracle_calls,
        "runs": report.runs_per_call,
        "bits": report.bits_per_parameter,
        "device": report.device,
    }


def _coded_ste(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Train by STE in the codes of our network, with as many starts and the same choice."""
    problem = _images(task, classes, seed)
    start = time.process_time()
    networks = [
        straight_through(
            problem.architecture,
            problem.train.inputs,
            problem.train.labels,
            loss=problem.loss,
            seed=1000 * seed + turn,
            steps=MORE_STEPS if len(classes) > 2 else STEPS,
        )[0]
        for turn in range(problem.recipe.starts)
    ]
    best = max(networks, key=lambda network: accuracy(network, problem.train))
    return {
        "cpu_seconds": round(time.process_time() - start, 2),
        "test": accuracy(best, problem.examples(problem.selection.test)),
        "train": accuracy(best, problem.train),
        "bits": problem.architecture.bits_per_parameter,
    }


def _real_ste(task: Task, classes: tuple[int, ...], seed: int, *, kind: str) -> dict[str, Any]:
    """Train by STE with real biases and scales, with as many starts and the same choice."""
    inputs, labels, tests, answers = _real(_images(task, classes, seed))
    epochs = EPOCHS.get(task.name, MORE_EPOCHS)
    recipe = ste.Recipe(kind, hidden=task.proximal.hidden, epochs=epochs)
    targets = np.eye(max(2, len(classes)), dtype=np.float32)[labels]
    start = time.process_time()
    networks = [
        ste.fit(inputs, targets, seed=seed + 1000 * turn, recipe=recipe)
        for turn in range(task.proximal.starts)
    ]
    best = max(networks, key=lambda net: _share(net, inputs, labels))
    return {
        "cpu_seconds": round(time.process_time() - start, 2),
        "test": _share(best, tests, answers),
        "train": _share(best, inputs, labels),
    }


def _share(network: ste.Network, inputs: Any, labels: Any) -> float:
    return float((network.outputs(inputs).argmax(axis=1) == labels).mean())


@lru_cache(maxsize=1)
def _whole(name: str, classes: tuple[int, ...]) -> ProximalProblem:
    return problem_of(TASKS[name], classes, 0)


def _images(task: Task, classes: tuple[int, ...], seed: int) -> ProximalProblem:
    """Return the images of a seed; where all are taken, those of every seed."""
    whole = task.images is None
    return _whole(task.name, classes) if whole else problem_of(task, classes, seed)


def _real(problem: ProximalProblem) -> tuple[Any, ...]:
    """Return real features and labels from 0 on, of training and test."""
    test = problem.examples(problem.selection.test)
    found = []
    for part in (problem.train, test):
        found.append((part.inputs / problem.recipe.levels).astype(np.float32))
        two = len(problem.selection.classes) == 2
        found.append((part.labels > 0).astype(np.int64) if two else part.labels)
    return tuple(found)


def _logistic(
    task: Task, classes: tuple[int, ...], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    from sklearn.linear_model import LogisticRegression

    score = None
    for seed in seeds:
        if score is None or task.images is not None:  # it draws nothing but the images
            inputs, labels, tests, answers = _real(_images(task, classes, seed))
            model = LogisticRegression(max_iter=300).fit(inputs, labels)
            score = float(model.score(tests, answers))
        yield _row(task, "logistic", classes, seed, test=score)


def _random(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return the best on the training images of as many random networks as the machine gave."""
    problem = _images(task, classes, seed)
    with open_device(task.device, timeout_s=PATIENCE_S) as session:
        count = Cost.of(problem, session.capabilities).runs
    rng, architecture = np.random.default_rng([seed, 9]), problem.architecture

    def drawn(part: slice) -> NDArray[np.int8]:
        shape = (part.stop - part.start, architecture.n_bits)
        return rng.integers(0, 2, shape, dtype=np.int8)

    best = best_of(architecture, count, drawn, problem.train, rng)
    test = problem.examples(problem.selection.test)
    return {
        "test": float(accuracy(best.network, test)),
        "train": best.accuracy,
        "networks": count,
    }
