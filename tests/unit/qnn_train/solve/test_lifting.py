"""Lifting, multipliers, oracles, and the choice among samples."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import Capabilities, Driver, Program, Readout, StopToken, open_device
from qnn_train import (
    AssemblyError,
    ExhaustiveOracle,
    HingeLoss,
    LiftedProblem,
    Qcbo,
    QuantizedNetwork,
    Scorer,
    SessionOracle,
    Spline,
    SquaredLoss,
    TrainingError,
    assemble,
    conditional_gradient,
    layered_network,
    majority_network,
    one_against_rest,
    threshold_unit,
    train,
    weight_code,
)
from qnn_train.program import Gates, LinearConstraints, Products
from qnn_train.solve import BoundedDual, Extractor, FixedDual


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


def test_the_exhaustive_oracle_ranks_every_vector():
    rng = np.random.default_rng(7)
    G = rng.normal(size=(5, 5))
    G = G + G.T
    answer = ExhaustiveOracle(n_samples=16).minimize(G)
    expected = sorted(
        float(w @ G @ w) for w in (np.array([1, *x]) for x in product((0, 1), repeat=4))
    )
    np.testing.assert_allclose(answer.values, expected, atol=1e-12)
    w = np.array([1, *answer.best])
    assert w @ G @ w == pytest.approx(expected[0])
    with pytest.raises(AssemblyError, match="too many"):
        ExhaustiveOracle().minimize(np.zeros((30, 30)))


class Guessing(Driver):
    """Random spins from the program's seed."""

    def describe(self) -> Capabilities:
        return Capabilities(name="guessing", max_spins=50, coupling_bits=8, reproducible=True)

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        return Readout(rng.choice([-1, 1], (program.n_runs, program.n_spins)))


def test_a_session_returns_all_samples_with_values_of_the_gradient_itself():
    rng = np.random.default_rng(8)
    G = rng.normal(size=(7, 7))
    G = G + G.T
    with open_device(Guessing()) as session:
        oracle = SessionOracle(session, n_runs=9, seed=3, coupling_bits=4)
        first, second = oracle.minimize(G), oracle.minimize(G)
        again = SessionOracle(session, n_runs=9, seed=3, coupling_bits=4).minimize(G)
    for answer in (first, second):
        w = np.hstack([np.ones((9, 1)), answer.bits])
        np.testing.assert_allclose(answer.values, np.einsum("ri,ij,rj->r", w, G, w), atol=1e-10)
        assert (np.diff(answer.values) >= 0).all()
    assert oracle.calls == 2
    assert (first.bits != second.bits).any()
    np.testing.assert_array_equal(first.bits, again.bits)


@given(seeds)
def test_scores_are_those_of_the_network_on_every_image(seed):
    rng = np.random.default_rng(seed)
    votes = majority_network(3, 3, weights=weight_code("binary"), bias_bits=1)
    inputs, labels = rng.choice([-1, 1], (40, 3)), rng.choice([-1, 1], 40)
    networks = QuantizedNetwork.from_bits(votes, rng.integers(0, 2, (5, votes.n_bits)))
    accuracy, losses = Scorer(inputs, labels).score(networks)
    np.testing.assert_allclose(accuracy, (networks.predict(inputs) == labels).mean(axis=1))
    for candidate in range(5):
        sums = networks[candidate].forward(inputs)[-1]
        wrong, u = (sums >= 0) != (labels > 0)[:, None], sums.mean(axis=1)
        kappa = max(u @ labels / max(u @ u, 1e-300), 0.0)
        expected = wrong.mean(), np.mean((kappa * u - labels) ** 2)
        assert losses[candidate] == pytest.approx(expected, abs=1e-6)


@given(seeds)
def test_of_several_outputs_the_largest_counts_and_losses_are_one_against_the_rest(seed):
    rng = np.random.default_rng(seed)
    network = layered_network((3, 3), weights="2bit", biases="1bit")
    inputs, classes = rng.choice([-1, 1], (40, 3)), rng.integers(0, 3, 40)
    labels = one_against_rest(classes, 3)
    networks = QuantizedNetwork.from_bits(network, rng.integers(0, 2, (5, network.n_bits)))
    accuracy, losses = Scorer(inputs, labels).score(networks)
    np.testing.assert_allclose(accuracy, (networks.predict(inputs) == classes).mean(axis=1))
    for candidate in range(5):
        margins = networks[candidate].margin(inputs)
        wrong = ((margins >= 0) != (labels > 0)).mean()
        analog = 0.0
        for u, y in zip(margins.T, labels.T, strict=True):
            kappa = max(u @ y / max(u @ u, 1e-300), 0.0)
            analog += np.mean((kappa * u - y) ** 2) / 3
        assert losses[candidate] == pytest.approx((wrong, analog), abs=1e-6)


def test_labels_and_networks_of_different_numbers_of_outputs_are_refused():
    network = QuantizedNetwork.from_bits(layered_network((2, 3)), np.zeros(6))
    with pytest.raises(TrainingError, match="labels of 1 outputs"):
        Scorer([[1, 1]], [1]).score(network)


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


def test_among_equally_accurate_networks_the_unanimous_one_is_kept():
    votes = majority_network(1, 3, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(votes, Scorer([[1], [-1]], [1, -1]))
    extractor.add(np.array([[1, 1, 0], [0, 1, 1]], dtype=np.int8))
    best = extractor.add(np.array([[1, 1, 1], [1, 0, 1]], dtype=np.int8))
    np.testing.assert_array_equal(best.network.weights[0].ravel(), [1, 1, 1])
    assert best.losses == pytest.approx((0.0, 0.0))


def test_the_best_candidate_is_kept_and_each_counts_once():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(unit, Scorer([[1, 1], [-1, -1], [1, 1]], [1, -1, 1]))
    bad = extractor.add(np.array([[0, 0]], dtype=np.int8))
    good = extractor.add(np.array([[1, 1], [0, 0]], dtype=np.int8))
    kept = extractor.add(np.array([[0, 1]], dtype=np.int8))
    assert bad.accuracy < good.accuracy == 1.0
    assert kept is good
    assert extractor.n_candidates == 3


def test_an_oracle_without_samples_is_an_error():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(unit, Scorer([[1, 1]], [1]))
    with pytest.raises(TrainingError, match="no sample"):
        extractor.add(np.zeros((0, 2), dtype=np.int8))


@pytest.mark.parametrize(
    ("inputs", "labels", "sentence"),
    [
        ([[1, 1, 1]], [1], "inputs have shape"),
        ([[1, 1]], [1, 1], "labels have shape"),
        ([[1, 1]], [2], "-1 or \\+1"),
        ([[0.5, 1]], [1], "integers"),
    ],
)
def test_samples_that_make_no_program_are_refused(inputs, labels, sentence):
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    with pytest.raises(AssemblyError, match=sentence):
        assemble(unit, inputs, labels, loss=SquaredLoss(1.0))
