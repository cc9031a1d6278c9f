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
        (0.0, "trits"),
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


@pytest.mark.parametrize("top", [1, 100, 20_000])
def test_small_integers_travel_and_are_held_in_few_bits_and_never_widened(top):
    upper = np.triu(np.random.default_rng(top).integers(-top, top + 1, (90, 90)), 1)
    J = (upper + upper.T).astype(np.int8 if top < 128 else np.int16)
    model = IsingModel.from_couplings(J)
    assert model.J.dtype == J.dtype
    content = Couplings.of(model)
    assert content.spec.dtype == {1: "trits", 100: "|i1", 20_000: "<i2"}[top]
    bits = {1: 2, 100: 8, 20_000: 16}[top]
    assert content.payload.data.nbytes == -(-4005 * bits // 8)
    again = EncodedCouplings(content.spec, content.payload.data).content()
    assert again.triangle().nbytes == content.payload.data.nbytes
    np.testing.assert_array_equal(again.model().J, J)
    assert again.digest == Couplings.of(IsingModel.from_couplings(J.astype(float))).digest


@pytest.mark.parametrize(("dtype", "byte"), [("bits", 255), ("trits", 0b01000000)])
def test_numbers_padded_with_ones_are_refused(dtype, byte):
    with pytest.raises(ModelError, match="padded"):
        _payload(np.array([byte], "|u1"), format="triu", n_spins=3, dtype=dtype).content()


def test_trits_that_are_none_are_refused():
    with pytest.raises(ModelError, match="10"):
        _payload(np.array([0b100000], "|u1"), format="triu", n_spins=3, dtype="trits").content()


def test_the_size_counted_is_that_of_the_whole_matrix_in_its_type():
    assert stored_bytes(CouplingSpec(format="dense", n_spins=10, dtype="|i1")) == 100
    assert stored_bytes(CouplingSpec(format="triu", n_spins=10, dtype="bits")) == 12
    assert stored_bytes(CouplingSpec(format="coo", n_spins=10, dtype="|i1", nnz=2)) == 88
    scattered = CouplingSpec(format="coo", n_spins=10, dtype="|i1", nnz=2, keep="dense")
    assert stored_bytes(scattered) == 100
    bits = scattered.model_copy(update={"dtype": "bits"})  # with zeros between them
    assert stored_bytes(bits) == 25
