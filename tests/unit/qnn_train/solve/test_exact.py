"""Exact solvers agree with one another."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from programs import every_vector, random_program

from qnn_train import (
    AssemblyError,
    ExhaustiveOracle,
    HingeLoss,
    Qcbo,
    Spline,
    TrainingError,
    assemble,
    layered_network,
)
from qnn_train.program import LinearConstraints
from qnn_train.solve import CpSatOracle, cp_sat, exhaustive


def unsolvable() -> Qcbo:
    never = LinearConstraints(sp.csr_array([[2.0, 2.0]]), np.array([1.0]))
    return Qcbo.from_arrays(np.eye(2), equalities=never)


def test_both_exact_solvers_find_the_same_optimum():
    rng = np.random.default_rng(1)
    for _ in range(15):
        qcbo = random_program(rng, sizes=(5, 10))
        tried, solved = exhaustive(qcbo), cp_sat(qcbo)
        assert solved.proven
        assert qcbo.is_feasible(solved.bits)
        assert solved.objective == pytest.approx(tried.objective, abs=1e-9)
        assert solved.bound <= tried.objective + 1e-9
        assert solved.bound == pytest.approx(tried.objective, abs=1e-6)


@given(st.integers(0, 2**31))
def test_no_coefficient_is_too_small_to_count(seed):
    rng = np.random.default_rng(seed)
    powers = 2.0 ** rng.integers(-200, 200, (7, 7))
    Q = np.triu(powers * rng.choice([rng.normal(size=(7, 7)), rng.integers(-2, 3, (7, 7))]))
    if seed % 2:  # the large ones cancel
        Q = np.where(Q > 0, 2.0**100, Q / 2.0**100)
    solved = cp_sat(Qcbo.from_arrays(Q))
    values = {bits: value_of(Q, bits) for bits in product((0, 1), repeat=7)}
    assert solved.proven
    assert values[tuple(solved.bits.tolist())] - min(values.values()) <= Fraction(solved.error)
    assert 0 <= solved.error < np.abs(Q)[Q != 0].min(initial=1.0)


def value_of(Q, bits) -> Fraction:
    on = np.flatnonzero(bits)
    return sum((Fraction(each) for each in Q[np.ix_(on, on)].ravel().tolist()), Fraction(0))


def test_gates_and_products_of_a_network_hold_in_the_exact_optimum():
    network = layered_network((2, 1, 1), activation=Spline.relu())
    assembly = assemble(network, [[1, 1], [1, -1]], [1, -1], loss=HingeLoss(2))
    assert len(assembly.qcbo.gates)
    solved = cp_sat(assembly.qcbo)
    assert assembly.qcbo.is_feasible(solved.bits)
    least = assembly.qcbo.objective(assembly.complete(every_vector(network.n_bits))).min()
    assert solved.objective == pytest.approx(least)


def test_the_exact_oracle_minimizes_a_gradient():
    G = np.random.default_rng(2).normal(size=(9, 9))
    G = G + G.T
    expected = ExhaustiveOracle().minimize(G).values[0]
    assert CpSatOracle().minimize(G).values[0] == pytest.approx(expected)


@pytest.mark.parametrize("solve", [exhaustive, cp_sat])
def test_a_program_that_nothing_satisfies_is_an_error(solve):
    with pytest.raises(TrainingError, match="no vector is feasible"):
        solve(unsolvable())


def test_what_an_exact_solver_cannot_take_is_refused():
    with pytest.raises(AssemblyError, match="too many to try"):
        exhaustive(Qcbo.from_arrays(np.eye(30)))
    real = LinearConstraints(sp.csr_array([[0.5, 2.0]]), np.array([0.5]))
    with pytest.raises(TrainingError, match="integer coefficients"):
        cp_sat(Qcbo.from_arrays(np.eye(2), equalities=real))


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(TrainingError, match="pip install 'ortools"):
        CpSatOracle()
