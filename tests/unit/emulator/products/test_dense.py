"""The product in bytes: exact to the extremes, at any size, and the same samples with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

from emulator.products.byte_products import has_byte_products
from emulator.products.coupling import CouplingMatrix
from emulator.products.dense import MAX_COLUMNS, DenseFloats, DenseLevels
from emulator.products.sparse import SparseFloats

needs_vnni = pytest.mark.skipif(not has_byte_products(), reason="no AVX-512 VNNI here")
TOPS = [pytest.param(128, id="8 bits"), pytest.param(32768, id="16 bits")]
SIZES = [*range(1, 21), 31, 552]
RUNS = [1, 2, 15, 16, 17, 32, 47, 63, 64, 65, 130]


def product(J: np.ndarray, codes: np.ndarray, dtype=np.float64) -> np.ndarray:
    out = np.full((len(J), codes.shape[1]), np.nan, dtype)
    assert DenseLevels.of(J).multiply(codes, out)
    return out


@needs_vnni
@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("n", SIZES)
def test_products_are_exact_at_any_size(n, top):
    rng = np.random.default_rng(n)
    J = rng.integers(-top, top, (n, n))
    for n_runs in RUNS:
        codes = rng.integers(-127, 128, (n, n_runs))
        exact = J.astype(float) @ codes  # of integers below 2**53
        np.testing.assert_array_equal(product(J, codes.astype(np.float32)), exact)


@needs_vnni
def test_sums_do_not_overflow_up_to_the_largest_number_of_columns():
    for level in (-32768, -32513, 32767, -128, 127):
        columns = MAX_COLUMNS // (1 if -128 <= level < 128 else 2)
        J = np.full((1, columns), level, np.int32)
        for code in (-128, 127):
            codes = np.full((columns, 1), code, np.float32)
            np.testing.assert_array_equal(product(J, codes), columns * level * code)
        assert DenseLevels.of(np.full((1, columns + 1), level)) is None


@needs_vnni
def test_levels_of_8_bits_make_one_digit_and_of_more_two():
    for top, n_digits in ((127, 1), (-128, 1), (128, 2), (-129, 2), (32767, 2), (-32768, 2)):
        J = np.array([[0, top], [top, 0]])
        packed = DenseLevels.of(J)
        assert packed.n_digits == n_digits
        np.testing.assert_array_equal(packed.unpack(np.float64), J)


@pytest.mark.slow
@needs_vnni
def test_results_and_codes_may_be_float32_or_float64():
    rng = np.random.default_rng(0)
    J, codes = rng.integers(-127, 128, (77, 77)), rng.integers(-127, 128, (77, 20))
    for kind, dtype in ((np.float32, float), (np.float64, float), (np.int8, np.float32)):
        out = product(J, codes.astype(kind), dtype)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, J @ codes)


@needs_vnni
@pytest.mark.parametrize("wrong", [0.5, 128.0, -129.0, 1e6, np.nan])
def test_codes_that_are_no_bytes_are_refused_and_nothing_is_written(wrong):
    codes, out = np.zeros((9, 33), np.float32), np.full((9, 33), 7.0)
    codes[8, 32] = wrong
    assert not DenseLevels.of(np.ones((9, 9))).multiply(codes, out)
    assert (out == 7).all()


@needs_vnni
def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    J = rng.integers(-32767, 32768, (301, 301))
    packed = DenseLevels.of(J)
    batches = [rng.integers(-127, 128, (301, 64)) for _ in range(40)]

    def multiply(codes):
        out = np.empty(codes.shape)
        packed.multiply(codes.astype(np.float32), out)
        return out

    with ThreadPoolExecutor(4) as pool:
        for codes, out in zip(batches, pool.map(multiply, batches), strict=True):
            np.testing.assert_array_equal(out, J @ codes)


def levels(n: int, top: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(n).integers(-top, top + 1, (n, n)), 1)
    return upper + upper.T


def prepare(J, **options) -> CouplingMatrix:
    options = {"largest_code": 127, "dtype": np.float32, **options}
    return CouplingMatrix.of(J, np.zeros(J.shape[0]), **options)


@needs_vnni
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_dense_integers_in_range_take_bytes(dtype):
    assert isinstance(prepare(levels(9, 127).astype(dtype)).operand, DenseLevels)
    assert isinstance(prepare(levels(9, 32767).astype(dtype)).operand, DenseLevels)


@pytest.mark.parametrize(
    ("J", "options"),
    [
        pytest.param(sp.csr_array(levels(9, 127)), {}, id="sparse"),
        pytest.param(levels(9, 127) * 0.3, {}, id="real couplings"),
        pytest.param(levels(9, 127), {"largest_code": None}, id="real codes"),
        pytest.param(levels(9, 127), {"largest_code": 511}, id="codes of 10 bits"),
        pytest.param(levels(9, 2**20), {}, id="levels of 21 bits"),
        pytest.param(np.zeros((0, 0)), {}, id="no spins"),
    ],
)
def test_everything_else_does_not(J, options):
    assert isinstance(prepare(J, **options).operand, (DenseFloats, SparseFloats))


def test_real_numbers_are_multiplied_where_integers_were_announced():
    J, x = levels(30, 127), np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    out = np.empty_like(x)
    prepare(J).multiply(x, out)
    np.testing.assert_allclose(out, J @ x, rtol=1e-4, atol=1e-2)
