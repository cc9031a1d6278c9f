"""Lifted problems: their adjoints and norms, their multipliers, and what they are solved to."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    ExhaustiveOracle,
    HingeLoss,
    LiftedProblem,
    Qcbo,
    Scorer,
    Spline,
    SquaredLoss,
    assemble,
    conditional_gradient,
    layered_network,
    one_against_rest,
    train,
)
from qnn_train.program import Gates, LinearConstraints, Products
from qnn_train.solve import BoundedDual, FixedDual


def random_problem(rng: np.random.Generator, n: int = 7) -> tuple[Qcbo, LiftedProblem]:
    rows = rng.integers(-3, 4, (3, n)).astype(float)
    rows[:, 0] = 1
    triples = np.array([rng.permutation(n)[:3] for _ in range(4)])
    gates = np.array([[*rng.permutation(n)[:2], opens] for opens in (0, 1, 1)])
    qcbo = Qcbo.from_arrays(
        rng.normal(size=(n, n)),
        rng.normal(size=n),
        1.5,
        equalities=LinearConstraints(sp.csr_array(rows), rng.integers(-2, 3, 3).astype(float)),
        products=Products(triples),
        gates=Gates(gates),
    )
    return qcbo, LiftedProblem.lift(qcbo)


def lifted(x: np.ndarray) -> np.ndarray:
    w = np.concatenate([[1.0], x])
    return np.outer(w, w)


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_the_adjoint_identity_holds_to_rounding(seed):
    rng = np.random.default_rng(seed)
    _, problem = random_problem(rng)
    W = rng.normal(size=(problem.size, problem.size))
    W = W + W.T
    z = rng.normal(size=problem.n_constraints)
    left, right = problem.residual(W) @ z, np.sum(W * problem.adjoint(z))
    assert left == pytest.approx(right, abs=1e-12 * np.linalg.norm(W) * np.linalg.norm(z))


@given(seeds)
def test_images_of_atoms_vanish_exactly_on_feasible_vectors_and_are_never_negative(seed):
    rng = np.random.default_rng(seed)
    qcbo, problem = random_problem(rng)
    for x in rng.integers(0, 2, (30, qcbo.n_bits)):
        image = problem.image(x)
        np.testing.assert_allclose(image, problem.residual(lifted(x)), atol=1e-12)
        assert (image >= 0).all()
        assert (image.max() < 1e-12) == qcbo.is_feasible(x)


@given(seeds)
def test_the_lifted_objective_is_the_objective(seed):
    rng = np.random.default_rng(seed)
    qcbo, problem = random_problem(rng)
    x = rng.integers(0, 2, qcbo.n_bits)
    value = problem.objective_scale * problem.objective(x)
    assert value == pytest.approx(float(qcbo.objective(x)), abs=1e-9)


def test_objective_and_constraints_have_norm_one():
    _, problem = random_problem(np.random.default_rng(1))
    assert np.linalg.norm(problem.C) == pytest.approx(1.0)
    for unit in np.eye(problem.n_constraints):
        row = problem.adjoint(unit)
        assert np.linalg.norm(row) == pytest.approx(1.0)
        np.testing.assert_array_equal(row, row.T)


def test_the_operator_norm_is_that_of_the_gram_matrix():
    _, problem = random_problem(np.random.default_rng(2))
    rows = np.array([problem.adjoint(unit).ravel() for unit in np.eye(problem.n_constraints)])
    largest = np.linalg.svd(rows, compute_uv=False)[0]
    assert problem.squared_norm() == pytest.approx(largest**2, rel=1e-4)


def test_what_is_tracked_of_the_average_is_the_image_of_the_atoms():
    _, problem = random_problem(np.random.default_rng(3))
    W = np.zeros((problem.size, problem.size))
    for iterate in islice(conditional_gradient(problem, ExhaustiveOracle()), 40):
        eta = 2 / (iterate.step + 1)
        W = (1 - eta) * W + eta * lifted(iterate.atom)
        assert iterate.infeasibility == pytest.approx(np.linalg.norm(problem.residual(W)))
        assert iterate.objective == pytest.approx(problem.objective_scale * np.sum(problem.C * W))


def test_multipliers_stay_within_their_bound():
    rule = BoundedDual(1.0, reach=1e9, bound=2.0)
    inside = rule.move(np.zeros(2), np.array([1.0, 0.0]), step=1)
    np.testing.assert_array_equal(inside, [1.0, 0.0])
    np.testing.assert_array_equal(rule.move(inside, np.array([5.0, 0.0]), step=2), inside)
    np.testing.assert_array_equal(rule.move(inside, np.zeros(2), step=3), inside)


def test_the_bounded_rule_takes_the_step_of_its_formula():
    residual, step = np.array([3.0, 4.0]), 5
    gamma = 4 * np.sqrt(step + 2) * (2 / (step + 1)) ** 2 * 0.5 / 25
    moved = BoundedDual(1.0, reach=0.5).move(np.zeros(2), residual, step=step)
    np.testing.assert_allclose(moved, gamma * residual)
    np.testing.assert_allclose(FixedDual(0.25).move(np.ones(2), residual, step=step), [1.75, 2.0])


def test_three_classes_are_learned_in_one_program():
    network = layered_network((3, 3), weights="ternary")
    classes = np.array([2, 0, 1])
    inputs = one_against_rest(np.arange(3), 3)
    labels = one_against_rest(classes, 3)
    assembly = assemble(network, inputs, labels, loss=SquaredLoss(1))
    best = next(train(assembly, ExhaustiveOracle(), Scorer(inputs, labels))).best
    assert best.accuracy == 1.0
    np.testing.assert_array_equal(best.network.predict(inputs), classes)


def test_a_program_with_gates_is_solved_by_conditional_gradients():
    network = layered_network((2, 1, 1), activation=Spline.relu())
    assembly = assemble(network, [[1, 1], [1, -1]], [1, -1], loss=HingeLoss(2))
    assert len(assembly.qcbo.gates)
    problem = LiftedProblem.lift(assembly.qcbo)
    oracle = ExhaustiveOracle(n_samples=1)
    atoms = [i.atom for i in islice(conditional_gradient(problem, oracle, penalty=10.0), 40)]
    feasible = np.array(atoms)[assembly.qcbo.is_feasible(atoms)]
    every = (np.arange(8)[:, None] >> np.arange(3)) & 1
    least = assembly.qcbo.objective(assembly.complete(every)).min()
    assert assembly.qcbo.objective(feasible).min() == least > 0
