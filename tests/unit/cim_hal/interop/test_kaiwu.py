"""Our machines as solvers of Kaiwu: its signs, its flip of the last spin, its models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

kaiwu = pytest.importorskip("kaiwu", reason="kaiwu-community pins other versions: .ci/environments")

from cim_hal import ModelError, open_device  # noqa: E402
from cim_hal.interop.kaiwu import CIMSolver, from_ising_matrix  # noqa: E402


def _states(n):
    return np.array(list(itertools.product([-1, 1], repeat=n)))


@pytest.mark.parametrize("seed", range(4))
def test_energies_are_those_of_kaiwu(seed):
    n = 4 + seed
    matrix = np.random.default_rng(seed).normal(size=(n, n))  # not symmetric, with a diagonal
    states = _states(n)
    _, energies = kaiwu.core.get_sorted_solutions(matrix, states, 0, False, False)
    np.testing.assert_allclose(from_ising_matrix(matrix).energy(states), energies, atol=1e-12)


def test_the_matrix_of_its_manual_is_solved():
    matrix = -np.array(
        [[0, 1, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 0]], float
    )
    with open_device("emulator-dsb") as session:
        solver = CIMSolver(session, n_runs=20, seed=1)
        rows = solver.solve(matrix)
    assert rows.shape == (20, 5)
    assert (rows[:, -1] == 1).all()
    assert solver.get_hamiltonian().min() == -8
    assert solver.samples.record.seed == 1
    rows = CIMSolver("emulator-dsb", n_runs=20, seed=1).solve(matrix, negtail_flip=False)
    np.testing.assert_array_equal(rows, solver.samples.spins)


def test_a_qubo_model_has_its_least_value():
    names = [kaiwu.core.Binary(f"x{i}") for i in range(6)]
    rng = np.random.default_rng(5)
    Q = np.triu(rng.integers(-5, 6, (6, 6))).astype(float)
    pairs = itertools.combinations_with_replacement(range(6), 2)
    objective = kaiwu.core.quicksum([float(Q[i, j]) * names[i] * names[j] for i, j in pairs])
    model = kaiwu.core.QuboModel(objective)
    values, energy = CIMSolver("emulator-dsb", n_runs=50, seed=2).solve_qubo(model)
    bits = (_states(6) + 1) // 2
    assert energy == pytest.approx(np.einsum("ki,ij,kj->k", bits, Q, bits).min())
    x = np.array([values.get(f"x{i}", 0) for i in range(6)])
    assert x @ Q @ x == pytest.approx(energy)


@pytest.mark.parametrize("matrix", [[1.0, 2.0], [[1.0, 2.0]], np.zeros((0, 0)), [["a"]]])
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(ModelError, match="Ising matrix"):
        from_ising_matrix(matrix)
    with pytest.raises(ModelError, match="n_runs"):
        CIMSolver(n_runs=0)
