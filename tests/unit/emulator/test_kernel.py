"""What the decorator of kernels promises: wide vectors, IEEE division, a cache, no lock."""

from __future__ import annotations

import time

import numpy as np
from numba import njit

from emulator.kernel import compilation_timed, inlined, kernel


@inlined
def inverse(x: float) -> float:
    return 1.0 / x


@kernel
def invert(x: np.ndarray, out: np.ndarray) -> None:
    for k in range(len(x)):
        out[k] = inverse(x[k])


def test_a_kernel_divides_as_ieee_754_says_and_prefers_wide_vectors(tmp_path, monkeypatch):
    out = np.zeros(3)
    invert.py_func(np.array([1.0, 2.0, 4.0]), out)
    np.testing.assert_array_equal(out, [1.0, 0.5, 0.25])
    invert.compile("void(f8[::1], f8[::1])")
    invert(np.array([1.0, 0.0, -0.0]), out)
    np.testing.assert_array_equal(out, [1.0, np.inf, -np.inf])


def test_a_kernel_is_cached_and_releases_the_lock():
    options = invert.targetoptions
    assert (options["nogil"], options["error_model"]) == (True, "numpy")
    assert type(invert._cache).__name__ == "FunctionCache"


def test_wide_vectors_are_an_attribute_of_the_compiled_function():
    @kernel
    def double(x: np.ndarray) -> None:
        for k in range(len(x)):
            x[k] += x[k]

    double._cache = type(double._cache)(double.py_func)
    double._cache.disable()
    x = np.ones(4)
    double(x)
    np.testing.assert_array_equal(x, 2.0)
    (code,) = double.inspect_llvm().values()
    assert '"prefer-vector-width"="512"' in code


def test_the_time_of_compiling_is_measured_once_however_calls_are_nested():
    @njit
    def inner(x: float) -> float:
        return x + 1

    @njit
    def outer(x: float) -> float:
        return inner(x)

    with compilation_timed() as timer:
        began = time.perf_counter()
        assert outer(1.0) == 2.0
        elapsed = time.perf_counter() - began
    assert 0 < timer.seconds <= elapsed
    with compilation_timed() as timer:
        assert outer(2.0) == 3.0
    assert timer.seconds == 0
