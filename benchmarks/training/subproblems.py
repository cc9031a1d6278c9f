"""Quadratic problems that trainings give to their oracle, by kind, each named by a number.

A problem is taken out of a training of its own, from seed `FIRST_SEED` + number: later ones of a
kind of proximal descent come from later steps. On the way the trainings are given annealing or
descents on the host. Minimal networks are whole programs, whose least value is known: all
networks are tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations_with_replacement, islice, product
from typing import TYPE_CHECKING, Any

import numpy as np
from convolution import Convolution, descent
from tasks import TASKS, dataset, problem_of

from qnn_train import (
    AnnealingOracle,
    Architecture,
    DescentOracle,
    Layer,
    LiftedProblem,
    Recipe,
    SquaredLoss,
    Task,
    bias_code,
    prepare,
    weight_code,
)
from qnn_train.solve import conditional_gradient, default_weight, proximal_descent
from qnn_train.solve.penalty import penalty_gradient

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qnn_train.program import Qcbo
    from qnn_train.solve.oracle import Answer, Oracle

__all__ = ["KINDS", "Subproblem", "minimal_program", "points", "subproblem"]

FIRST_SEED = 1000
PAIRS = ((4, 5), (0, 6), (2, 4), (5, 7))
STEPS = 6  # of the descent of shared weights; problem k comes from step 1 + k % STEPS
SAMPLES = 12  # of a minimal network
LEVEL, REACH = 3, 6  # steps of a coordinate, and the largest integer it becomes
SPREAD = 1.7  # of uniform coordinates
UNIFORM: dict[str, Any] = {
    "xor": lambda x, y: x * y > 0,
    "rotated xor": lambda x, y: abs(x) > abs(y),
    "stripes": lambda x, _: abs(x) < SPREAD / 3,
    "checkerboard": lambda x, y: (np.floor(1.5 * x / SPREAD) + np.floor(1.5 * y / SPREAD)) % 2 == 0,
}
TARGET = 2.0  # margin asked of a minimal network, whose margins lie between -6 and 6


@dataclass(frozen=True, eq=False)
class Subproblem:
    """A form (1;x)ᵀ G (1;x) of bits.

    Attributes
    ----------
    kind : str
    number : int
    gradient : float64 array, shape (n + 1, n + 1)
    least : float or None
        Its least value, where that is proven.
    """

    kind: str
    number: int
    gradient: NDArray[np.float64]
    least: float | None = None


class _Recorder:
    """An oracle that keeps what it is asked."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.asked: list[NDArray[np.float64]] = []

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        self.asked.append(gradient.copy())
        return self._oracle.minimize(gradient)


def _block(number: int, *, sweeps: float, last: bool = False, **changes: Any) -> Any:
    """Return a problem of a proximal descent on ten classes, after a number of sweeps."""
    seed = FIRST_SEED + number
    problem = problem_of(TASKS["ten-ternary"], seed, train_samples=4000, **changes)
    recipe, recorder = problem.recipe, _Recorder(DescentOracle(16, seed=seed))
    steps = proximal_descent(
        problem.architecture,
        problem.train.inputs,
        problem.train.labels,
        recorder,
        seed=seed,
        annealing=problem.stages[0].annealing,
        ladder=recipe.ladder,
        block_spins=recipe.block_spins,
        block_reads=recipe.block_reads,
        tried=recipe.tried,
    )
    length, rung = len(problem.block_sizes(recipe.block_spins)[0]), number % len(recipe.ladder)
    wanted = round(length * sweeps * (1 + number % 4) / 4)
    for done, step in enumerate(steps, 1):
        is_last = step.block.layer + 1 == len(problem.architecture.layers)
        if done >= wanted and is_last == last:
            return recorder.asked[rung - len(recipe.ladder)]
    raise AssertionError


def _shared(number: int, *, kernels: int, kernels_only: bool) -> NDArray[np.float64]:
    """Return a problem of a descent on shared weights."""
    seed = FIRST_SEED + number
    train = dataset().pair(*PAIRS[number % len(PAIRS)]).train
    chosen = np.random.default_rng(seed).permutation(len(train))[:4000]
    images = train.images[chosen].astype(np.float32)
    network = Convolution((images - images.mean()) / images.std(), kernels)
    recorder = _Recorder(DescentOracle(16, seed=seed))
    labels = train.labels[chosen]
    steps = descent(network, labels, recorder, seed=seed, batch=500, kernels_only=kernels_only)
    for _ in islice(steps, 1 + number % STEPS):
        pass
    return recorder.asked[number % 3 - 3]


@lru_cache(maxsize=2)
def _asked(number: int, samples: int) -> list[NDArray[np.float64]]:
    """Return what conditional gradients ask in 20 iterations."""
    recorder = _Recorder(AnnealingOracle(16, seed=FIRST_SEED + number))
    problem = LiftedProblem.lift(_image_program(number, samples))
    for _ in islice(conditional_gradient(problem, recorder), 20):
        pass
    return recorder.asked


def _image_program(number: int, samples: int) -> Qcbo:
    pair = dataset().pair(*PAIRS[number % len(PAIRS)])
    return prepare(Recipe(seed=FIRST_SEED + number, train_samples=samples), pair).task.qcbo


def _penalty(number: int, *, factor: float) -> NDArray[np.float64]:
    qcbo = _image_program(number, 20)
    return penalty_gradient(qcbo, factor * default_weight(qcbo))


def points(shape: str, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return integer coordinates (count, 2) and labels -1 and +1 of a set in the plane."""
    from sklearn.datasets import make_circles, make_moons

    if shape in UNIFORM:
        X = np.random.default_rng(seed).uniform(-SPREAD, SPREAD, (count, 2))
        return _levels(X), np.where(UNIFORM[shape](*X.T), 1, -1)
    make, options = (make_circles, {"factor": 0.5}) if shape == "circles" else (make_moons, {})
    X, y = make(count, noise=0.1, random_state=seed, **options)
    return _levels((X - X.mean(axis=0)) / X.std(axis=0)), 2 * y - 1


def _levels(X: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.rint(LEVEL * X), -REACH, REACH).astype(np.int64)


def minimal_program(shape: str, count: int, seed: int) -> tuple[Task, float]:
    """Return three ternary sign neurons and a ternary one behind them, and the least objective."""
    hidden = Layer(2, 3, weight_code("ternary"), bias_code(3))
    readout = Layer(3, 1, weight_code("ternary"), bias_code(2))
    inputs, labels = points(shape, count, seed)
    task = Task(Architecture((hidden,), readout), inputs, labels, SquaredLoss(TARGET))
    return task, least_loss(task)


def least_loss(task: Task) -> float:
    """Return the least objective of all networks: every neuron with every way to be read."""
    (hidden,), readout = task.architecture.hidden, task.architecture.readout
    rows = product(hidden.weights.values, hidden.weights.values, hidden.biases.values)
    weights = np.array(list(rows))
    inputs = np.column_stack([np.asarray(task.inputs), np.ones(len(task.inputs), np.int64)])
    signs = np.unique(np.where(weights @ inputs.T >= 0, 1, -1), axis=0)
    read = np.unique(np.concatenate([signs, -signs, 0 * signs[:1]]), axis=0)
    labels, biases = np.asarray(task.labels), np.array(readout.biases.values)
    triples = np.array(list(combinations_with_replacement(range(len(read)), 3)))
    least = np.inf
    for part in np.array_split(triples, 20):
        margins = read[part].sum(axis=1)[:, None] + biases[:, None]
        least = min(least, float(((margins - TARGET * labels) ** 2).sum(axis=2).min()))
    return least


def _minimal(number: int, *, shape: str) -> tuple[NDArray[np.float64], float]:
    """Return the penalty form of a whole network and its least value.

    No objective is negative, so that with a weight above the least one of all feasible vectors
    no infeasible vector is better.
    """
    task, least = minimal_program(shape, SAMPLES, FIRST_SEED + number)
    return penalty_gradient(task.qcbo, least + 1.0), least


NEURONS = {"block_reads": None, "block_spins": 500}
BOTH = {"hidden": 8, "weights": "binary", "block_reads": None, "block_spins": 540}

KINDS: dict[str, Callable[[int], Any]] = {
    "block of the recipe": partial(_block, sweeps=4),
    "four whole neurons": partial(_block, sweeps=4, **NEURONS),
    "last layer": partial(_block, sweeps=4, last=True, **NEURONS),
    "both layers": partial(_block, sweeps=12, **BOTH),
    "kernels": partial(_shared, kernels=8, kernels_only=True),
    "kernels and readers": partial(_shared, kernels=4, kernels_only=False),
    "xor": partial(_minimal, shape="xor"),
    "circles": partial(_minimal, shape="circles"),
    "moons": partial(_minimal, shape="moons"),
    "qcgd, iteration 1": lambda number: _asked(number, 20)[0],
    "qcgd, iteration 5": lambda number: _asked(number, 20)[4],
    "qcgd, iteration 20": lambda number: _asked(number, 20)[19],
    "qcgd, 50 images": lambda number: _asked(number, 50)[19],
    "penalty": partial(_penalty, factor=1.0),
    "penalty, tuned": partial(_penalty, factor=0.001),
}


def subproblem(kind: str, number: int) -> Subproblem:
    """Return a problem."""
    made = KINDS[kind](number)
    gradient, least = made if isinstance(made, tuple) else (made, None)
    return Subproblem(kind, number, gradient, least)
