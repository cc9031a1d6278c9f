"""Sets of samples, put together and cut."""

from __future__ import annotations

import numpy as np
import pytest
from cim_machines import Adjustable, Exhaustive

from cim_hal import IsingModel, open_device


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    J = np.triu(rng.normal(size=(9, 9)), 1)
    model = IsingModel.from_couplings(J + J.T)
    with open_device(Adjustable()) as device:
        return model, [device.sample(model, n_runs=6, seed=seed) for seed in (1, 2)]


def test_two_sets_make_one_in_the_order_of_energies(sets):
    model, (first, second) = sets
    both = first.concat(second)
    assert len(both) == 12
    assert (np.diff(both.energies) >= 0).all()
    np.testing.assert_array_equal(both.energies, model.energy(both.spins))
    np.testing.assert_array_equal(np.sign(both.amplitudes), both.spins)
    assert both.best_energy == min(first.best_energy, second.best_energy)


def test_the_record_is_that_of_the_set_with_the_lower_energy(sets):
    _, (first, second) = sets
    lower, higher = sorted(sets[1], key=lambda samples: samples.best_energy)
    assert lower.best_energy < higher.best_energy
    assert first.concat(second).record == second.concat(first).record == lower.record
    assert first.concat(first).record == first.record


def test_amplitudes_are_kept_where_both_sets_have_them(sets):
    model, (first, _) = sets
    with open_device(Exhaustive()) as device:
        bare = device.sample(model, seed=0)
    assert first.concat(bare).amplitudes is None
    assert first.concat(bare).best_energy == bare.best_energy


def test_the_lowest_are_the_first(sets):
    _, (first, _) = sets
    few = first.lowest(2)
    np.testing.assert_array_equal(few.energies, first.energies[:2])
    np.testing.assert_array_equal(few.amplitudes, first.amplitudes[:2])
    assert len(first.lowest(100)) == 6
