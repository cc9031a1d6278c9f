"""Dense products of real numbers: right at any size, and the same for a run in any company."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.products.dense import HAS_TILES, dense_product

DTYPES = [np.float32, np.float64]


def draw(n: int, n_runs: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, n)).astype(dtype), rng.normal(size=(n, n_runs)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 11, 12, 13, 100])
def test_products_are_those_of_numpy(n, dtype):
    for n_runs in (16, 32, 48, 64, 80, 128):
        J, x = draw(n, n_runs, dtype)
        out = np.empty_like(x)
        dense_product(J, x, out)
        scale = np.abs(J) @ np.abs(x)
        assert (np.abs(out - J @ x) <= 4 * n * np.finfo(dtype).eps * scale).all()


@pytest.mark.skipif(not HAS_TILES, reason="BLAS promises nothing")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_has_the_same_product_in_any_company(dtype):
    J, x = draw(61, 112, dtype)
    whole = np.empty_like(x)
    dense_product(J, x, whole)
    for first in range(0, 112, 16):
        some = np.ascontiguousarray(x[:, first : first + 16])
        part = np.empty_like(some)
        dense_product(J, some, part)
        np.testing.assert_array_equal(part, whole[:, first : first + 16])
