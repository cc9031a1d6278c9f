"""The lifted problem has the optimum of the program; its decomposition is never above it.

Both are linear programs over the weights of all atoms, and are solved as such.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from programs import every_vector, feasible_vectors, optimum, random_parts, random_program
from scipy.optimize import linprog

from qnn_train import ExhaustiveOracle, LiftedProblem, Qcbo, conditional_gradient
from qnn_train.program import Parts, Products
from qnn_train.solve import CoupledProblem
from qnn_train.solve.lifting import Moments

SOME, MANY = 40, 240
TOLERANCE = 1e-6  # of the linear program's solver, for objectives of order 10


def counts(some: int, many: int) -> list:
    return [pytest.param(some), pytest.param(many, marks=pytest.mark.slow)]


def least_average(values: np.ndarray, rows: np.ndarray) -> float:
    """Minimize the mean of `values` over distributions on which the mean of each row is 0."""
    equal = np.vstack([rows, np.ones(len(values))])
    right = np.zeros(len(equal))
    right[-1] = 1.0
    solved = linprog(values, A_eq=equal, b_eq=right, bounds=(0, None), method="highs")
    assert solved.status == 0, solved.message
    return float(solved.fun)


def lifted_optimum(qcbo: Qcbo) -> float:
    vectors = every_vector(qcbo.n_bits)
    problem = LiftedProblem.lift(qcbo)
    images = np.array([problem.image(x) for x in vectors]).T
    return least_average(qcbo.objective(vectors), images)


def decomposed_optimum(parts: Parts, order: int) -> float:
    """Distributions of each part on its feasible vectors, their moments equal to the first's."""
    moments = Moments(parts.shared, order)
    feasible = [feasible_vectors(program) for program in parts.programs]
    of_each = [np.array([moments.of(x.astype(float)) for x in one]).T for one in feasible]
    pairs = zip(parts.programs, feasible, strict=True)
    values = np.concatenate([program.objective(x) for program, x in pairs])
    sizes = [len(one) for one in feasible]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows, right = [], []
    for part, size in enumerate(sizes):
        columns = slice(starts[part], starts[part] + size)
        total = np.zeros((1, starts[-1]))
        total[0, columns] = 1.0
        rows.append(total)
        right.append(np.ones(1))
        if part:
            difference = np.zeros((len(moments), starts[-1]))
            difference[:, columns] = of_each[part]
            difference[:, : sizes[0]] = -of_each[0]
            rows.append(difference)
            right.append(np.zeros(len(moments)))
    solved = linprog(
        values, A_eq=np.vstack(rows), b_eq=np.concatenate(right), bounds=(0, None), method="highs"
    )
    assert solved.status == 0, solved.message
    return float(solved.fun)


@pytest.mark.parametrize("n_programs", counts(SOME, MANY))
def test_the_lifted_optimum_is_the_optimum_by_trying_all(n_programs):
    rng = np.random.default_rng(240)
    for _ in range(n_programs):
        qcbo = random_program(rng, sizes=(5, 8))
        assert lifted_optimum(qcbo) == pytest.approx(optimum(qcbo), abs=TOLERANCE)


def test_a_raw_bilinear_equality_would_be_lifted_to_something_lower():
    """The control: x₀x₁ - y may be negative, so that its average vanishes without it."""
    rng = np.random.default_rng(30)
    lower = 0
    for _ in range(SOME):
        program = Qcbo.from_arrays(
            rng.normal(size=(4, 4)), rng.normal(size=4), products=Products(np.array([[0, 1, 2]]))
        )
        x = every_vector(4)
        raw = (x[:, 0] * x[:, 1] - x[:, 2])[None].astype(float)
        lower += least_average(program.objective(x), raw) < optimum(program) - TOLERANCE
        assert lifted_optimum(program) == pytest.approx(optimum(program), abs=TOLERANCE)
    assert lower > 0


@pytest.mark.parametrize("n_programs", counts(30, 120))
def test_the_decomposed_value_is_a_lower_bound_and_second_moments_tighten_it(n_programs):
    rng = np.random.default_rng(120)
    gaps = []
    for _ in range(n_programs):
        parts = random_parts(rng, shared=4, private=2, parts=int(rng.integers(2, 5)))
        whole = optimum(parts.joined())
        first, second = decomposed_optimum(parts, 1), decomposed_optimum(parts, 2)
        assert first <= second + TOLERANCE
        assert second <= whole + TOLERANCE
        gaps.append((whole - first, whole - second))
    loose, tight = np.mean(np.array(gaps) > 1e-3, axis=0)
    assert tight <= loose
    assert loose > 0  # else neither says anything


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("n_programs", counts(4, 20))
def test_the_descent_on_parts_bounds_the_whole_from_below(order, n_programs):
    rng = np.random.default_rng(order)
    closeness = []
    for _ in range(n_programs):
        parts = random_parts(rng, shared=3, private=2, parts=2)
        value = decomposed_optimum(parts, order)
        steps = conditional_gradient(
            CoupledProblem.lift(parts, order=order), ExhaustiveOracle(), penalty=10.0
        )
        *_, last = islice(steps, 400)
        assert last.bound <= value + TOLERANCE
        closeness.append((value - last.bound) / CoupledProblem.lift(parts).objective_scale)
    assert np.median(closeness) < 0.05
