"""Kernels of searches by single flips of bits, over quadratic forms.

A form is xᵀQx for symmetric Q: `coupling` is 2Q with an empty diagonal, `linear` the diagonal of
Q. A flip of bit i changes the value by (1 - 2 x_i) f_i with f = linear + coupling x; after a flip
all these changes are brought up to date by one row of `coupling`. Each row of bits is searched by
itself, in one thread: the result does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

__all__ = ["anneal", "descend"]

Function = TypeVar("Function", bound="Callable[..., Any]")


def _kernel(function: Function) -> Function:
    """Compile a loop over arrays: cached on disk, without Python's lock."""
    compiled: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


@_kernel
def _changes(coupling: Any, linear: Any, x: Any, signs: Any, changes: Any) -> None:
    """Write the sign 1 - 2x of each bit, and by how much its flip changes the value."""
    for i in range(linear.size):
        signs[i] = 1.0 - 2.0 * x[i]
        changes[i] = linear[i]
    for j in range(linear.size):
        if x[j]:
            for i in range(linear.size):
                changes[i] += coupling[j, i]
    for i in range(linear.size):
        changes[i] *= signs[i]


@_kernel
def _flip(coupling: Any, at: int, signs: Any, changes: Any) -> None:
    """Flip one bit."""
    sign = signs[at]
    for i in range(signs.size):
        changes[i] += sign * signs[i] * coupling[at, i]
    signs[at] = -sign
    changes[at] = -changes[at]


@_kernel
def descend(coupling: Any, linear: Any, bits: Any, tolerance: float, flips: Any) -> None:
    """Flip in each row what lowers the value most, until no flip lowers it by `tolerance`.

    `bits` (rows, n), int8, are changed in place; `flips` (rows,) counts.
    """
    n = linear.size
    signs, changes = np.empty(n), np.empty(n)
    for row in range(bits.shape[0]):
        _changes(coupling, linear, bits[row], signs, changes)
        while True:
            best, at = -tolerance, -1
            for i in range(n):
                if changes[i] < best:
                    best, at = changes[i], i
            if at < 0:
                break
            _flip(coupling, at, signs, changes)
            bits[row, at] = 1 - bits[row, at]
            flips[row] += 1


@_kernel
def anneal(coupling: Any, linear: Any, bits: Any, temperatures: Any, streams: Any) -> None:
    """Visit all bits of each row in turn, once a temperature, by the rule of Metropolis.

    `bits` (rows, n), int8, are changed in place; `streams` (rows,), uint64, are the states of a
    generator (splitmix64) for each row.
    """
    n = linear.size
    signs, changes = np.empty(n), np.empty(n)
    for row in range(bits.shape[0]):
        state = streams[row]
        _changes(coupling, linear, bits[row], signs, changes)
        for temperature in temperatures:
            for i in range(n):
                if changes[i] > 0:
                    state += np.uint64(0x9E3779B97F4A7C15)
                    z = state
                    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                    z = (z ^ (z >> np.uint64(31))) >> np.uint64(11)
                    if np.exp(-changes[i] / temperature) <= z * 2.0**-53:
                        continue
                _flip(coupling, i, signs, changes)
                bits[row, i] = 1 - bits[row, i]
