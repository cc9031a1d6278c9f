"""The methods that are compared; each returns rows of a group of seeds of one task."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import ste
from heats import accuracy, best_of
from penalty import PATIENCE_S, TUNED, PenaltyProgram, sampled
from tasks import TASKS, problem_of

from cim_hal import open_device
from qnn_train.training import Cost, TrainingRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tasks import Task

    from qnn_train.training import ProximalProblem

__all__ = ["ORACLES", "SAMPLED", "rows_of"]

# What is compared at equal calls: their networks come from a machine, or from none.
SAMPLED = ("random", "penalty", "penalty-tuned")

# The descent with other oracles, what a figure of the machine stands beside: changes of the recipe.
# "proximal" is without the polish of samples, as its published rows are.
ORACLES: dict[str, dict[str, Any]] = {
    "proximal": {"polish": False},
    "proximal-polish": {"polish": True},
    "proximal-descent": {"oracle": "descent"},
    "proximal-annealing": {"oracle": "annealing"},
}


def rows_of(
    name: str, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a seed."""
    task = TASKS[name]
    one_by_one = {
        **{name: partial(_proximal, changes=changes) for name, changes in ORACLES.items()},
        "random": _random,
        "penalty": _penalty,
        "penalty-tuned": _tuned,
    }
    if method in one_by_one:
        made = ((seed, one_by_one[method](task, classes, seed)) for seed in seeds)
        return [_row(task, method, classes, seed, **found) for seed, found in made]
    found = _logistic if method == "logistic" else _straight_through
    return list(found(task, method, classes, seeds))


def _row(
    task: Task, method: str, classes: tuple[int, ...], seed: int, **rest: Any
) -> dict[str, Any]:
    return {"task": task.name, "method": method, "classes": list(classes), "seed": seed, **rest}


def _proximal(
    task: Task, classes: tuple[int, ...], seed: int, *, changes: dict[str, Any]
) -> dict[str, Any]:
    problem = problem_of(task, classes, seed, **changes)
    on_host = problem.recipe.oracle != "machine"
    start = time.process_time()
    with nullcontext() if on_host else open_device(task.device, timeout_s=PATIENCE_S) as session:
        run = TrainingRun(problem, session)
        for _ in run:
            pass
        report = run.outcome().report
    return {
        "cpu_seconds": round(time.process_time() - start, 2),
        "oracle": report.oracle,
        "polish": report.polish is not None,
        "test": report.test_accuracy,
        "train": report.train_accuracy,
        "calls": report.oracle_calls,
        "runs": report.runs_per_call,
        "seconds": round(report.seconds, 2),
        "bits": report.bits_per_parameter,
        "device": report.device,
        "curve": [report.history.calls, report.history.accuracy],
    }


def _straight_through(
    task: Task, method: str, classes: tuple[int, ...], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    recipe = ste.Recipe(method.removeprefix("ste-"), hidden=task.proximal.hidden)
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


def _penalty(
    task: Task, classes: tuple[int, ...], seed: int, *, factor: float = 1.0
) -> dict[str, Any]:
    """Return the best of the penalty method's networks, see `penalty`."""
    program = _program(task, classes, seed)
    start = time.perf_counter()
    with open_device(task.device, timeout_s=PATIENCE_S) as session:
        cost = Cost.of(program.problem, session.capabilities)
        best = sampled(program, session, seed, factor, cost.runs)
    test = program.examples(program.problem.selection.test)
    return {
        "test": float(accuracy(best.network, test)),
        "train": best.accuracy,
        "calls": cost.calls,
        "runs": task.proximal.n_runs,
        "factor": factor,
        "seconds": round(time.perf_counter() - start, 2),
        "bits": best.network.architecture.bits_per_parameter,
    }


def _tuned(task: Task, classes: tuple[int, ...], seed: int) -> dict[str, Any]:
    return _penalty(task, classes, seed, factor=TUNED[task.name])


@lru_cache(maxsize=1)
def _whole_program(name: str, classes: tuple[int, ...]) -> PenaltyProgram:
    return PenaltyProgram.of(_whole(name, classes))


def _program(task: Task, classes: tuple[int, ...], seed: int) -> PenaltyProgram:
    if task.images is None:
        return _whole_program(task.name, classes)
    return PenaltyProgram.of(problem_of(task, classes, seed))
