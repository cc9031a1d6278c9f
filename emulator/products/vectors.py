"""Sums over couplings that stay in registers, where loops that numba compiles go through memory.

Intrinsics for 64, 32 or 16 runs at once; LLVM cuts their vectors into those of the processor.
Each run's sum is made by itself and in the order of the couplings, so that it does not depend on
the others. Floating-point products are not rounded where the processor fuses them with the sum.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator.products.llvm import I64, at, columns_of, constant, spread, sums, vector

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROWS", "WIDTHS", "add_dense_row", "add_dense_rows", "add_row", "add_unit_row"]

WIDTHS = (64, 32, 16)  # runs
# 6 rows of 64 float32 fill 24 of 32 registers of 512 bits
ROWS = 6


def _arrays(context: Any, builder: Any, kinds: Any, arguments: Any, *places: int) -> list[Any]:
    return [context.make_array(kinds[k])(context, builder, arguments[k]) for k in places]


def _zeros(item: Any, width: int) -> Any:
    return ir.Constant(ir.VectorType(item, width), [ir.Constant(item, 0)] * width)


def _load(builder: Any, address: Any, width: int) -> Any:
    kind = ir.VectorType(address.type.pointee, width)
    return builder.load(vector(builder, address, kind), align=1)


def _store(builder: Any, total: Any, address: Any) -> None:
    """Write sums, which become floating point if they are integers."""
    kind = ir.VectorType(address.type.pointee, total.type.count)
    if isinstance(total.type.element, ir.IntType):
        total = builder.sitofp(total, kind)
    builder.store(total, vector(builder, address, kind), align=4)


def _emit_row(width: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    columns, values, codes, out = _arrays(context, builder, signature.args, arguments, 0, 1, 4, 6)
    first_code, length = at(builder, codes.data, arguments[5]), columns_of(builder, codes)
    kind = ir.VectorType(values.data.type.pointee, width)

    def step(k: Any, totals: Any) -> list[Any]:
        value = spread(builder, builder.load(at(builder, values.data, k)), kind)
        column = builder.zext(builder.load(at(builder, columns.data, k)), I64)
        some = _load(builder, at(builder, first_code, builder.mul(column, length)), width)
        if isinstance(kind.element, ir.IntType):
            return [builder.add(totals[0], builder.mul(value, builder.sext(some, kind)))]
        product = builder.fmul(value, some, flags=("contract",))
        return [builder.fadd(totals[0], product, flags=("contract",))]

    bounds, start = (arguments[2], arguments[3]), _zeros(kind.element, width)
    total = sums(builder, bounds, [start], step)[0]
    _store(builder, total, at(builder, out.data, arguments[5]))
    return context.get_dummy_value()


def _emit_unit_row(width: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    columns, codes, out = _arrays(context, builder, signature.args, arguments, 0, 4, 6)
    first_code, length = at(builder, codes.data, arguments[5]), columns_of(builder, codes)

    def step(combine: Callable[..., Any], k: Any, totals: Any) -> list[Any]:
        column = builder.zext(builder.load(at(builder, columns.data, k)), I64)
        place = at(builder, first_code, builder.mul(column, length))
        return [combine(totals[0], _load(builder, place, width))]

    first, middle, end = arguments[1:4]
    total = [_zeros(codes.data.type.pointee, width)]
    total = sums(builder, (first, middle), total, partial(step, builder.add))
    total = sums(builder, (middle, end), total, partial(step, builder.sub))
    _store(builder, total[0], at(builder, out.data, arguments[5]))
    return context.get_dummy_value()


def _emit_dense(
    n_rows: int, width: int, context: Any, builder: Any, signature: Any, arguments: Any
) -> Any:
    J, codes, out = _arrays(context, builder, signature.args, arguments, 0, 2, 4)
    n_columns, length = columns_of(builder, J), columns_of(builder, codes)
    kind = ir.VectorType(J.data.type.pointee, width)
    lines = [builder.add(arguments[1], constant(i)) for i in range(n_rows)]
    rows = [at(builder, J.data, builder.mul(line, n_columns)) for line in lines]
    first_code = at(builder, codes.data, arguments[3])
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
        place = builder.add(builder.mul(line, columns_of(builder, out)), arguments[3])
        _store(builder, total, at(builder, out.data, place))
    return context.get_dummy_value()


def _row(width: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any,  # noqa: ARG001
        columns: Any,
        values: Any,
        first: Any,  # noqa: ARG001
        end: Any,  # noqa: ARG001
        codes: Any,
        first_run: Any,  # noqa: ARG001
        out: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        index = types.intp
        signature = types.void(columns, values, index, index, codes, index, out)
        return signature, partial(_emit_row, width)

    return add


def _unit_row(width: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any,  # noqa: ARG001
        columns: Any,
        first: Any,  # noqa: ARG001
        middle: Any,  # noqa: ARG001
        end: Any,  # noqa: ARG001
        codes: Any,
        first_run: Any,  # noqa: ARG001
        out: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        index = types.intp
        signature = types.void(columns, index, index, index, codes, index, out)
        return signature, partial(_emit_unit_row, width)

    return add


def _dense(n_rows: int, width: int) -> Any:
    @intrinsic
    def add(
        typing_context: Any,  # noqa: ARG001
        J: Any,
        first_row: Any,  # noqa: ARG001
        codes: Any,
        first_run: Any,  # noqa: ARG001
        out: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        signature = types.void(J, types.intp, codes, types.intp, out)
        return signature, partial(_emit_dense, n_rows, width)

    return add


# By `WIDTHS`. add_row writes sum_k values[k] codes[columns[k]], k from first to end - 1, to a row
# `out`; add_unit_row the same where values are 1 up to `middle` and then -1. Sums have the type
# of the values, those of add_unit_row of the codes. add_dense_rows and add_dense_row write the
# product of ROWS rows of J, or one, with all codes to the same rows of `out`.
add_row = tuple(_row(width) for width in WIDTHS)
add_unit_row = tuple(_unit_row(width) for width in WIDTHS)
add_dense_rows = tuple(_dense(ROWS, width) for width in WIDTHS)
add_dense_row = tuple(_dense(1, width) for width in WIDTHS)
