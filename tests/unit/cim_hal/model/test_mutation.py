"""Coefficients that are changed and keep the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, ModelError
from cim_hal.model.enumeration import all_energies
from cim_hal.model.mutation import mutate


def drawn(seed: int) -> IsingModel:
    """Return normal couplings, integers in a third of the models, one that dominates in a fifth."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    upper = np.triu(rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.7), 1)
    h = rng.normal(size=n) * (rng.random(n) < 0.5) * (seed % 2)
    if seed % 3 == 0:
        upper, h = np.rint(10 * upper), np.rint(10 * h)
    upper[0, 1] = 1 + (100 if seed % 5 == 0 else 1) * upper[0, 1]
    return IsingModel.from_couplings(upper + upper.T, h)


@pytest.mark.parametrize(("bits", "field_bits"), [(2, 2), (3, 5), (4, 3), (6, 6)])
def test_every_ground_state_of_the_levels_is_an_optimum(bits, field_bits):
    top, field_top = 2 ** (bits - 1) - 1, 2 ** (field_bits - 1) - 1
    for seed in range(300):
        model = drawn(seed)
        found = mutate(model, top, field_top).model
        assert np.abs(found.J).max() <= top
        assert np.abs(found.h).max() <= field_top
        assert (np.rint(found.J) == found.J).all()
        assert not (found.J[model.J == 0]).any()
        before, after = all_energies(model), all_energies(found)
        assert before[after == after.min()].max() <= before.min() + model.energy_tolerance


def test_a_coefficient_that_decides_alone_is_made_small_at_any_size():
    rng = np.random.default_rng(0)
    upper = np.triu(rng.integers(-1, 2, (40, 40)), 1).astype(float)
    upper[3, 5] = 5000
    model = IsingModel.from_couplings(upper + upper.T)
    found = mutate(model, 127)
    others = min(np.abs(model.J[i]).sum() for i in (3, 5)) - 5000
    assert (found.step, found.model.J[3, 5]) == (1, others + 1)
    changed = found.model.J - model.J
    assert np.count_nonzero(changed) == 2  # the two places of one coupling


def test_what_decides_alone_keeps_exactly_the_ground_states():
    rng = np.random.default_rng(1)
    for _ in range(100):
        upper = np.triu(rng.integers(-3, 4, (6, 6)), 1).astype(float)
        upper[0, 1] = rng.choice([-1, 1]) * 1000
        h = rng.integers(-2, 3, 6).astype(float)
        h[4] = rng.choice([0, 900])
        model = IsingModel.from_couplings(upper + upper.T, h)
        found = mutate(model, 127).model
        before, after = all_energies(model), all_energies(found)
        assert ((before == before.min()) == (after == after.min())).all()


def test_a_large_model_without_a_proof_is_refused():
    upper = np.triu(np.random.default_rng(0).normal(size=(30, 30)), 1)
    with pytest.raises(ModelError, match="the optimum of 30 spins is not proven to be kept"):
        mutate(IsingModel.from_couplings(upper + upper.T), 127)
