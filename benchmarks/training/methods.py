"""The methods that are compared: what a row tells of a task, a method and a seed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import ste
from heats import best_of
from tasks import problem_of

from cim_hal import open_device
from qnn_train.solve.straight_through import straight_through
from qnn_train.training import Cost, TrainingRun
from qnn_train.training.descent import accuracy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from tasks import Task

    from qnn_train.training import ProximalProblem

__all__ = ["METHODS"]

PATIENCE_S = 600.0  # of a job: the work of its run is shared with others
STEPS, MORE_STEPS = 1500, 9000  # of STE in codes, 256 images each; with more than two classes
EPOCHS = 45  # of STE with real biases and scales


def _proximal(task: Task, seed: int, *, oracle: str) -> dict[str, Any]:
    problem = problem_of(task, seed, oracle=oracle)
    start = time.process_time()
    with ExitStack() as stack:
        session = None
        if oracle == "machine":
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


def _coded_ste(task: Task, seed: int) -> dict[str, Any]:
    """Train by STE in the codes of our network, with as many starts and the same choice."""
    problem = problem_of(task, seed)
    start = time.process_time()
    networks = [
        straight_through(
            problem.architecture,
            problem.train.inputs,
            problem.train.labels,
            loss=problem.loss,
            seed=1000 * seed + turn,
            steps=MORE_STEPS if len(task.classes) > 2 else STEPS,
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


def _real_ste(task: Task, seed: int, *, kind: str) -> dict[str, Any]:
    """Train by STE with real biases and scales, with as many starts and the same choice."""
    inputs, labels, tests, answers = _real(problem_of(task, seed))
    recipe = ste.Recipe(kind, hidden=task.proximal.hidden, epochs=EPOCHS)
    targets = np.eye(len(task.classes), dtype=np.float32)[labels]
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


def _real(problem: ProximalProblem) -> tuple[Any, ...]:
    """Return real features and labels from 0 on, of training and test."""
    test = problem.examples(problem.selection.test)
    found = []
    for part in (problem.train, test):
        found.append((part.inputs / problem.recipe.levels).astype(np.float32))
        two = len(problem.selection.classes) == 2
        found.append((part.labels > 0).astype(np.int64) if two else part.labels)
    return tuple(found)


def _logistic(task: Task, seed: int) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    inputs, labels, tests, answers = _real(problem_of(task, seed))
    model = LogisticRegression(max_iter=300).fit(inputs, labels)
    return {"test": float(model.score(tests, answers))}


def _random(task: Task, seed: int) -> dict[str, Any]:
    """Return the best on the training images of as many random networks as the machine gave."""
    problem = problem_of(task, seed)
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


METHODS: dict[str, Callable[[Task, int], dict[str, Any]]] = {
    **{name: partial(_proximal, oracle=name) for name in ("machine", "descent", "annealing")},
    "ste": _coded_ste,
    "ste-real-ternary": partial(_real_ste, kind="ternary"),
    "ste-real-binary": partial(_real_ste, kind="binary"),
    "logistic": _logistic,
    "random": _random,
}
