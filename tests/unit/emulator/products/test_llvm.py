"""LLVM written by hand: loops that carry sums, branches, and vectors of one value."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import njit

from emulator.products.llvm import (
    at,
    columns_of,
    constant,
    emitted,
    spread,
    sums,
    switch,
    vector,
)

FOUR = ir.VectorType(ir.DoubleType(), 4)


@emitted
def _powers(builder: Any, values: Any, power: Any, out: Any) -> None:
    """Add the sum of the first or second powers of `values` to each of four numbers."""

    def emit(power: int) -> None:
        def step(k: Any, totals: Any) -> list[Any]:
            value = builder.load(at(builder, values.data, k))
            return [builder.fadd(totals[0], builder.fmul(value, value) if power == 2 else value)]

        start = [ir.Constant(ir.DoubleType(), 0.0)]
        (total,) = sums(builder, (constant(0), columns_of(builder, values)), start, step)
        place = vector(builder, out.data, FOUR)
        before = builder.load(place, align=8)
        builder.store(builder.fadd(before, spread(builder, total, FOUR)), place, align=8)

    switch(builder, power, {some: partial(emit, some) for some in (1, 2)})


@njit
def powers(values, power, out):
    _powers(values, power, out)


@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_a_loop_carries_its_sum_and_a_branch_is_taken_by_its_value(n):
    values, out = np.arange(n, dtype=np.float64), np.arange(4.0)
    powers(values, 1, out)
    np.testing.assert_array_equal(out, np.arange(4) + values.sum())
    powers(values, 2, out)
    np.testing.assert_array_equal(out, np.arange(4) + values.sum() + (values**2).sum())
    before = out.copy()
    powers(values, 3, out)  # no branch
    np.testing.assert_array_equal(out, before)


def test_features_are_those_that_numba_compiles_for():
    code = (
        "from emulator.products.llvm import processor_has;"
        "print(processor_has('avx512vnni'), processor_has('avx512f'), processor_has('nothing'))"
    )
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"] * 3
