"""AVX-512, which numba does not emit by itself: dot products of bytes, loops of 512-bit vectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils

from emulator.products.llvm import (
    I32,
    LANES,
    at,
    columns_of,
    constant,
    emitted,
    processor_has,
    spread,
    sums,
    switch,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "TILE_ROWS",
    "TILE_VECTORS",
    "has_byte_products",
    "multiply_tile",
    "prefer_wide_vectors",
]

# 24 sums, 4 vectors of codes and a level fill 29 of 32 registers
TILE_ROWS = 6
TILE_VECTORS = 4

_VECTOR = ir.VectorType(I32, LANES)


def has_byte_products() -> bool:
    """Whether numba compiles for AVX-512 VNNI, which `multiply_tile` needs."""
    return processor_has("avx512vnni")


def _prefer_wide_vectors(builder: Any) -> None:
    """Let LLVM vectorize the loops of the calling function with 512 bits where available.

    By default it prefers 256, for the clock rates of older processors. Noise takes 1.0 instead of
    1.9 ns a value on a processor of 2023. Results do not change.
    """
    # llvmlite's own `add` knows a fixed list of attributes, without this one
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')


prefer_wide_vectors: Callable[[Any], None] = emitted(_prefer_wide_vectors)


@emitted
def multiply_tile(
    builder: Any,
    levels: Any,
    first_row: Any,
    codes: Any,
    first_run: Any,
    n_vectors: Any,
    tile: Any,
) -> None:
    """Write dot products of words of four bytes to `tile`, int32 (6, 64).

    ``tile[i, r] = sum_k dot(levels[first_row + i, k], codes[k, first_run + r])``, for 16
    `n_vectors` runs, 1 to 4 vectors. Bytes of levels are unsigned, those of codes signed.
    """
    emit = partial(_emit_tile, builder, levels, first_row, codes, first_run, tile)
    switch(builder, n_vectors, {n: partial(emit, n) for n in range(1, TILE_VECTORS + 1)})


def _emit_tile(
    builder: Any,
    levels: Any,
    first_row: Any,
    codes: Any,
    first_run: Any,
    tile: Any,
    n_vectors: int,
) -> None:
    # sums stay in registers over the loop along columns
    length, width = columns_of(builder, levels), columns_of(builder, codes)
    lines = [builder.add(first_row, constant(i)) for i in range(TILE_ROWS)]
    rows = [at(builder, levels.data, builder.mul(line, length)) for line in lines]
    first_code = at(builder, codes.data, first_run)

    def step(k: Any, totals: Sequence[Any]) -> list[Any]:
        line = at(builder, first_code, builder.mul(k, width))
        some = [
            builder.load(vector(builder, at(builder, line, v * LANES), _VECTOR), align=4)
            for v in range(n_vectors)
        ]
        values = [spread(builder, builder.load(at(builder, row, k)), _VECTOR) for row in rows]
        pairs = ((value, code) for value in values for code in some)
        return [_dot(builder, total, *pair) for total, pair in zip(totals, pairs, strict=True)]

    starts = [ir.Constant(_VECTOR, [0] * LANES)] * (TILE_ROWS * n_vectors)
    totals = sums(builder, (constant(0), length), starts, step)
    for i, total in enumerate(totals):
        row, v = divmod(i, n_vectors)
        place = at(builder, tile.data, (row * TILE_VECTORS + v) * LANES)
        builder.store(total, vector(builder, place, _VECTOR), align=4)


def _dot(builder: Any, total: Any, level: Any, code: Any) -> Any:
    """Add four products of unsigned bytes of `level` and signed bytes of `code`."""
    # newer LLVM declares vectors of bytes here, and upgrades this older form by itself
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    name = "llvm.x86.avx512.vpdpbusd.512"
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, name), [total, level, code]
    )
