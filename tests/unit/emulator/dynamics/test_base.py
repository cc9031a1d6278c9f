import numpy as np
import pytest
import scipy.sparse as sp

from emulator.dynamics.base import natural_strength
from emulator.products.coupling import CouplingMatrix

RNG = np.random.default_rng(11)
UPPER = np.triu(RNG.integers(-9, 10, (30, 30)), 1).astype(float)
J = UPPER + UPPER.T
H = RNG.normal(0, 20, 30)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_natural_strength_is_one_over_the_rms_norm_of_a_row(make):
    coupling = CouplingMatrix.of(make(J), H, largest_code=1, dtype=np.float64)  # kept as they are
    squares = (J**2).sum()
    for weight in (0.0, 0.5, 1.0):
        exact = np.sqrt(30 / (squares + max(weight, 1e-3) ** 2 * (H**2).sum()))
        assert natural_strength(coupling, weight) == pytest.approx(exact, rel=1e-6)  # float32


def test_without_fields_their_weight_changes_no_bit():
    coupling = CouplingMatrix.of(J, np.zeros(30), largest_code=1, dtype=np.float32)
    assert natural_strength(coupling, 0.0) == natural_strength(coupling, 1.0)


def test_a_model_of_nothing_has_the_strength_one():
    nothing = CouplingMatrix.of(np.zeros((4, 4)), np.zeros(4), largest_code=1, dtype=np.float32)
    assert natural_strength(nothing) == 1


def test_fields_alone_have_a_finite_strength():
    alone = CouplingMatrix.of(np.zeros((4, 4)), np.full(4, 2.0), largest_code=1, dtype=np.float32)
    assert natural_strength(alone) == pytest.approx(500)
