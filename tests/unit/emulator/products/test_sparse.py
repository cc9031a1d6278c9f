"""Sparse products: exact in bytes, in order in floating point, whatever the number of runs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from emulator.products.coupling import CouplingMatrix
from emulator.products.sparse import SparseFloats, SparseLevels, sparse_product


def graph(n: int, degree: int, weights, seed: int = 0) -> sp.csr_array:
    """A symmetric matrix with about `degree` entries a row, drawn from `weights`."""
    rng = np.random.default_rng(seed)
    upper = sp.triu(sp.random_array((n, n), density=degree / n, rng=rng), 1).tocsr()
    upper.data = rng.choice(np.asarray(weights, np.float64), upper.nnz)
    return sp.csr_array(upper + upper.T)


def multiply(J: sp.csr_array, codes: np.ndarray, largest_code: float) -> np.ndarray:
    out = np.full(codes.shape, np.nan, np.float32)
    levels = SparseLevels.of(J, largest_code)
    assert levels is not None
    assert levels.multiply(codes.astype(np.float32), out)
    return out


@pytest.mark.parametrize("weights", [(1,), (-1, 1), (-3, 3), (127,), (-5, 2, 9), (-300, 7)])
@pytest.mark.parametrize("n_runs", [16, 32, 48, 64, 80, 112])
def test_products_with_signs_are_exact(weights, n_runs):
    J = graph(70, 8, weights)
    spins = np.random.default_rng(1).choice([-1, 1], (70, n_runs))
    np.testing.assert_array_equal(multiply(J, spins, 1), J @ spins)


@pytest.mark.parametrize(("top", "weights"), [(127, (1,)), (127, (-2, 2)), (15, (-9, 4, 7))])
def test_products_with_codes_are_exact(top, weights):
    J = graph(70, 8, weights)
    codes = np.random.default_rng(1).integers(-top, top + 1, (70, 64))
    np.testing.assert_array_equal(multiply(J, codes, top), J @ codes)


def test_sums_reach_the_ends_of_their_range():
    # 127 couplings of one magnitude make sums of 8 bits, and one more of 16
    for degree in (127, 128):
        star = sp.csr_array(np.ones((1, degree)) * np.where(np.arange(degree) % 2, -3, 3))
        for sign in (-1, 1):
            codes = sign * np.where(np.arange(degree) % 2, -1, 1)[:, None] * np.ones((1, 16))
            out = np.zeros((1, 16), np.float32)
            levels = SparseLevels.of(star, 1)
            assert (levels.middles.size == 0) == (degree == 128)
            assert levels.multiply(codes, out)
            assert (out == 3 * sign * degree).all()


@pytest.mark.parametrize(
    ("weights", "largest_code"),
    [((1,), None), ((1,), 128), ((-2000, 1), 127), ((1, 40_000), 1)],
    ids=["real codes", "codes of 9 bits", "long sums", "strong couplings"],
)
def test_what_does_not_fit_into_bytes_is_left_to_numbers(weights, largest_code):
    J = graph(70, 8, weights)
    assert SparseLevels.of(J, largest_code) is None
    matrix = CouplingMatrix.of(J, np.zeros(70), largest_code=largest_code, dtype=np.float32)
    assert isinstance(matrix.operand, SparseFloats)


def test_a_matrix_without_entries_is_left_to_numbers():
    assert SparseLevels.of(sp.csr_array((5, 5)), 1) is None


@pytest.mark.parametrize("wrong", [0.5, 3.0, -3.0, 1e9, np.nan])
def test_codes_beyond_what_was_announced_are_refused_and_nothing_is_written(wrong):
    levels = SparseLevels.of(graph(9, 3, (1,)), 2)
    codes, out = np.zeros((9, 32), np.float32), np.full((9, 32), 7.0, np.float32)
    codes[8, 31] = wrong
    assert not levels.multiply(codes, out)
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_added_up_run_by_run_in_the_order_of_the_row(dtype):
    J = graph(50, 6, np.random.default_rng(2).normal(size=9))
    starts, columns = (index.astype(np.uint32) for index in (J.indptr, J.indices))
    x = np.random.default_rng(3).normal(size=(50, 112)).astype(dtype)
    whole, part = np.empty_like(x), np.empty((50, 16), dtype)
    sparse_product(starts, columns, J.data.astype(dtype), x, whole)
    np.testing.assert_allclose(whole, J @ x, rtol=1e-5, atol=1e-5 if dtype == np.float32 else 1e-14)
    for first in range(0, 112, 16):
        some = np.ascontiguousarray(x[:, first : first + 16])
        sparse_product(starts, columns, J.data.astype(dtype), some, part)
        np.testing.assert_array_equal(part, whole[:, first : first + 16])


def test_any_number_of_runs_passes_through_the_coupling_matrix():
    J = graph(40, 5, (-1, 1))
    matrix = CouplingMatrix.of(J, np.zeros(40), largest_code=9, dtype=np.float32)
    for n_runs in (1, 7, 17, 64, 65):
        codes = np.random.default_rng(n_runs).integers(-9, 10, (40, n_runs)).astype(np.float32)
        out = np.empty_like(codes)
        matrix.multiply(codes, out)
        np.testing.assert_array_equal(out, J @ codes)


def test_levels_that_were_rounded_to_zero_are_not_stored():
    levels = sp.csr_array(np.array([[0, 3.0, 0], [3.0, 0, 6.0], [0, 6.0, 0]]))
    levels.data[-1] = levels.data[2] = 0.0  # stored zeros
    matrix = CouplingMatrix.of(levels, np.zeros(3), largest_code=1, dtype=np.float32)
    assert isinstance(matrix.operand, SparseLevels)
    assert matrix.operand.values.tolist() == [1, 1]
    assert levels.nnz == 4  # the caller's array is left alone


def test_levels_that_were_all_rounded_to_zero_multiply_to_zero():
    levels = sp.csr_array(np.array([[0, 1.0], [1.0, 0]]))
    levels.data[:] = 0.0
    assert SparseLevels.of(levels, 1) is None
    matrix = CouplingMatrix.of(levels, np.zeros(2), largest_code=1, dtype=np.float32)
    out = np.full((2, 16), np.nan, np.float32)
    matrix.multiply(np.ones((2, 16), np.float32), out)
    assert not out.any()
