"""Penalties that are weakened: what stays, what is found, and which models are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.model.penalties import weakened_penalty


def choice(n: int, k: int, penalty: float) -> IsingModel:
    """Choose the k cheapest of n: a penalty far above the costs."""
    costs = np.random.default_rng(4).normal(size=n)
    Q = penalty * (np.ones((n, n)) - 2 * k * np.eye(n)) + np.diag(costs)
    return IsingModel.from_qubo(Q, offset=penalty * k**2)


def knapsack() -> IsingModel:
    """A penalty of weights that differ, and values."""
    rng = np.random.default_rng(2)
    weights = rng.integers(5, 30, 14).astype(float)
    Q = 40.0 * (np.outer(weights, weights) - 2 * 100 * np.diag(weights))
    return IsingModel.from_qubo(Q - np.diag(rng.integers(5, 60, 14)))


@pytest.mark.parametrize("model", [choice(20, 5, 300.0), knapsack()])
def test_only_the_weight_of_the_penalty_changes(model):
    weaker = weakened_penalty(model.J, model.h)
    assert weaker is not None
    spins = np.random.default_rng(0).choice([-1, 1], (200, model.n_spins))
    energies = -0.5 * np.einsum("ri,ij,rj->r", spins, weaker.couplings, spins)
    energies -= spins @ weaker.field
    given = model.energy(spins.astype(np.int8))
    difference = given - energies
    # what was taken away is a square of one linear form: spins of one value of it lose the same
    _, vectors = np.linalg.eigh(weaker.couplings)
    form = spins @ vectors[:, 0]
    square = np.polyfit(form, difference, 2)
    assert np.abs(np.polyval(square, form) - difference).max() < 1e-6 * np.abs(difference).max()


def test_models_without_a_strong_penalty_stay_as_they_are():
    rng = np.random.default_rng(1)
    glass = np.triu(rng.normal(size=(40, 40)), 1)
    numbers = -np.outer(*2 * [rng.integers(1, 100, 40).astype(float)])
    np.fill_diagonal(numbers, 0.0)  # a partition: the penalty is all there is
    graph = np.eye(40) - 1 - np.abs(glass + glass.T)
    for J in (glass + glass.T, numbers, graph, np.eye(40) - 1, 1 - np.eye(40), np.zeros((40, 40))):
        assert weakened_penalty(J, np.zeros(40)) is None


@pytest.mark.parametrize("name", ["emulator-simcim", "emulator-bsb"])
def test_a_choice_under_a_strong_penalty_is_the_best_one(name):
    model = choice(40, 10, 300.0)
    with open_device(name) as session:
        samples = session.sample(model, n_runs=16, seed=1)
        short = PumpSchedule((0.0, 1.0), 2)
        set_gain = session.sample(model, short, seed=1, settings={"coupling_gain": 0.5})
    costs = np.sort(np.random.default_rng(4).normal(size=40))
    assert samples.best_energy == pytest.approx(costs[:10].sum(), rel=1e-3)
    assert 0 < float(samples.record.notes["penalty_share"]) < 0.1
    assert "penalty_share" not in set_gain.record.notes


@pytest.mark.parametrize("name", ["emulator", "emulator-ideal"])
def test_a_machine_that_reads_the_best_seen_weakens_a_penalty_too(name):
    model = choice(40, 10, 300.0)
    with open_device(name) as session:
        last, best = (
            session.sample(model, n_runs=16, seed=1, settings={"every": every}) for every in (0, 10)
        )
    costs = np.sort(np.random.default_rng(4).normal(size=40))
    assert best.best_energy == pytest.approx(costs[:10].sum(), rel=1e-3)
    assert best.energies.mean() < last.best_energy
    assert "penalty_share" not in last.record.notes
    assert 0 < float(best.record.notes["penalty_share"]) < 0.1
