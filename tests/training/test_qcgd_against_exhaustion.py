"""Conditional gradients with an exact oracle find the optimum of small constrained programs."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sp

from qnn_train.program import LinearConstraints, Products, Qcbo
from qnn_train.solve import ExhaustiveOracle, FixedDual, LiftedProblem, conditional_gradient

N_PROGRAMS = 120
N_STEPS = 60
PENALTY = 30.0


def every_vector(n_bits: int) -> np.ndarray:
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.int8)


def random_program(rng: np.random.Generator) -> Qcbo:
    """6 to 12 bits, 1 to 3 equalities and up to 2 products that some vector satisfies."""
    n = int(rng.integers(6, 13))
    inside = rng.integers(0, 2, n)
    rows = rng.integers(-2, 3, (int(rng.integers(1, 4)), n))
    rows[:, 0] += (rows == 0).all(axis=1)
    triples = np.array([rng.permutation(n)[:3] for _ in range(int(rng.integers(0, 3)))], np.int64)
    triples = triples.reshape(-1, 3)
    first, second, product = triples.T
    kept = triples[inside[first] * inside[second] == inside[product]]
    return Qcbo.from_arrays(
        rng.normal(size=(n, n)),
        rng.normal(size=n),
        rng.normal(),
        equalities=LinearConstraints(
            sp.csr_array(rows.astype(float)), (rows @ inside).astype(float)
        ),
        products=Products(kept),
    )


def optimum(qcbo: Qcbo) -> float:
    vectors = every_vector(qcbo.n_bits)
    return float(qcbo.objective(vectors[qcbo.is_feasible(vectors)]).min())


def best_feasible_atom(qcbo: Qcbo, n_steps: int, rule: FixedDual | None = None) -> float:
    iterates = conditional_gradient(
        LiftedProblem.lift(qcbo), ExhaustiveOracle(), rule=rule, penalty=PENALTY
    )
    atoms = np.array([iterate.atom for iterate in islice(iterates, n_steps)])
    feasible = atoms[qcbo.is_feasible(atoms)]
    return float(qcbo.objective(feasible).min()) if len(feasible) else np.inf


@pytest.mark.parametrize("rule", [None, FixedDual(PENALTY)], ids=["bounded dual", "fixed dual"])
def test_the_best_feasible_atom_is_optimal(rule):
    rng = np.random.default_rng(2506)
    programs = [random_program(rng) for _ in range(N_PROGRAMS)]
    found = [
        best_feasible_atom(qcbo, N_STEPS, rule) == pytest.approx(optimum(qcbo), abs=1e-9)
        for qcbo in programs
    ]
    assert np.mean(found) >= 0.99


def test_infeasibility_vanishes_and_the_objective_approaches_the_optimum():
    qcbo = random_program(np.random.default_rng(4))
    iterates = list(
        islice(
            conditional_gradient(LiftedProblem.lift(qcbo), ExhaustiveOracle(), penalty=PENALTY),
            1000,
        )
    )
    early, late = iterates[19], iterates[-1]
    assert late.infeasibility < 0.02
    assert late.infeasibility < 0.2 * early.infeasibility
    scale = np.linalg.norm(qcbo.Q)
    assert late.objective == pytest.approx(optimum(qcbo), abs=0.02 * scale)


def test_the_lifted_optimum_is_never_above_what_the_surrogate_gap_allows():
    """⟨C, W⟩ + yᵀ𝒜W + β/2 ‖𝒜W‖² exceeds the optimum by at most the gap, the oracle being exact."""
    qcbo = random_program(np.random.default_rng(11))
    problem = LiftedProblem.lift(qcbo)
    best = optimum(qcbo) / problem.objective_scale
    before = None
    for iterate in islice(conditional_gradient(problem, ExhaustiveOracle()), 200):
        if before is not None:
            value = before.objective / problem.objective_scale
            assert value - best <= iterate.gap + 1e-9
        before = iterate
