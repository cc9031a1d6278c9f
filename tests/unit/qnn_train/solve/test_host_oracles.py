"""Searches on the host that stand in the place of a machine, and the polish of its samples."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    AnnealingOracle,
    AssemblyError,
    DescentOracle,
    ExactOracle,
    ExhaustiveOracle,
    PolishedOracle,
    TrainingError,
)
from qnn_train.solve import HardnessProbe, RandomOracle, minimize_all
from qnn_train.solve.oracle import evaluate


def gradient(n_bits, seed=0):
    G = np.random.default_rng(seed).normal(size=(n_bits + 1, n_bits + 1))
    return G + G.T


def can_improve(G, bits):
    """Tell whether a sample has a flip that lowers its value by more than rounding."""
    flipped = np.repeat(bits[None], len(bits), axis=0) ^ np.eye(len(bits), dtype=np.int8)
    here = evaluate(G, bits[None]).values[0]
    return evaluate(G, flipped).values.min() < here - 1e-9 * np.abs(G).sum()


def searches(seed=3):
    return [DescentOracle(16, seed=seed), AnnealingOracle(16, seed=seed, sweeps=20)]


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_no_sample_of_a_search_or_of_a_polish_has_a_flip_that_improves_it(n_bits, seed):
    G = gradient(n_bits, seed)
    for oracle in [*searches(), PolishedOracle(RandomOracle(4, seed=seed))]:
        answer = oracle.minimize(G)
        assert not any(can_improve(G, bits) for bits in answer.bits)
        assert np.allclose(answer.values, evaluate(G, answer.bits).values)
        assert (np.diff(answer.values) >= 0).all()


@pytest.mark.parametrize("oracle", searches(), ids=["descent", "annealing"])
def test_a_small_problem_is_solved(oracle):
    for seed in range(5):
        G = gradient(10, seed)
        best = ExhaustiveOracle().minimize(G).values[0]
        assert oracle.minimize(G).values[0] == pytest.approx(best)


def test_a_call_is_named_by_seed_and_number():
    problems = [gradient(30, seed) for seed in range(3)]
    for kind in (DescentOracle, AnnealingOracle):
        whole = minimize_all(kind(8, seed=1), problems)
        again = kind(8, seed=1, calls=2).minimize(problems[2])
        assert np.array_equal(whole[2].bits, again.bits)
        assert not np.array_equal(kind(8, seed=2).minimize(problems[0]).bits, whole[0].bits)


def test_a_flat_problem_has_no_descent():
    flat = np.zeros((6, 6))
    for oracle in [*searches(), PolishedOracle(RandomOracle(4, seed=0))]:
        assert (oracle.minimize(flat).values == 0).all()


@pytest.mark.parametrize("n_bits", [12, pytest.param(20, marks=pytest.mark.slow)])
def test_the_exact_oracle_is_exact(n_bits):
    G = gradient(n_bits)
    answer = ExactOracle(3).minimize(G)
    annealed = AnnealingOracle(64, seed=0).minimize(G)
    assert answer.values[0] <= annealed.values[0] + 1e-6
    assert len(answer.bits) == (3 if n_bits == 12 else 1)


@pytest.mark.parametrize("n_bits", [4, 20])
def test_an_exact_minimum_has_the_small_coefficients_that_are_beside_large_ones(n_bits):
    G = np.zeros((n_bits + 1, n_bits + 1))
    G[1, 2] = G[2, 1] = 2.0**90  # not both
    small = np.random.default_rng(n_bits).choice([-1.0, 1.0], n_bits - 1)
    G[0, 2:] = G[2:, 0] = small
    G[0, 1] = G[1, 0] = -3.0  # more than the second has to offer
    expected = [1, 0, *(small[1:] < 0)]
    assert ExactOracle(1).minimize(G).best.tolist() == expected


def test_an_exact_minimum_that_cannot_be_had_is_refused(monkeypatch):
    with pytest.raises(TrainingError, match=r"within 0.2 s"):
        ExactOracle(1, seconds=0.2).minimize(gradient(90))

    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(TrainingError, match="CP-SAT needs ortools, which is not installed"):
        ExactOracle(1).minimize(gradient(30))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("oracle", [ExactOracle(1), DescentOracle(1, seed=0)])
def test_a_form_that_is_not_finite_is_refused(oracle, value):
    for n_bits in (3, 20):
        G = gradient(n_bits)
        G[1, 2] = G[2, 1] = value
        with pytest.raises(AssemblyError, match="NaN or infinite"):
            oracle.minimize(G)


def test_hardness_is_the_share_that_one_descent_solves():
    easy = -np.ones((6, 6))  # every descent ends at all ones
    assert HardnessProbe(ExactOracle(1), seed=0).minimize(easy).best.all()
    shares = []
    for problems in ([easy] * 8, [gradient(16, seed) for seed in range(24)]):
        probe = HardnessProbe(ExactOracle(1), seed=0)
        probe.minimize_all(problems)
        shares.append(probe.record.report()["solved_share"])
        gaps = probe.record.report()["mean_gap"]
        assert (gaps == 0) == (shares[-1] == 1)
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert gaps < 0.5


def test_a_polish_tells_what_it_gained():
    G = gradient(40)
    raw = RandomOracle(8, seed=5).minimize(G)
    oracle = PolishedOracle(RandomOracle(8, seed=5))
    polished = oracle.minimize(G)
    told = oracle.record.report()
    assert told["samples"] == 8
    assert told["changed_share"] == 1.0
    assert told["flips"] >= 8
    assert told["mean_gain"] == pytest.approx(raw.values.mean() - polished.values.mean())
    assert polished.cost == raw.cost
