"""Sums over couplings that stay in registers, where loops that numba compiles go through memory.

Intrinsics for 64, 32 or 16 runs at once; LLVM splits their vectors into those of the processor.
Each run's sum is computed independently and in the order of the couplings, so that it does not
depend on the other runs. Floating-point products are not rounded where the processor fuses them
with the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils

from emulator.products.llvm import (
    I64,
    LANES,
    at,
    columns_of,
    constant,
    emitted,
    spread,
    sums,
    switch,
    vector,
)

__all__ = [
    "TILE_ROWS",
    "WIDTHS",
    "add_dense_row",
    "add_dense_rows",
    "add_row",
    "add_unit_row",
    "widest",
]

WIDTHS = (4 * LANES, 2 * LANES, LANES)  # runs
# 6 rows of 64 float32 fill 24 of 32 registers of 512 bits
TILE_ROWS = 6

_WIDE, _HALF, _NARROW = WIDTHS


@njit(inline="always")
def widest(n_left: int) -> int:
    """Return the largest of `WIDTHS` that `n_left` runs, 16 at least, fill."""
    return _WIDE if n_left >= _WIDE else _HALF if n_left >= _HALF else _NARROW


@emitted
def add_row(
    builder: Any,
    columns: Any,
    values: Any,
    first: Any,
    end: Any,
    codes: Any,
    first_run: Any,
    width: Any,
    out: Any,
) -> None:
    """Write ``sum_k values[k] codes[columns[k]]``, k from `first` to `end` - 1, to a row `out`.

    `width` is one of `WIDTHS`, here and below. Sums have the type of the values.
    """

    def emit(width: int) -> None:
        first_code, length = at(builder, codes.data, first_run), columns_of(builder, codes)
        kind = ir.VectorType(values.data.type.pointee, width)

        def step(k: Any, totals: Any) -> list[Any]:
            value = spread(builder, builder.load(at(builder, values.data, k)), kind)
            column = builder.zext(builder.load(at(builder, columns.data, k)), I64)
            some = _load(builder, at(builder, first_code, builder.mul(column, length)), width)
            if isinstance(kind.element, ir.IntType):
                return [builder.add(totals[0], builder.mul(value, builder.sext(some, kind)))]
            product = builder.fmul(value, some, flags=("contract",))
            return [builder.fadd(totals[0], product, flags=("contract",))]

        total = sums(builder, (first, end), [_zeros(kind.element, width)], step)[0]
        _store(builder, total, at(builder, out.data, first_run))

    switch(builder, width, {some: partial(emit, some) for some in WIDTHS})


@emitted
def add_unit_row(
    builder: Any,
    columns: Any,
    first: Any,
    middle: Any,
    end: Any,
    codes: Any,
    first_run: Any,
    width: Any,
    out: Any,
) -> None:
    """Do as `add_row` where values are 1 up to `middle` and then -1; sums have the codes' type."""

    def emit(width: int) -> None:
        first_code, length = at(builder, codes.data, first_run), columns_of(builder, codes)

        def step(combine: Callable[..., Any], k: Any, totals: Any) -> list[Any]:
            column = builder.zext(builder.load(at(builder, columns.data, k)), I64)
            place = at(builder, first_code, builder.mul(column, length))
            return [combine(totals[0], _load(builder, place, width))]

        total = [_zeros(codes.data.type.pointee, width)]
        total = sums(builder, (first, middle), total, partial(step, builder.add))
        total = sums(builder, (middle, end), total, partial(step, builder.sub))
        _store(builder, total[0], at(builder, out.data, first_run))

    switch(builder, width, {some: partial(emit, some) for some in WIDTHS})


@emitted
def add_dense_rows(
    builder: Any, J: Any, first_row: Any, codes: Any, first_run: Any, width: Any, out: Any
) -> None:
    """Write the product of `TILE_ROWS` rows of J and all codes to the same rows of `out`."""
    emit = partial(_emit_dense, builder, J, first_row, codes, first_run, out, TILE_ROWS)
    switch(builder, width, {some: partial(emit, some) for some in WIDTHS})


@emitted
def add_dense_row(builder: Any, J: Any, row: Any, codes: Any, first_run: Any, out: Any) -> None:
    """Write the product of one row of J and the codes of 16 runs to the same row of `out`."""
    _emit_dense(builder, J, row, codes, first_run, out, 1, _NARROW)


def _emit_dense(
    builder: Any,
    J: Any,
    first_row: Any,
    codes: Any,
    first_run: Any,
    out: Any,
    n_rows: int,
    width: int,
) -> None:
    n_columns, length = columns_of(builder, J), columns_of(builder, codes)
    kind = ir.VectorType(J.data.type.pointee, width)
    lines = [builder.add(first_row, constant(i)) for i in range(n_rows)]
    rows = [at(builder, J.data, builder.mul(line, n_columns)) for line in lines]
    first_code = at(builder, codes.data, first_run)
    name = f"llvm.fma.v{width}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), name
    )

    def step(k: Any, totals: Any) -> list[Any]:
        some = _load(builder, at(builder, first_code, builder.mul(k, length)), width)
        values = [spread(builder, builder.load(at(builder, row, k)), kind) for row in rows]
        return [
            builder.call(multiply_add, [value, some, total])
            for value, total in zip(values, totals, strict=True)
        ]

    starts = [_zeros(kind.element, width)] * n_rows
    totals = sums(builder, (constant(0), n_columns), starts, step)
    for line, total in zip(lines, totals, strict=True):
        place = builder.add(builder.mul(line, columns_of(builder, out)), first_run)
        _store(builder, total, at(builder, out.data, place))


def _zeros(item: Any, width: int) -> Any:
    return ir.Constant(ir.VectorType(item, width), [ir.Constant(item, 0)] * width)


def _load(builder: Any, address: Any, width: int) -> Any:
    kind = ir.VectorType(address.type.pointee, width)
    return builder.load(vector(builder, address, kind), align=1)


def _store(builder: Any, total: Any, address: Any) -> None:
    """Write sums; integers become floating point."""
    kind = ir.VectorType(address.type.pointee, total.type.count)
    if isinstance(total.type.element, ir.IntType):
        total = builder.sitofp(total, kind)
    builder.store(total, vector(builder, address, kind), align=4)
