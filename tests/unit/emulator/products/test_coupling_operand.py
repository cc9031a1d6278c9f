"""Every product against plain numpy: integers bit for bit, floats within their rounding bound."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_reference import reference_product, rounding_bound

from emulator.products.byte_products import has_byte_products
from emulator.products.coupling import CouplingMatrix, multiply_rows, pack_codes, pack_signs
from emulator.products.dense import DenseFloats, DenseLevels
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs
from emulator.products.sparse import SparseFloats, SparseLevels

few = settings(max_examples=40, deadline=None)
sizes = st.one_of(st.integers(1, 40), st.sampled_from([95, 96, 97, 200]))
runs = st.integers(1, 140)
seeds = st.integers(0, 2**32 - 1)
densities = st.sampled_from([0.0, 0.02, 0.2, 1.0])


def draw(seed: int, n: int, density: float, *, top: int | None) -> np.ndarray:
    """Symmetric couplings: integers up to `top`, or reals of very different size."""
    rng = np.random.default_rng(seed)
    if top is None:
        values = rng.normal(size=(n, n)) * 10.0 ** rng.integers(-6, 7, (n, 1))
    else:
        values = rng.integers(-top, top + 1, (n, n)).astype(float)
    upper = np.triu(values * (rng.random((n, n)) < density), 1)
    return upper + upper.T


def block_by_block(operand, pack, x: np.ndarray, dtype) -> np.ndarray:
    """Multiply as kernels do: in arrays of sixteens, a block of rows at a time."""
    padded = aligned_zeros((len(x), padded_runs(x.shape[1])), x.dtype)
    padded[:, : x.shape[1]] = x
    workspace, out = operand.workspace(x.shape[1]), aligned_zeros(padded.shape, dtype)
    pack(operand, padded, workspace)
    for first in range(0, len(x), BLOCK_ROWS):
        multiply_rows(operand, workspace, first, out[first : first + BLOCK_ROWS])
    return out[:, : x.shape[1]]


@few
@given(sizes, runs, seeds, densities, st.sampled_from([1, 2, 127, 32767]), st.booleans())
def test_integer_products_equal_the_reference_bit_for_bit(  # noqa: PLR0917  drawn
    n, n_runs, seed, density, top, is_sparse
):
    dense = draw(seed, n, density, top=top)
    J = sp.csr_array(dense) if is_sparse else dense
    codes = np.random.default_rng(seed).integers(-127, 128, (n, n_runs)).astype(np.float32)
    matrix = CouplingMatrix.of(J, np.zeros(n), largest_code=127, dtype=np.float32)
    exact, out = reference_product(J, codes), np.full(codes.shape, np.nan, matrix.dtype)
    assert exact.dtype == np.int64
    for operand in (matrix.operand, matrix.as_floats(matrix.dtype)):
        product = block_by_block(operand, pack_codes, codes, matrix.dtype)
        np.testing.assert_array_equal(product, exact)
    matrix.multiply(codes.astype(matrix.operand.code_dtype), out)
    np.testing.assert_array_equal(out, exact)


@few
@given(sizes, runs, seeds, densities, st.sampled_from([1, 127, 20000]), st.booleans())
def test_products_with_signs_equal_the_reference(  # noqa: PLR0917  drawn
    n, n_runs, seed, density, top, is_sparse
):
    dense = draw(seed, n, density, top=top)
    J = sp.csr_array(dense) if is_sparse else dense
    x = np.random.default_rng(seed).integers(-1, 2, (n, n_runs)).astype(np.float32)
    matrix = CouplingMatrix.of(J, np.zeros(n), largest_code=1, dtype=np.float64)
    exact = reference_product(J, np.where(x < 0, -1, 1))
    for operand in (matrix.operand, matrix.as_floats(matrix.dtype)):
        product = block_by_block(operand, pack_signs, x, matrix.dtype)
        np.testing.assert_array_equal(product, exact)


@few
@given(
    sizes, runs, seeds, densities, st.sampled_from([np.float32, np.float64]), st.sampled_from("ds")
)
def test_floating_point_products_stay_within_their_bound(  # noqa: PLR0917  drawn
    n, n_runs, seed, density, dtype, kind
):
    dense = draw(seed, n, density, top=None)
    J = sp.csr_array(dense) if kind == "s" else dense
    x = np.random.default_rng(seed).normal(size=(n, n_runs)).astype(dtype)
    matrix = CouplingMatrix.of(J, np.zeros(n), largest_code=None, dtype=dtype)
    stored, out = matrix.matrix, np.full(x.shape, np.nan, dtype)
    matrix.multiply(x, out)
    exact, bound = reference_product(stored, x), rounding_bound(stored, x, dtype)
    for product in (out, block_by_block(matrix.operand, pack_codes, x, dtype)):
        assert (np.abs(product - exact) <= bound).all()


def test_the_bound_is_close_enough_to_find_a_missing_coupling():
    J, x = draw(3, 50, 1.0, top=9) + 0.5, np.ones((50, 16), np.float32)
    wrong = J.copy()
    wrong[7, 8] = 0
    gap = np.abs(reference_product(wrong, x) - reference_product(J, x))
    assert (gap[7] > 1000 * rounding_bound(J, x, np.float32)[7]).all()


@pytest.mark.parametrize(
    ("top", "density", "kind"),
    [
        pytest.param(
            127,
            None,
            DenseLevels,
            marks=pytest.mark.skipif(not has_byte_products(), reason="no AVX-512 VNNI here"),
        ),
        (127, 0.1, SparseLevels),
        (None, None, DenseFloats),
        (None, 0.1, SparseFloats),
    ],
)
def test_threads_that_share_an_operand_do_not_disturb_each_other(top, density, kind):
    J = draw(0, 120, density or 1.0, top=top)
    code = None if top is None else 9
    form = J if density is None else sp.csr_array(J)
    matrix = CouplingMatrix.of(form, np.zeros(120), largest_code=code, dtype=np.float32)
    assert isinstance(matrix.operand, kind)
    rng = np.random.default_rng(1)
    batches = [rng.integers(-9, 10, (120, 64)).astype(np.float32) for _ in range(40)]

    def multiply(codes):
        out = np.empty(codes.shape, matrix.dtype)
        matrix.multiply(codes, out)
        return out

    alone = [multiply(codes) for codes in batches]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(multiply, batches), strict=True):
            np.testing.assert_array_equal(one, other)
