"""The reference itself: exact integers, and a bound that rounding in any order obeys."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from numpy_reference import reference_product, rounding_bound


def test_integers_stored_as_floats_are_summed_as_integers():
    J, codes = np.array([[0, 2.0**40], [2.0**40, 0]]), np.array([[2**12 - 1.0], [1.0]])
    for form in (J, sp.csr_array(J)):
        product = reference_product(form, codes)
        assert product.dtype == np.int64
        assert product.tolist() == [[2**40], [2**40 * (2**12 - 1)]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_in_any_order_stay_within_the_bound(dtype):
    rng = np.random.default_rng(0)
    row = (rng.normal(size=200) * 10.0 ** rng.integers(-8, 9, 200)).astype(dtype)
    codes = rng.normal(size=200).astype(dtype)
    exact = sum(Fraction(float(v)) * Fraction(float(c)) for v, c in zip(row, codes, strict=True))
    J = np.zeros((200, 200), dtype)
    J[0] = row
    bound = rounding_bound(J, codes[:, None], dtype)[0, 0]
    assert abs(Fraction(float(reference_product(J, codes[:, None])[0, 0])) - exact) <= bound
    for order in (np.arange(200), np.argsort(row), np.argsort(-np.abs(row * codes))):
        total = dtype(0)
        for k in order:
            total = dtype(total + row[k] * codes[k])
        assert abs(Fraction(float(total)) - exact) <= bound


def test_products_that_underflow_are_covered():
    J, codes = np.array([[1e-30]], np.float32), np.array([[1e-30]], np.float32)
    assert rounding_bound(J, codes, np.float32)[0, 0] >= 1e-60
