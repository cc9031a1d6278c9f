import numpy as np
import pytest

from cim_hal import IsingModel, PumpSchedule, open_device
from emulator.dynamics.base import natural_strength
from emulator.dynamics.spectrum import gain_factor
from emulator.products.coupling import CouplingMatrix

CONSTRAINT = np.eye(40) - 1.0  # eigenvalues -39 and 1, row norms sqrt(39)
ONE_CONSTRAINT = IsingModel.from_couplings(CONSTRAINT, np.full(40, 3.0))
SHORT = PumpSchedule((0.0, 1.0), 2)


def prepared(J, *, field_spin=False):
    h = np.zeros(len(J))
    return CouplingMatrix.of(J, h, largest_code=1, dtype=np.float64, field_spin=field_spin)


def test_the_factor_brings_the_highest_eigenvalue_to_one_and_a_half():
    block = np.kron(np.eye(2), np.ones((4, 4))) - np.eye(8)  # 3 at most, row norms sqrt(3)
    assert gain_factor(prepared(block), 8) == 1
    assert gain_factor(prepared(-block), 8) == pytest.approx(1.5 * np.sqrt(3), rel=1e-6)
    assert gain_factor(prepared(CONSTRAINT), 40) == 8  # 1.5 sqrt(39) is more


@pytest.mark.parametrize("seed", range(3))
def test_glasses_keep_their_gain(seed):
    upper = np.triu(np.random.default_rng(seed).choice([-1.0, 1.0], (60, 60)), 1)
    assert gain_factor(prepared(upper + upper.T), 60) == 1


def test_no_couplings_have_no_factor():
    assert gain_factor(prepared(np.zeros((4, 4))), 4) == 1


def test_the_spin_of_a_field_does_not_count():
    bordered = np.pad(CONSTRAINT, (0, 1), constant_values=5.0)
    bordered[-1, -1] = 0
    assert gain_factor(prepared(bordered, field_spin=True), 40) == 8


def test_both_natural_units_are_strengthened():
    plain = prepared(CONSTRAINT)
    strong = plain.strengthened(3.0)
    assert strong.unit == 3 * plain.unit
    assert natural_strength(strong) == 3 * natural_strength(plain)


@pytest.mark.parametrize("name", ["emulator", "emulator-mean-field", "emulator-bsb"])
def test_a_default_gain_is_fitted_and_one_that_is_set_is_not(name):
    with open_device(name) as session:
        fitted = session.sample(ONE_CONSTRAINT, SHORT, n_runs=1, seed=1)
        as_set = session.sample(
            ONE_CONSTRAINT, SHORT, n_runs=1, seed=1, settings={"coupling_gain": 0.7}
        )
    assert fitted.record.notes["gain_factor"] == 8
    assert "gain_factor" not in as_set.record.notes
