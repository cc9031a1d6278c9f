"""Machines under other packages, through dimod: PyQUBO, composites of D-Wave, dwave-hybrid.

They are in an environment of their own: `.ci/environments --all`.
"""

from __future__ import annotations

import dimod
import numpy as np
import pytest

from cim_hal.interop.dimod import CIMSampler

WHY = "in an environment of its own: .ci/environments --all"


@pytest.fixture(scope="module")
def sampler():
    with CIMSampler("emulator-dsb") as opened:
        yield opened


@pytest.fixture(scope="module")
def glass() -> dimod.BinaryQuadraticModel:
    """Fourteen spins with couplings, fields, an offset and labels of two types."""
    rng = np.random.default_rng(5)
    labels = [f"s{i}" if i % 2 else (i, "t") for i in range(14)]
    bqm = dimod.BinaryQuadraticModel(dict.fromkeys(labels, 0.0), {}, 1.25, "SPIN")
    for i, label in enumerate(labels):
        bqm.set_linear(label, float(rng.normal()))
        for other in labels[:i]:
            bqm.set_quadratic(label, other, float(rng.normal()))
    return bqm


@pytest.fixture(scope="module")
def least(glass) -> float:
    return dimod.ExactSolver().sample(glass).first.energy


def test_a_model_of_pyqubo_is_solved_and_its_constraints_are_met(sampler):
    """Four cities, a tour: the distances are minimized, and every penalty is zero."""
    pyqubo = pytest.importorskip("pyqubo", reason=WHY)
    distance = np.array([[0, 3, 8, 4], [3, 0, 5, 7], [8, 5, 0, 2], [4, 7, 2, 0]])
    x = pyqubo.Array.create("x", (4, 4), "BINARY")
    steps = sum(
        distance[a, b] * x[t, a] * x[(t + 1) % 4, b]
        for t in range(4)
        for a in range(4)
        for b in range(4)
    )
    once = sum(
        pyqubo.Constraint((sum(x[t, a] for t in range(4)) - 1) ** 2, f"city {a}")
        + pyqubo.Constraint((sum(x[a, b] for b in range(4)) - 1) ** 2, f"time {a}")
        for a in range(4)
    )
    model = (steps + pyqubo.Placeholder("M") * once).compile()
    bqm = model.to_bqm(feed_dict={"M": 20.0})
    found = sampler.sample(bqm, num_reads=64, seed=1)
    best = min(
        model.decode_sampleset(found, feed_dict={"M": 20.0}), key=lambda sample: sample.energy
    )
    assert best.constraints(only_broken=True) == {}
    assert best.energy == pytest.approx(14)  # 0, 1, 2, 3: 3 + 5 + 2 + 4


def test_composites_of_dwave_return_the_least_energy_of_the_given_model(sampler, glass, least):
    """Energies and labels are those of the model, whatever was scaled, reversed or fixed."""
    composites = pytest.importorskip("dwave.preprocessing.composites", reason=WHY)
    fixed = dict(list(dimod.ExactSolver().sample(glass).first.sample.items())[:3])
    for composed, options in (
        (composites.ScaleComposite(sampler), {"scalar": 0.25}),
        (composites.SpinReversalTransformComposite(sampler, seed=1), {}),
        (composites.ConnectedComponentsComposite(sampler), {}),
        (composites.FixVariablesComposite(sampler), {"fixed_variables": fixed}),
        (composites.FixVariablesComposite(sampler, algorithm="roof_duality"), {}),
    ):
        found = composed.sample(glass, num_reads=32, seed=3, **options)
        assert set(found.variables) == set(glass.variables)
        np.testing.assert_allclose(found.record.energy, glass.energies(found))
        assert found.first.energy == pytest.approx(least)


def test_a_workflow_of_hybrid_solves_subproblems_on_a_machine(sampler, glass, least):
    hybrid = pytest.importorskip("hybrid", reason=WHY)

    def solve(_, state):
        subsamples = sampler.sample(state.subproblem, num_reads=16, seed=1)
        return state.updated(subsamples=subsamples)

    branch = (
        hybrid.EnergyImpactDecomposer(size=8, rolling=True, rolling_history=1.0)
        | hybrid.Lambda(solve)
        | hybrid.SplatComposer()
    )
    workflow = hybrid.Loop(branch, max_iter=12)
    start = hybrid.State.from_sample(dict.fromkeys(glass.variables, 1), glass)
    best = workflow.run(start).result().samples.first
    assert best.energy == pytest.approx(glass.energy(best.sample))
    assert best.energy < glass.energy(dict.fromkeys(glass.variables, 1))
    assert best.energy <= least + 0.1 * abs(least)
