"""What the decorator of kernels promises: wide vectors, IEEE division, a cache, no lock."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

import numpy as np
from numba import njit

from emulator.kernel import compilation_timed, inlined, kernel, kernel_part


@inlined
def inverse(x: float) -> float:
    return 1.0 / x


@kernel
def invert(x: np.ndarray, out: np.ndarray) -> None:
    for k in range(len(x)):
        out[k] = inverse(x[k])


@kernel_part
def add(x: np.ndarray, y: float) -> None:
    for k in range(len(x)):
        x[k] += y


@kernel
def add_twice(x: np.ndarray, y: float) -> None:
    add(x, y)
    add(x, y)


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


def test_a_kernel_that_another_process_compiles_is_waited_for(monkeypatch):
    @kernel
    def treble(x: np.ndarray) -> None:
        for k in range(len(x)):
            x[k] *= 3

    here = Path(treble._cache.cache_path)
    for lock in here.glob("*treble*.lock"):  # of this test, elsewhere in its file
        lock.unlink()
    (lock,) = here.glob("*treble*.lock") if treble.compile("void(f8[::1])") else ()
    with lock.open("a") as held:  # locks are those of open files, so that it is as another process
        fcntl.flock(held, fcntl.LOCK_EX)
        caller = threading.Thread(target=treble, args=(np.ones(2, np.float32),))
        caller.start()
        caller.join(0.3)
        assert (caller.is_alive(), len(treble.overloads)) == (True, 1)
    caller.join()
    assert len(treble.overloads) == 2
    with lock.open("a") as held:  # whoever holds it for too long is not waited for
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr("emulator.kernel.WAIT_S", 0.1)
        treble(np.ones(2, np.int64))
    assert len(treble.overloads) == 3


def test_a_function_of_kernels_can_be_called_from_python_as_well():
    assert (inverse(4.0), inverse.py_func(4.0), inverse.__name__) == (0.25, 0.25, "inverse")


def test_a_part_of_kernels_is_cached_and_can_be_called_from_python_as_well():
    x = np.zeros(2)
    add_twice(x, 1.0)
    add(x, 0.5)
    np.testing.assert_array_equal(x, 2.5)
    compiled = add._in_kernels
    assert type(compiled._cache).__name__ == "FunctionCache"
    assert compiled.targetoptions["no_cpython_wrapper"]


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
