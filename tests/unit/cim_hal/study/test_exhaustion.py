"""All configurations of small models, and what rounding leaves of their optimum."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import configurations, model

from cim_hal import Capabilities, IsingModel, lower
from cim_hal.model.enumeration import all_energies
from cim_hal.study.exhaustion import MACHINES, STREAM, disturbed_survivals, survival


def machine(bits: int, *, has_field: bool = False) -> Capabilities:
    return Capabilities(
        name="rounded", max_spins=32, coupling_bits=bits, has_field=has_field, field_bits=bits
    )


@pytest.mark.parametrize("has_field", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_survival_agrees_with_an_enumeration_by_hand(bits, has_field):
    for seed in range(20):
        one, here = model(6, seed, field=seed % 2 == 0), machine(bits, has_field=has_field)
        lowering, spins = lower(one, here, bits=bits), configurations(6)
        J = np.asarray(lowering.coupling, float)
        full = spins.astype(float) * lowering.gauge[:6]
        if lowering.report.field_spin:
            full = np.c_[full, np.full(len(full), lowering.gauge[6])]
        rounded = -0.5 * np.einsum("ki,ij,kj->k", full, J, full) - full @ lowering.field
        energies = one.energy(spins)
        ground = np.flatnonzero(rounded <= rounded.min() + 1e-9)
        hits = energies[ground] <= energies.min() + 1e-9
        found = survival(one, here, bits=bits)
        assert found.share == pytest.approx(hits.mean())
        assert (found.some, found.all) == (hits.any(), hits.all())
        assert found.excess_energy == pytest.approx((energies[ground] - energies.min()).mean())
        assert found.rank == (rounded < rounded[energies.argmin()] - 1e-9).sum()


def test_levels_without_error_keep_the_optimum():
    J = np.array([[0, 1, -2], [1, 0, 3], [-2, 3, 0]])
    found = survival(IsingModel.from_couplings(J), machine(3))
    assert (found.share, found.all, found.excess_energy, found.rank) == (1.0, True, 0.0, 0)


@pytest.mark.parametrize("has_field", [False, True])
def test_disturbed_couplings_agree_with_an_enumeration_by_hand(has_field):
    one, here = model(6, 3, field=True), machine(4, has_field=has_field)
    lowering, spins = lower(one, here), configurations(6).astype(float)
    if not has_field:
        spins = np.c_[spins, np.ones(len(spins))]  # the spin for the field
    rng, n = np.random.default_rng([STREAM, 5]), spins.shape[1]
    energies = all_energies(one)
    found = disturbed_survivals(one, here, energies=energies, seed=5, error=0.5)
    for left in found:
        J = lowering.coupling * (1 + 0.5 * rng.standard_normal((7, 7))[:n, :n])  # ij and ji apart
        rounded = [-0.5 * each @ J @ each - each @ lowering.field for each in spins]
        ground = int(np.argmin(rounded))
        assert (left.share == 1) == (ground == energies.argmin())
        assert left.excess_energy == pytest.approx(energies[ground] - energies.min())
    assert len(found) == MACHINES
    assert {each.share for each in found} == {0, 1}


def test_couplings_that_are_hardly_disturbed_lose_what_rounding_loses():
    for policy in ("max", "least-error"):
        one, here = model(7, 1, field=False), machine(3)
        known = {"energies": all_energies(one), "lowering": policy, "bits": 3}
        left = survival(one, here, **known)
        found = disturbed_survivals(one, here, **known, error=1e-13)
        assert {each.all for each in found} == {left.all}


def test_auxiliary_spins_would_be_disturbed_too():
    J = np.array([[0, 1, 50], [1, 0, 3], [50, 3, 0]])
    one = IsingModel.from_couplings(J)
    known = {"energies": all_energies(one), "lowering": "splitting"}
    assert disturbed_survivals(one, machine(4), **known, error=0.1) == []
