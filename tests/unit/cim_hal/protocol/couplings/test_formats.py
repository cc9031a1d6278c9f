"""Numbers and layouts of couplings in bytes."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import IsingModel, ModelError
from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, smallest
from cim_hal.protocol.couplings.formats import stored_bytes
from cim_hal.protocol.wire.messages import CouplingSpec


def _pair(value: float) -> np.ndarray:
    return np.array([[0.0, value], [value, 0.0]])


def _payload(*arrays: np.ndarray, **spec) -> EncodedCouplings:
    data = np.concatenate([np.ascontiguousarray(array).view(np.uint8) for array in arrays])
    return EncodedCouplings(CouplingSpec(**spec), data)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.0, "bits"),
        (2.0, "|i1"),
        (-128.0, "|i1"),
        (128.0, "<i2"),
        (-32768.0, "<i2"),
        (32768.0, "<f4"),
        (0.5, "<f4"),
        (0.1, "<f8"),
        (1e300, "<f8"),
        (2.0**24 + 1, "<f8"),
    ],
)
def test_numbers_travel_in_the_smallest_exact_type(value, dtype):
    content = Couplings.of(IsingModel.from_couplings(_pair(value)))
    assert content.spec.dtype == dtype
    assert content.model().J[0, 1] == value


def test_couplings_of_one_size_travel_as_bits():
    signs = np.triu(np.random.default_rng(0).choice([-1.0, 1.0], (100, 100)), 1)
    content = Couplings.of(IsingModel.from_couplings(signs + signs.T))
    assert len(smallest(content).data) == -(-100 * 99 // 16)
    np.testing.assert_array_equal(content.model().J, signs + signs.T)


def test_bits_padded_with_ones_are_refused():
    with pytest.raises(ModelError, match="padded"):
        _payload(np.array([255], "|u1"), format="triu", n_spins=3, dtype="bits").content()


def test_the_size_kept_is_that_of_float64():
    assert stored_bytes(CouplingSpec(format="dense", n_spins=10, dtype="|i1")) == 800
    assert stored_bytes(CouplingSpec(format="triu", n_spins=10, dtype="bits")) == 800
    assert stored_bytes(CouplingSpec(format="coo", n_spins=10, dtype="|i1", nnz=2)) == 88
    scattered = CouplingSpec(format="coo", n_spins=10, dtype="|i1", nnz=2, keep="dense")
    assert stored_bytes(scattered) == 800
