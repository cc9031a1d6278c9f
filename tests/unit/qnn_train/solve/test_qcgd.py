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
    Scorer,
    SquaredLoss,
    Task,
    TrainingError,
    assemble,
    conditional_gradient,
    threshold_unit,
    train,
    weight_code,
)
from qnn_train.program import Parts
from qnn_train.solve import (
    Atoms,
    CoupledProblem,
    PackedOracle,
    RandomOracle,
    RhoSchedule,
    State,
    default_weight,
    penalty_method,
    progressive_hedging,
    random_search,
)
from qnn_train.solve.hedging import period
from qnn_train.solve.lifting import Moments
from qnn_train.solve.penalty import penalty_gradient
from qnn_train.training.methods import METHODS

seeds = st.integers(0, 2**32 - 1)


def logical_and() -> Task:
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    return Task(unit, [[-1, -1], [-1, 1], [1, -1], [1, 1]], [-1, -1, -1, 1], SquaredLoss(1))


def lifted(x: np.ndarray) -> np.ndarray:
    w = np.concatenate([[1.0], x])
    return np.outer(w, w)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_logical_and_and_counts_its_calls(name):
    task = logical_and()
    oracle = ExhaustiveOracle(n_samples=4)
    steps = list(
        islice(train(task, oracle, Scorer(task.inputs, task.labels), method=METHODS[name]), 6)
    )
    assert steps[-1].best.accuracy == 1.0
    assert [step.iterate.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert (np.diff([step.iterate.calls for step in steps]) >= 1).all()
    assert METHODS[name].about


def test_parts_need_a_task():
    task = logical_and()
    with pytest.raises(TrainingError, match="no parts"):
        METHODS["qph"].start(task.assembly, ExhaustiveOracle())


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


@given(seeds)
@settings(max_examples=25)
def test_the_default_weight_makes_the_penalty_form_exact(seed):
    qcbo = random_program(np.random.default_rng(seed))
    answer = next(penalty_method(qcbo, ExhaustiveOracle()))
    assert answer.infeasibility == pytest.approx(0.0, abs=1e-12)
    assert answer.objective == pytest.approx(optimum(qcbo))


def test_weights_take_turns_and_a_penalty_run_goes_on_where_it_was():
    qcbo = random_program(np.random.default_rng(6))
    steps = list(islice(penalty_method(qcbo, ExhaustiveOracle(), weights=[1.0, 2.0, 4.0]), 5))
    assert [step.state.weight for step in steps] == [1.0, 2.0, 4.0, 1.0, 2.0]
    state = steps[1].state
    again = penalty_method(qcbo, ExhaustiveOracle(), weights=[1.0, 2.0, 4.0], state=state)
    assert next(again).state == steps[2].state
    with pytest.raises(TrainingError, match="positive"):
        next(penalty_method(qcbo, ExhaustiveOracle(), weights=[-1.0]))


@given(seeds)
def test_the_penalty_form_is_the_objective_plus_weighted_violations(seed):
    rng = np.random.default_rng(seed)
    qcbo = random_program(rng)
    x = rng.integers(0, 2, qcbo.n_bits)
    w = np.concatenate([[1], x])
    violated = (qcbo.equalities.residual(x) ** 2).sum() + qcbo.products.penalty(x).sum()
    value = float(qcbo.objective(x)) + 2.5 * violated
    assert w @ penalty_gradient(qcbo, 2.5) @ w == pytest.approx(value, abs=1e-9)


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


@given(seeds)
@settings(max_examples=15)
def test_multipliers_of_hedging_add_up_to_zero_at_every_step(seed):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, parts=4)
    for iterate in islice(progressive_hedging(parts, ExhaustiveOracle(), weight=5.0), 15):
        np.testing.assert_allclose(iterate.state.multipliers.sum(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(iterate.state.copies.mean(axis=0), iterate.state.mean)
        assert iterate.calls == 4 * iterate.step


def test_equal_parts_agree_at_once():
    parts = random_parts(np.random.default_rng(8), parts=1)
    twice = Parts(3, parts.programs * 2)
    first = next(progressive_hedging(twice, ExhaustiveOracle()))
    assert first.state.agrees
    shared = first.atom[:3]
    np.testing.assert_array_equal(first.bits[0], shared)


def test_a_hedging_run_goes_on_where_it_was():
    parts = random_parts(np.random.default_rng(9), parts=3)
    through = list(islice(progressive_hedging(parts, ExhaustiveOracle()), 8))
    again = progressive_hedging(parts, ExhaustiveOracle(), state=through[3].state)
    for one, other in zip(through[4:], again, strict=False):
        np.testing.assert_array_equal(one.atom, other.atom)
        np.testing.assert_array_equal(one.state.multipliers, other.state.multipliers)
    with pytest.raises(TrainingError, match="penalty weight"):
        next(progressive_hedging(parts, ExhaustiveOracle(), weight=0.0))


@pytest.mark.parametrize(
    ("history", "length"),
    [("abab", 2), ("xabcabc", 3), ("aaaa", 0), ("abac", 0), ("ab", 0), ("", 0)],
)
def test_a_circle_is_a_pattern_seen_twice_over(history, length):
    assert period(tuple(letter.encode() for letter in history)) == length


def test_a_circle_raises_rho():
    schedule = RhoSchedule(first=0.1, last=1.0, steps=11)
    assert schedule.at(0, 0) == pytest.approx(0.1)
    assert schedule.at(5, 0) == pytest.approx(0.1**0.5)
    assert schedule.at(99, 0) == pytest.approx(1.0)
    assert schedule.at(99, 2) == pytest.approx(4.0)


def test_copies_that_run_in_a_circle_are_noticed_and_let_out():
    """Two parts want opposite bits, and the oracle repeats two answers whatever it is asked."""
    parts = Parts(1, (Qcbo.from_arrays([[1.0]]), Qcbo.from_arrays([[-1.0]])))

    class Circling:
        def __init__(self):
            self.asked = 0

        def minimize(self, gradient):
            self.asked += 1
            bits = np.array([[(self.asked // 2 + self.asked) % 2]], np.int8)
            return RandomOracle(1, seed=0).minimize(gradient).__class__(bits, np.zeros(1))

    states = [i.state for i in islice(progressive_hedging(parts, Circling()), 12)]
    assert states[-1].circles > 0
    assert states[-1].rho > RhoSchedule().at(11, 0)


def test_packed_parts_cost_fewer_calls():
    parts = random_parts(np.random.default_rng(10), parts=3)
    iterate = next(progressive_hedging(parts, PackedOracle(RandomOracle(4, seed=0), 12)))
    assert iterate.calls == 2


def test_random_weights_are_the_same_for_the_same_seed_from_any_step():
    through = list(islice(random_search(9, n_samples=5, seed=1), 4))
    again = next(random_search(9, n_samples=5, seed=1, state=through[1].state))
    np.testing.assert_array_equal(again.bits, through[2].bits)
    assert again.bits.shape == (5, 9)
    assert again.calls == 3


def test_the_default_weight_is_one_more_than_the_range_by_coefficients():
    assert default_weight(Qcbo.from_arrays([[1.0, -2.0], [-2.0, 0.0]], [0.5, -3.0])) == 9.5
