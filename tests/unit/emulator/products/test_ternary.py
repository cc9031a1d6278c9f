"""Couplings of two bits: the product of bytes, from a quarter of the memory."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import Triangle
from cim_hal.model.packed import TRITS, PackedValues, pack
from emulator.products import coupling, ternary
from emulator.products.byte_products import has_byte_products
from emulator.products.coupling import CouplingMatrix, multiply_rows, pack_codes
from emulator.products.dense import DenseLevels
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs
from emulator.products.ternary import TernaryLevels

pytestmark = pytest.mark.skipif(not has_byte_products(), reason="no AVX-512 VNNI here")


@pytest.fixture(autouse=True)
def _small_models_are_packed(monkeypatch):
    monkeypatch.setattr(ternary, "LEAST_SPINS", 1)


def trits(n: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(n).integers(-1, 2, (n, n)), 1).astype(np.int8)
    return upper + upper.T


def packed(J: np.ndarray) -> Triangle:
    values = Triangle.of(J).values
    return Triangle(len(J), PackedValues(TRITS, pack(TRITS, values), len(values)))


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 63, 64, 65, 100, 193, 2000])
@pytest.mark.parametrize("n_runs", [1, 16, 47, 130])
def test_products_are_those_of_plain_integers(n, n_runs):
    J, codes = trits(n), np.random.default_rng(n).integers(-127, 128, (n, n_runs))
    exact = J.astype(float) @ codes  # of integers below 2**53
    for source in (J, packed(J)):
        levels, out = TernaryLevels.of(source), np.full((n, n_runs), np.nan, np.float32)
        assert levels.multiply(codes.astype(np.float32), out)
        np.testing.assert_array_equal(out, exact)
        np.testing.assert_array_equal(levels.unpack(np.float32), J)


def test_rows_are_multiplied_a_block_at_a_time():
    J, codes = trits(300), np.random.default_rng(0).integers(-127, 128, (300, 20))
    operand = CouplingMatrix.of(J, np.zeros(300), largest_code=127, dtype=np.float32).operand
    assert isinstance(operand, TernaryLevels)
    padded = aligned_zeros((300, padded_runs(20)), np.float32)
    padded[:, :20] = codes
    workspace, out = operand.workspace(20), aligned_zeros(padded.shape, np.float32)
    pack_codes(operand, padded, workspace)
    for first in range(0, 300, BLOCK_ROWS):
        multiply_rows(operand, workspace, first, out[first : first + BLOCK_ROWS])
    np.testing.assert_array_equal(out[:, :20], J.astype(int) @ codes)


def test_a_quarter_of_the_bytes_is_kept():
    J = trits(2000)
    assert TernaryLevels.of(J).words.nbytes < 0.27 * DenseLevels.of(J).words.nbytes


@pytest.mark.parametrize("J", [trits(9) * 2, trits(9) * 1.0, trits(9) * np.int8(-2)])
def test_other_couplings_are_left_to_bytes_and_floats(J):
    assert TernaryLevels.of(J) is None


@pytest.mark.parametrize("top", [1, 100, 30_000])
def test_a_large_matrix_is_prepared_and_used_without_being_unpacked(monkeypatch, top):
    rng = np.random.default_rng(top)
    J = np.triu(rng.integers(-top, top + 1, (130, 130)), 1).astype(np.int16)
    J += J.T
    h, vector = rng.normal(size=130), rng.normal(size=130)
    whole = CouplingMatrix.of(J, h, largest_code=1, dtype=np.float64)
    expected = whole.norm, whole.operator()(vector)
    monkeypatch.setattr(coupling, "LARGE", 20)
    source = packed(J.astype(np.int8)) if top == 1 else Triangle.of(J)
    large = CouplingMatrix.of(source, h, largest_code=1, dtype=np.float64)
    monkeypatch.setattr(DenseLevels, "unpack", None)
    monkeypatch.setattr(TernaryLevels, "unpack", None)
    assert large.unit == pytest.approx(whole.unit, rel=1e-12)
    np.testing.assert_allclose(large.norm, expected[0], rtol=1e-6)
    tolerance = 2e-7 * top * 130  # of a sum in float32
    np.testing.assert_allclose(large.operator()(vector), expected[1], rtol=1e-5, atol=tolerance)
