"""The coupling product: exact for integers, the same for dense and sparse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from emulator.products.coupling import CouplingMatrix
from emulator.products.dense import HAS_TILES


def levels(n: int, top: int, seed: int = 0) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).integers(-top, top + 1, (n, n)), 1)
    return (upper + upper.T).astype(np.int16)


def prepare(J, **options) -> CouplingMatrix:
    return CouplingMatrix.of(J, np.zeros(J.shape[0]), **options)


def multiply(matrix: CouplingMatrix, codes: np.ndarray) -> np.ndarray:
    out = np.full(codes.shape, np.nan, matrix.dtype)
    matrix.multiply(codes.astype(matrix.dtype), out)
    return out


@pytest.mark.parametrize(
    ("n", "top", "code", "dtype"),
    [(550, 127, 127, np.float32), (300, 32767, 127, np.float64), (40, 1, 2047, np.float32)],
)
def test_integer_products_are_exact_dense_and_sparse(n, top, code, dtype):
    J = levels(n, top)
    codes = np.random.default_rng(1).integers(-code, code + 1, (n, 16))
    exact = J.astype(np.int64) @ codes
    for form in (J, sp.csr_array(J)):
        matrix = prepare(form, largest_code=code, dtype=np.float32)
        assert matrix.is_exact
        assert matrix.dtype == dtype
        np.testing.assert_array_equal(multiply(matrix, codes), exact)


def test_float32_serves_exactly_as_long_as_sums_stay_below_2_to_the_24():
    J = np.array([[0, 2], [2, 0]], dtype=np.int16)
    below = prepare(J, largest_code=2.0**23 - 1, dtype=np.float32)
    above = prepare(J, largest_code=2.0**23, dtype=np.float32)
    assert (below.dtype, above.dtype) == (np.float32, np.float64)


def test_real_numbers_are_not_called_exact():
    J = np.array([[0, 0.5], [0.5, 0]])
    assert not prepare(J, largest_code=127, dtype=np.float32).is_exact
    assert not prepare(levels(4, 3), largest_code=None, dtype=np.float32).is_exact


def test_only_inexact_dense_products_by_blas_depend_on_grouping():
    J = levels(6, 3) + 0.25 * (1 - np.eye(6))
    for form, depends in ((J, not HAS_TILES), (sp.csr_array(J), False), (levels(6, 3), False)):
        matrix = prepare(form, largest_code=127, dtype=np.float32)
        assert matrix.depends_on_grouping is depends


def test_the_unit_is_the_norm_of_a_weak_row_and_empty_rows_do_not_count():
    norms = np.arange(1, 12)
    J = np.zeros((23, 23))
    J[np.arange(11), np.arange(11) + 11] = norms
    J += J.T
    weak = np.quantile(np.repeat(norms, 2), 0.1)
    for form in (J, sp.csr_array(J)):
        assert prepare(form, largest_code=1, dtype=np.float64).unit == pytest.approx(1 / weak)


def test_real_couplings_and_fields_come_in_natural_units_whatever_their_scale():
    J = np.array([[0.0, 3.0], [3.0, 0.0]])
    h = np.array([4.0, 4.0])
    for scale in (1e-300, 0.7, 1e300):
        for form in (J * scale, sp.csr_array(J * scale)):
            matrix = CouplingMatrix.of(form, h * scale, largest_code=None, dtype=np.float32)
            assert matrix.unit == 1
            np.testing.assert_allclose(multiply(matrix, np.eye(2)), J / 3, rtol=1e-6)
            np.testing.assert_allclose(matrix.field, h / 3)


def test_a_field_counts_in_the_unit_only_where_there_are_no_couplings():
    J = np.array([[0.0, 3.0, 30.0], [3.0, 0.0, 40.0], [30.0, 40.0, 0.0]])
    given = {"largest_code": 1, "dtype": np.float64}
    for form in (J, sp.csr_array(J)):
        matrix = CouplingMatrix.of(form, np.zeros(3), **given, field_spin=True)
        assert matrix.unit == pytest.approx(1 / 3)
    alone = CouplingMatrix.of(np.zeros((2, 2)), np.full(2, 5.0), **given)
    assert alone.unit == pytest.approx(1 / 5)


def test_one_strong_row_cannot_push_the_others_out_of_range():
    J = np.diag(np.full(40, 1e-30), 1)
    J[0, 41 - 1] = 1.0
    matrix = prepare(J + J.T, largest_code=None, dtype=np.float32)
    product = multiply(matrix, np.ones((41, 1)))
    assert np.abs(product).max() == pytest.approx(1e4)


def test_no_couplings_at_all_are_fine():
    for form in (np.zeros((3, 3), np.int16), sp.csr_array((3, 3), dtype=np.int16)):
        matrix = prepare(form, largest_code=127, dtype=np.float32)
        assert matrix.unit == 1
        np.testing.assert_array_equal(multiply(matrix, np.ones((3, 4))), 0)
