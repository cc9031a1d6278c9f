"""Codes in words of four: every byte in its place, and signs like the codes they are."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.products.packing import (
    LINE,
    aligned_zeros,
    code_workspace,
    pack_sign_words,
    pack_words,
)

SIZES = [1, 2, 3, 4, 5, 63, 64, 65, 100]


@pytest.mark.parametrize("n", SIZES)
def test_spin_j_is_byte_j_of_its_column(n):
    codes = np.random.default_rng(n).integers(-128, 128, (n, 20))
    workspace = code_workspace(n, 20)
    assert workspace.words.shape == (16 * -(-n // 64), 32)
    assert workspace.words.ctypes.data % LINE == 0
    for _ in range(2):  # a workspace is used again and again
        assert pack_words(codes.astype(np.float32), workspace)
        unpacked = (
            workspace.words.view(np.int8).reshape(-1, 32, 4).transpose(0, 2, 1).reshape(-1, 32)
        )
        np.testing.assert_array_equal(unpacked[:n, :20], codes)
        assert not unpacked[n:].any()
        assert not unpacked[:, 20:].any()
        np.testing.assert_array_equal(workspace.totals[:20], codes.sum(axis=0))


@pytest.mark.parametrize("n", SIZES)
def test_signs_are_packed_as_the_codes_they_are(n):
    x = np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32)
    x[0] = 0  # counts as +1
    one, other = code_workspace(n, 16), code_workspace(n, 16)
    for sign in (1, -1):
        pack_sign_words(sign * x, one)
        assert pack_words(np.where(sign * x < 0, -1.0, 1.0), other)
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.totals, other.totals)


def test_arrays_start_where_a_cache_line_does():
    for shape, dtype in (((3, 5), np.float32), ((7,), np.int8)):
        zeros = aligned_zeros(shape, dtype)
        assert (zeros.shape, zeros.dtype) == (shape, dtype)
        assert zeros.ctypes.data % LINE == 0
        assert not zeros.any()
