"""The algorithms users find by name: honest about themselves, and right on small models."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, make_driver, open_device, registered_drivers

# All but the optical ones: `emulator.presets`, and continuous measurement feedback.
NAMES = [
    driver.name
    for driver in registered_drivers()
    if driver.factory.startswith("emulator.dynamics.") and driver.name != "emulator-gaussian"
]
# The kernel of each for real couplings is compiled for a second: quick tests take two.
WITH_REAL_COUPLINGS = [
    name if name in {"emulator-cac", "emulator-dsb"} else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES
]


def test_the_algorithms_are_found():
    names = ("cac", "cfc", "sfc", "ahc", "bsb", "dsb", "simcim", "nmfa")
    assert set(NAMES) >= {f"emulator-{name}" for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_point_gives_the_algorithm_of_that_name(name):
    capabilities = make_driver(name).describe()
    assert capabilities.name == name
    assert capabilities.has_field
    assert capabilities.reproducible
    assert capabilities == make_driver(name).describe()


@pytest.mark.parametrize("name", WITH_REAL_COUPLINGS)
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


@pytest.mark.parametrize("name", WITH_REAL_COUPLINGS)
def test_couplings_a_thousandfold_apart_leave_amplitudes_finite(name, amplitudes_of):
    rng = np.random.default_rng(7)
    scale = 10.0 ** rng.uniform(0, 3, 50)
    upper = np.triu(rng.normal(size=(50, 50)) * np.sqrt(np.outer(scale, scale)), 1)
    amplitudes = amplitudes_of(make_driver(name), IsingModel.from_couplings(upper + upper.T))
    assert np.isfinite(amplitudes).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "emulator-simcim"])
def test_spins_that_a_field_holds_do_not_weaken_the_others(name):
    # 14 spins of a glass, solved by exhaustion, beside 42 that a field more than ten
    # times their couplings holds; SimCIM is another matter: it counts fields
    rng = np.random.default_rng(9)
    upper = np.triu(rng.choice([-1.0, 1.0], (56, 56)), 1)
    h = np.zeros(56)
    h[14:] = 100.0 * rng.choice([-1.0, 1.0], 42)
    model = IsingModel.from_couplings(upper + upper.T, h)
    spins = np.tile(np.sign(h), (2**14, 1))
    spins[:, :14] = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    schedule = make_driver(name).describe().default_schedule.stretched(500)
    with open_device(name) as session:
        samples = session.sample(model, schedule, n_runs=32, seed=1)
    assert samples.best_energy == model.energy(spins).min()
