"""Solvers beside plain conditional gradients, and what all of them have in common."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import every_vector, optimum, random_parts, random_program

from qnn_train import (
    AssemblyError,
    ExhaustiveOracle,
    LiftedProblem,
    Qcbo,
    SquaredLoss,
    Task,
    TrainingError,
    assemble,
    conditional_gradient,
    threshold_unit,
    weight_code,
)
from qnn_train.program import Parts
from qnn_train.solve import (
    Atoms,
    CoupledProblem,
    State,
    penalty_method,
)
from qnn_train.solve.lifting import Moments

seeds = st.integers(0, 2**32 - 1)


def lifted(x: np.ndarray) -> np.ndarray:
    w = np.concatenate([[1.0], x])
    return np.outer(w, w)


@given(seeds)
def test_parts_joined_are_the_sum_of_the_parts(seed):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, parts=3, private=2)
    whole = parts.joined()
    w, private = rng.integers(0, 2, 3), rng.integers(0, 2, (3, 2))
    x = np.concatenate([w, private.ravel()])
    each = [np.concatenate([w, own]) for own in private]
    pairs = list(zip(parts.programs, each, strict=True))
    assert whole.objective(x) == pytest.approx(sum(float(p.objective(v)) for p, v in pairs))
    assert whole.is_feasible(x) == all(p.is_feasible(v) for p, v in pairs)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_parts_of_a_task_make_the_same_program_as_the_whole(batch):
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    rng = np.random.default_rng(1)
    task = Task(unit, rng.choice([-1, 1], (5, 2)), rng.choice([-1, 1], 5), SquaredLoss(2))
    joined, whole = task.parts(batch).joined(), task.qcbo
    assert len(task.parts(batch)) == -(-5 // batch)
    np.testing.assert_allclose(
        joined.objective(every_vector(joined.n_bits)).min(),
        whole.objective(every_vector(whole.n_bits)).min(),
    )
    with pytest.raises(AssemblyError, match="at least 1"):
        task.parts(0)


def test_every_part_has_its_share_of_each_label():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    labels = np.repeat([-1, 1], 6)
    task = Task(unit, np.ones((12, 2), int), labels, SquaredLoss(2))
    balanced = assemble(unit, np.ones((4, 2), int), [-1, -1, 1, 1], loss=SquaredLoss(2)).qcbo
    for program in task.parts(4).programs:
        np.testing.assert_allclose(program.Q, balanced.Q)
        np.testing.assert_allclose(program.c, balanced.c)


def test_parts_smaller_than_what_is_shared_are_refused():
    program = Qcbo.from_arrays(np.eye(2))
    with pytest.raises(AssemblyError, match="fewer bits"):
        Parts(3, (program,))
    with pytest.raises(AssemblyError, match="without parts"):
        Parts(3, ())


def test_atoms_are_the_average_they_stand_for():
    rng = np.random.default_rng(2)
    atoms, W = Atoms(11), np.zeros((12, 12))
    for t in range(1, 60):
        x, eta = rng.integers(0, 2, 11), 2 / (t + 1)
        atoms.add(x, eta)
        W = (1 - eta) * W + eta * lifted(x)
    assert len(atoms) == 59
    assert atoms.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(atoms.matrix(), W, atol=1e-12)
    np.testing.assert_allclose(atoms.mean(), W[0, 1:], atol=1e-12)
    np.testing.assert_array_equal(atoms.bits[-1], x)


def test_ten_thousand_atoms_of_a_thousand_bits_take_two_megabytes():
    atoms = Atoms(1000)
    for t in range(10_000):
        atoms.add(np.zeros(1000, np.int8), 2 / (t + 2))
    assert atoms.nbytes < 2.5e6


def test_several_atoms_share_a_step():
    problem = LiftedProblem.lift(random_program(np.random.default_rng(3)))
    oracle = ExhaustiveOracle(n_samples=8)
    first = next(conditional_gradient(problem, oracle, atoms=3))
    image = np.mean([problem.image(x) for x in first.bits[:3]], axis=0)
    np.testing.assert_allclose(first.state.image, image)


def test_a_warm_start_is_the_average_of_its_atoms_and_going_on_changes_nothing():
    rng = np.random.default_rng(4)
    problem = LiftedProblem.lift(random_program(rng))
    bits = rng.integers(0, 2, (5, problem.size - 1))
    state = State.warm(problem, bits, step=9)
    W = np.mean([lifted(x) for x in bits], axis=0)
    np.testing.assert_allclose(state.image, problem.residual(W), atol=1e-12)
    through = list(islice(conditional_gradient(problem, ExhaustiveOracle(), state=state), 6))
    again = conditional_gradient(problem, ExhaustiveOracle(), state=through[2].state)
    for one, other in zip(through[3:], again, strict=False):
        assert one.step == other.step
        assert one.calls == other.calls
        np.testing.assert_array_equal(one.state.image, other.state.image)
        np.testing.assert_array_equal(one.state.dual, other.state.dual)
    with pytest.raises(TrainingError, match="warm start from nothing"):
        State.warm(problem, bits, step=0)


def test_bounds_of_an_exact_oracle_stay_below_the_optimum():
    rng = np.random.default_rng(5)
    for _ in range(10):
        qcbo = random_program(rng)
        best = optimum(qcbo)
        for solver in (
            conditional_gradient(LiftedProblem.lift(qcbo), ExhaustiveOracle(), penalty=30.0),
            penalty_method(qcbo, ExhaustiveOracle(), weights=[0.3, 3.0]),
        ):
            for iterate in islice(solver, 40):
                assert iterate.bound <= best + 1e-9


@given(seeds, st.sampled_from([1, 2]))
def test_moments_and_their_adjoint_agree(seed, order):
    rng = np.random.default_rng(seed)
    moments = Moments(4, order)
    x, z = rng.integers(0, 2, 6).astype(float), rng.normal(size=len(moments))
    assert moments.of(x) @ z == pytest.approx(np.sum(lifted(x) * moments.adjoint(z, 7)))


def test_only_moments_of_order_one_and_two_are_known():
    with pytest.raises(TrainingError, match="order 3"):
        Moments(4, 3)


@given(seeds, st.sampled_from([1, 2]))
@settings(max_examples=30)
def test_the_gradients_of_the_parts_are_the_adjoint_of_what_must_vanish(seed, order):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, parts=3)
    problem = CoupledProblem.lift(parts, order=order)
    x, z = rng.integers(0, 2, parts.n_bits), rng.normal(size=problem.n_constraints)
    # Multipliers of the moments add up to zero in every run.
    own = problem.n_constraints - 3 * len(problem.moments)
    pulls = z[own:].reshape(3, -1)
    z[own:] = (pulls - pulls.mean(axis=0)).ravel()
    total = sum(
        np.sum(lifted(bits) * G)
        for bits, G in zip(problem._bits(x), problem.gradients(z), strict=True)
    )
    assert total == pytest.approx(problem.objective(x) + z @ problem.image(x), abs=1e-9)


def test_multipliers_of_moments_add_up_to_zero_and_equal_parts_agree():
    rng = np.random.default_rng(7)
    parts = random_parts(rng, parts=3)
    problem = CoupledProblem.lift(parts, order=2)
    for iterate in islice(conditional_gradient(problem, ExhaustiveOracle()), 30):
        duals = iterate.state.dual[-3 * len(problem.moments) :].reshape(3, -1)
        np.testing.assert_allclose(duals.sum(axis=0), 0.0, atol=1e-12)
    same = Parts(3, parts.programs[:1] * 2)
    one = next(conditional_gradient(CoupledProblem.lift(same), ExhaustiveOracle()))
    assert np.linalg.norm(one.state.image[-6:]) == 0.0
