"""Elementary functions against those of the C library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from emulator.dynamics.saturation import tanh, tanh_float32


@njit
def tanh_of(x: np.ndarray) -> np.ndarray:
    values = np.empty_like(x)
    for i in range(len(x)):
        values[i] = tanh(x[i])
    return values


X = np.concatenate([np.linspace(-12, 12, 200_001), np.geomspace(1e-30, 1, 100_000)])


def test_single_precision_tanh_is_within_a_few_units_in_the_last_place():
    x = X.astype(np.float32)
    exact = np.tanh(x.astype(np.float64))
    found = tanh_of(x)
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= 8 * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_single_precision_tanh_is_odd_to_the_last_bit():
    x = X.astype(np.float32)
    np.testing.assert_array_equal(tanh_of(-x), -tanh_of(x))
    assert tanh_float32(np.float32(0)) == 0


@pytest.mark.parametrize("value", [-3.0, 0.0, 1e-9, 0.7, 40.0])
def test_double_precision_tanh_is_that_of_the_library(value):
    assert tanh(value) == math.tanh(value)
    assert tanh_of(np.array([value]))[0] == pytest.approx(math.tanh(value), rel=1e-15)
