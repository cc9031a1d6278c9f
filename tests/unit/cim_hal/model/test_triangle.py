from __future__ import annotations

import numpy as np
import pytest

from cim_hal.model.triangle import Triangle


def _symmetric(n: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(n).normal(size=(n, n)), 1)
    return upper + upper.T


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 600])  # around the size of a block
def test_a_triangle_and_its_matrix_say_the_same(n):
    J = _symmetric(n)
    triangle = Triangle.of(J)
    np.testing.assert_array_equal(triangle.values, J[np.triu_indices(n, 1)])
    np.testing.assert_array_equal(triangle.dense(np.float64), J)


def test_a_border_is_one_more_spin():
    J = _symmetric(5)
    bordered = Triangle.of(J[:4, :4]).dense(np.float64, J[:4, 4])
    np.testing.assert_array_equal(bordered, J)


def test_offsets_find_the_pairs():
    J = _symmetric(9)
    rows, columns = np.triu_indices(9, 1)
    np.testing.assert_array_equal(Triangle.of(J).offsets(rows, columns), np.arange(36))
