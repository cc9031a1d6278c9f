from __future__ import annotations

import numpy as np
import pytest

from cim_hal.model.packed import TRITS, PackedValues, pack
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
    bordered = Triangle.of(J[:4, :4]).bordered(J[:4, 4])
    np.testing.assert_array_equal(bordered.dense(np.float64), J)


def test_spins_are_flipped_in_place_of_couplings():
    J, signs = _symmetric(5), np.array([1, -1, -1, 1, -1], np.int8)
    flipped = Triangle.of(J).flipped(signs).dense(np.float64)
    np.testing.assert_array_equal(flipped, signs[:, None] * J * signs)


@pytest.mark.parametrize("step", [1, 100, 256, 600])
def test_rows_are_read_a_block_at_a_time_also_from_packed_numbers(step):
    J = np.sign(_symmetric(600)).astype(np.int8) * (np.abs(_symmetric(600)) > 0.5)
    whole = Triangle.of(J)
    packed = Triangle(600, PackedValues(TRITS, pack(TRITS, whole.values), len(whole.values)))
    for triangle in (whole, packed):
        blocks = [triangle.block(at, min(at + step, 600)) for at in range(0, 600, step)]
        np.testing.assert_array_equal(np.concatenate(blocks), J)


def test_offsets_find_the_pairs():
    J = _symmetric(9)
    rows, columns = np.triu_indices(9, 1)
    np.testing.assert_array_equal(Triangle.of(J).offsets(rows, columns), np.arange(36))
