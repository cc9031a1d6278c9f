"""With dot products of bytes and without them, products and samples are the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cim_hal import Capabilities, IsingModel
from emulator import Converter, EmulatedCim, MeasurementFeedback
from emulator.products.byte_products import has_byte_products
from emulator.products.coupling import CouplingMatrix
from emulator.products.dense import DenseFloats, DenseLevels

needs_vnni = pytest.mark.skipif(not has_byte_products(), reason="no AVX-512 VNNI here")


TOPS = [pytest.param(128, id="8 bits"), pytest.param(32768, id="16 bits")]


@pytest.fixture
def without_bytes(monkeypatch):
    """A function that makes couplings take the floating-point path from now on."""
    return lambda: monkeypatch.setattr("emulator.products.dense.has_byte_products", lambda: False)


def product(J: np.ndarray, codes: np.ndarray, dtype=np.float64) -> np.ndarray:
    out = np.full((len(J), codes.shape[1]), np.nan, dtype)
    assert DenseLevels.of(J).multiply(codes, out)
    return out


@needs_vnni
@pytest.mark.parametrize("top", TOPS)
def test_products_of_extremes_are_exact(top):
    ends = (-top, top - 1, 1 - top, 0, 127, 128, 255, 256, -129, 32639, 32640, -32641)
    values = [v for v in ends if -top <= v < top]
    for level, code in itertools.product(values, (-128, -127, 127)):
        J, codes = np.full((601, 601), level), np.full((601, 16), code, np.float32)
        np.testing.assert_array_equal(product(J, codes), 601 * level * code)


def levels(n: int, top: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(n).integers(-top, top + 1, (n, n)), 1)
    return upper + upper.T


def prepare(J, **options) -> CouplingMatrix:
    options = {"largest_code": 127, "dtype": np.float32, **options}
    return CouplingMatrix.of(J, np.zeros(J.shape[0]), **options)


def test_without_the_instructions_numbers_are_floating_point(monkeypatch):
    monkeypatch.setattr("emulator.products.dense.has_byte_products", lambda: False)
    assert isinstance(prepare(levels(9, 127)).operand, DenseFloats)


@pytest.mark.parametrize("top", [127, 32767])
def test_both_paths_have_the_same_unit_dtype_and_product(top, without_bytes):
    J, codes = levels(211, top), np.random.default_rng(0).integers(-127, 128, (211, 48))
    one = prepare(J)
    without_bytes()
    other = prepare(J)
    assert (one.unit, one.dtype, one.is_exact) == (other.unit, other.dtype, other.is_exact)
    assert isinstance(other.operand, DenseFloats)
    np.testing.assert_array_equal(one.matrix, other.matrix)
    outs = [np.empty(codes.shape, one.dtype) for _ in range(2)]
    for matrix, out in zip((one, other), outs, strict=True):
        matrix.multiply(codes.astype(matrix.operand.code_dtype), out)
    np.testing.assert_array_equal(*outs)


DOUBLE = MeasurementFeedback(delay=0, precision="double")
FIVE_BITS = MeasurementFeedback(adc=Converter(full_scale=0.1, bits=5))


@needs_vnni
@pytest.mark.parametrize(
    ("bits", "dynamics"),
    [
        pytest.param(8, MeasurementFeedback(), id="8 bits"),
        pytest.param(16, MeasurementFeedback(), id="16 bits"),
        pytest.param(8, FIVE_BITS, id="5 bits of the ADC, 8"),
        pytest.param(16, FIVE_BITS, id="5 bits of the ADC, 16"),
        # kernels of their own, compiled in seconds
        pytest.param(8, DOUBLE, id="double, 8 bits", marks=pytest.mark.slow),
        pytest.param(16, DOUBLE, id="double, 16 bits", marks=pytest.mark.slow),
    ],
)
def test_samples_are_the_same_bits_on_both_paths(bits, dynamics, amplitudes_of, without_bytes):
    normal = np.triu(np.random.default_rng(0).normal(size=(53, 53)), 1)
    model = IsingModel.from_couplings(normal + normal.T)
    capabilities = Capabilities(
        name="test", max_spins=53, coupling_bits=bits, default_pump=(0.0, 1.2)
    )
    one = EmulatedCim(dynamics, capabilities=capabilities, threads=1)
    two = EmulatedCim(dynamics, capabilities=capabilities, threads=2)
    in_bytes = amplitudes_of(one, model, n_runs=70, round_trips=200)
    np.testing.assert_array_equal(amplitudes_of(two, model, n_runs=70, round_trips=200), in_bytes)
    without_bytes()
    np.testing.assert_array_equal(amplitudes_of(one, model, n_runs=70, round_trips=200), in_bytes)
