"""Oracles by exhaustion and by a session: all samples, with the values of the gradient itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cim_hal import Capabilities, Driver, Program, Readout, StopToken, open_device
from qnn_train import (
    AssemblyError,
    ExhaustiveOracle,
    Scorer,
    SessionOracle,
    TrainingError,
    threshold_unit,
    weight_code,
)
from qnn_train.solve import Extractor


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


class GuessingCim(Driver):
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
    with open_device(GuessingCim()) as session:
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


def test_an_oracle_without_samples_is_an_error():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(unit, Scorer([[1, 1]], [1]))
    with pytest.raises(TrainingError, match="no sample"):
        extractor.add(np.zeros((0, 2), dtype=np.int8))
