"""The algorithms users find by name: honest about themselves, and right on small models."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, make_driver

NAMES = [
    f"emulator-{name}" for name in ("cac", "cfc", "sfc", "ahc", "bsb", "dsb", "simcim", "nmfa")
]


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_point_gives_the_algorithm_of_that_name(name):
    capabilities = make_driver(name).describe()
    assert capabilities.name == name
    assert capabilities.has_field
    assert capabilities.reproducible
    assert capabilities == make_driver(name).describe()


@pytest.mark.parametrize("name", NAMES)
def test_scaling_couplings_and_field_changes_no_spin(name, amplitudes_of):
    rng = np.random.default_rng(6)
    upper = np.triu(rng.normal(size=(30, 30)), 1)
    J, h = upper + upper.T, rng.normal(size=30)
    driver = make_driver(name)
    one, other = (
        amplitudes_of(driver, IsingModel.from_couplings(c * J, c * h), n_runs=8, round_trips=200)
        for c in (1.0, 2.0**-30)  # a power of 2: no rounding
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_couplings_a_thousandfold_apart_leave_amplitudes_finite(name, amplitudes_of):
    rng = np.random.default_rng(7)
    scale = 10.0 ** rng.uniform(0, 3, 50)
    upper = np.triu(rng.normal(size=(50, 50)) * np.sqrt(np.outer(scale, scale)), 1)
    amplitudes = amplitudes_of(make_driver(name), IsingModel.from_couplings(upper + upper.T))
    assert np.isfinite(amplitudes).all()
