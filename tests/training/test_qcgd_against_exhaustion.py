"""Conditional gradients with an exact oracle find the optimum of small constrained programs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
from programs import optimum, random_program

from qnn_train.solve import ExhaustiveOracle, FixedDual, LiftedProblem, conditional_gradient

if TYPE_CHECKING:
    from qnn_train.program import Qcbo

N_PROGRAMS = 40
N_STEPS = 60
PENALTY = 30.0


def best_feasible_atom(qcbo: Qcbo, n_steps: int, rule: FixedDual | None = None) -> float:
    iterates = conditional_gradient(
        LiftedProblem.lift(qcbo), ExhaustiveOracle(), rule=rule, penalty=PENALTY
    )
    atoms = np.array([iterate.atom for iterate in islice(iterates, n_steps)])
    feasible = atoms[qcbo.is_feasible(atoms)]
    return float(qcbo.objective(feasible).min()) if len(feasible) else np.inf


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(None, id="bounded dual"),
        pytest.param(FixedDual(PENALTY), id="fixed dual", marks=pytest.mark.slow),
    ],
)
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
