"""Oracles made worse on purpose, and one that only guesses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import every_vector

from cim_hal import Capabilities, Driver, Program, Readout, StopToken, open_device
from qnn_train import ExhaustiveOracle, SessionOracle, TrainingError
from qnn_train.solve import NoisyOracle, QuantizedOracle, RandomizedOracle, RandomOracle
from qnn_train.solve.oracle import evaluate, from_ising, to_ising

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
    with pytest.raises(TrainingError, match="from 2"):
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


@pytest.mark.parametrize("value", [float("nan"), -1, "1", None, True, {}])
def test_wrong_options_are_refused_by_name_before_any_answer(value):
    oracle = ExhaustiveOracle()
    for name, make in {
        "bits": lambda: QuantizedOracle(oracle, value),
        "noise": lambda: NoisyOracle(oracle, value, seed=0),
        "success": lambda: RandomizedOracle(oracle, value, seed=0),
        "n_samples": lambda: RandomOracle(value, seed=0),
        "seed": lambda: RandomOracle(1, seed=value),
    }.items():
        with pytest.raises(TrainingError, match=f"^{name} = "):
            make()
