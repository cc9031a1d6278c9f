"""Oracles made worse on purpose, packed, or asked about many problems at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import every_vector

from cim_hal import Capabilities, Driver, IsingModel, Program, Readout, StopToken, open_device
from qnn_train import ExhaustiveOracle, SessionOracle, TrainingError
from qnn_train.solve import (
    NoisyOracle,
    PackedOracle,
    QuantizedOracle,
    RandomizedOracle,
    RandomOracle,
    minimize_all,
)
from qnn_train.solve.oracle import evaluate, from_ising, qubo_of, to_ising

seeds = st.integers(0, 2**32 - 1)


def random_gradient(rng: np.random.Generator, n: int) -> np.ndarray:
    G = rng.normal(size=(n + 1, n + 1))
    return G + G.T


class Exhaustive(Driver):
    """The ground states of what it is given, found by trying all."""

    def describe(self) -> Capabilities:
        return Capabilities(name="exhaustive", max_spins=11, coupling_bits=8, reproducible=True)

    def run(self, program: Program, stop: StopToken) -> Readout:
        J = program.dense_coupling().astype(float)
        spins = 2 * every_vector(program.n_spins).astype(int) - 1
        energies = -0.5 * np.einsum("ri,ij,rj->r", spins, J, spins)
        order = np.argsort(energies, kind="stable")[: program.n_runs]
        return Readout(spins[order])


@given(seeds)
def test_the_ising_form_has_the_same_values_and_leads_back(seed):
    rng = np.random.default_rng(seed)
    G = random_gradient(rng, 6)
    M = to_ising(G)
    x = every_vector(6)
    w, s = (np.hstack([np.ones((64, 1)), v]) for v in (x, 2.0 * x - 1))
    values = np.einsum("ri,ij,rj->r", w, G, w)
    np.testing.assert_allclose(np.einsum("ri,ij,rj->r", s, M, s), values, atol=1e-9)
    np.testing.assert_allclose(from_ising(M), G, atol=1e-9)
    model = IsingModel.from_qubo(*qubo_of(G))
    np.testing.assert_allclose(-2 * (M - np.diag(np.diag(M)))[1:, 1:], model.J, atol=1e-9)


@given(seeds, st.integers(2, 8))
def test_a_quantized_oracle_answers_as_a_machine_of_as_few_bits(seed, bits):
    G = random_gradient(np.random.default_rng(seed), 6)
    # Two runs: a ground state, and itself with all spins turned, the machine having no field.
    with open_device(Exhaustive()) as session:
        first = SessionOracle(session, n_runs=2, seed=0, coupling_bits=bits).minimize(G)
    rounded = from_ising(_rounded(to_ising(G), bits))
    least = evaluate(rounded, every_vector(6)).values[0]
    answered = evaluate(rounded, QuantizedOracle(ExhaustiveOracle(), bits).minimize(G).bits)
    assert answered.values[0] == pytest.approx(least, abs=1e-9)
    assert evaluate(rounded, first.bits).values[0] == pytest.approx(least, abs=1e-9)


def _rounded(M: np.ndarray, bits: int) -> np.ndarray:
    step = np.abs(np.triu(M, 1)).max() / (2 ** (bits - 1) - 1)
    return np.rint(M / step) * step


def test_couplings_of_one_bit_are_refused():
    with pytest.raises(TrainingError, match="at least 2"):
        QuantizedOracle(ExhaustiveOracle(), 1)


def test_noise_is_as_strong_as_said_and_values_are_those_of_the_gradient():
    G = random_gradient(np.random.default_rng(0), 40)
    seen = []

    class Recording:
        def minimize(self, gradient):
            seen.append(gradient)
            return RandomOracle(3, seed=1).minimize(gradient)

    answer = NoisyOracle(Recording(), 0.05, seed=2).minimize(G)
    noise = np.triu(to_ising(seen[0]) - to_ising(G), 1)[np.triu_indices(41, 1)]
    largest = np.abs(np.triu(to_ising(G), 1)).max()
    error = 4 / np.sqrt(2 * len(noise))  # of a standard deviation, 4 sigma
    assert noise.std() == pytest.approx(0.05 * largest, rel=error)
    np.testing.assert_allclose(answer.values, evaluate(G, answer.bits).values)
    assert (np.diff(answer.values) >= 0).all()


def test_a_randomized_oracle_is_right_as_often_as_said():
    G = random_gradient(np.random.default_rng(3), 8)
    best = ExhaustiveOracle().minimize(G).values[0]
    oracle = RandomizedOracle(ExhaustiveOracle(), 0.7, seed=4)
    right = np.mean([oracle.minimize(G).values[0] == pytest.approx(best) for _ in range(400)])
    by_luck = 0.3 / 256
    assert right == pytest.approx(0.7 + by_luck, abs=4 * np.sqrt(0.21 / 400))


def test_a_guess_has_as_many_samples_as_asked_for_the_best_first():
    G = random_gradient(np.random.default_rng(5), 9)
    answer = RandomOracle(20, seed=6).minimize(G)
    assert answer.bits.shape == (20, 9)
    assert (np.diff(answer.values) >= 0).all()


@given(seeds)
def test_packed_problems_are_answered_as_if_each_were_alone(seed):
    rng = np.random.default_rng(seed)
    gradients = [random_gradient(rng, n) for n in (3, 5, 2, 6)]
    packed = PackedOracle(ExhaustiveOracle(), 10).minimize_all(gradients)
    alone = [ExhaustiveOracle().minimize(gradient) for gradient in gradients]
    for one, other in zip(packed, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-9)
    assert [answer.cost for answer in packed] == [1, 0, 0, 1]


def test_each_block_is_ranked_by_itself():
    rng = np.random.default_rng(7)
    gradients = [random_gradient(rng, 12) for _ in range(3)]
    answers = PackedOracle(RandomOracle(30, seed=8), 36).minimize_all(gradients)
    for gradient, answer in zip(gradients, answers, strict=True):
        assert (np.diff(answer.values) >= 0).all()
        np.testing.assert_allclose(answer.values, evaluate(gradient, answer.bits).values)
    order = [set(map(bytes, answer.bits[:1])) for answer in answers]
    assert len(order) == 3


def test_a_problem_larger_than_a_task_is_refused():
    with pytest.raises(TrainingError, match="12 bits for a task of 10"):
        PackedOracle(RandomOracle(1, seed=0), 10).minimize(np.zeros((13, 13)))


def test_jobs_queued_ahead_give_the_answers_of_one_after_the_other():
    rng = np.random.default_rng(9)
    gradients = [random_gradient(rng, 7) for _ in range(7)]
    with open_device("emulator") as session:
        ahead = SessionOracle(session, n_runs=4, seed=1, ahead=3)
        together = minimize_all(ahead, gradients)
        waiting = SessionOracle(session, n_runs=4, seed=1)
        alone = [waiting.minimize(gradient) for gradient in gradients]
    assert ahead.calls == waiting.calls == 7
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)


def test_what_waits_is_cancelled_when_a_job_fails():
    class Failing:
        def __init__(self):
            self.cancelled = 0

        def submit(self, model, schedule=None, **options):
            return self

        def result(self):
            raise KeyboardInterrupt

        def cancel(self):
            self.cancelled += 1

    sampler = Failing()
    with pytest.raises(KeyboardInterrupt):
        SessionOracle(sampler, n_runs=1, seed=0, ahead=3).minimize_all([np.eye(3)] * 5)
    assert sampler.cancelled == 3
