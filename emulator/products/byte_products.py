"""Dot products of bytes, which numba does not emit by itself: AVX-512 VNNI, and Intel's AMX.

Both multiply unsigned bytes of levels by signed bytes of codes: VNNI four of them in each of 16
lanes, AMX a tile of 16 x 64 by one of 64 x 16. AMX is seven times as fast while couplings fit the
cache (550 spins), 3.4 times from 2000 spins on, where reading them takes longer than multiplying;
one core of 2023. A process must ask the operating system for the tile registers before it uses
them; Linux grants them to the whole process.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

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

__all__ = [
    "AMX_BYTES",
    "AMX_ROWS",
    "TILE_VECTORS",
    "VNNI_ROWS",
    "has_byte_products",
    "has_tiles",
    "multiply_tile",
    "multiply_tiles",
    "tiles_off",
    "tiles_on",
]

_VECTOR = ir.VectorType(I32, LANES)

# 24 sums, 4 vectors of codes and a level fill 29 of 32 registers
VNNI_ROWS = 6
TILE_VECTORS = 4


def has_byte_products() -> bool:
    """Whether numba compiles for AVX-512 VNNI, which `multiply_tile` needs."""
    return processor_has("avx512vnni")


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

    def emit(n_vectors: int) -> None:
        # sums stay in registers over the loop along columns
        length, width = columns_of(builder, levels), columns_of(builder, codes)
        lines = [builder.add(first_row, constant(i)) for i in range(VNNI_ROWS)]
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

        starts = [ir.Constant(_VECTOR, [0] * LANES)] * (VNNI_ROWS * n_vectors)
        totals = sums(builder, (constant(0), length), starts, step)
        for i, total in enumerate(totals):
            row, v = divmod(i, n_vectors)
            place = at(builder, tile.data, (row * TILE_VECTORS + v) * LANES)
            builder.store(total, vector(builder, place, _VECTOR), align=4)

    switch(builder, n_vectors, {n: partial(emit, n) for n in range(1, TILE_VECTORS + 1)})


def _dot(builder: Any, total: Any, level: Any, code: Any) -> Any:
    """Add four products of unsigned bytes of `level` and signed bytes of `code`."""
    # newer LLVM declares vectors of bytes here, and upgrades this older form by itself
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    name = "llvm.x86.avx512.vpdpbusd.512"
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, name), [total, level, code]
    )


AMX_ROWS = 16
AMX_BYTES = 64  # of a row
_SIZE = AMX_ROWS * AMX_BYTES
_WORD = 4
_TILES = 8  # registers

_VOID, _I8 = ir.VoidType(), ir.IntType(8)
_BYTES = _I8.as_pointer()

# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), see Documentation/arch/x86/xstate.rst
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18


@cache
def has_tiles() -> bool:
    """Whether numba compiles for AMX, and the operating system grants its registers."""
    if not (sys.platform == "linux" and processor_has("amx-int8")):
        return False
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
    except (OSError, AttributeError):
        return False


def _call(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(_VOID, [argument.type for argument in arguments])
    builder.call(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments
    )


def _tile(number: int) -> Any:
    return ir.Constant(_I8, number)


@emitted
def tiles_on(builder: Any) -> None:
    """Configure the tile registers of this thread: 8 tiles of 16 rows of 64 bytes."""
    shapes = bytearray(AMX_BYTES)
    shapes[0] = 1  # palette: 8 tiles
    shapes[16 : 16 + 2 * _TILES : 2] = bytes([AMX_BYTES] * _TILES)
    shapes[48 : 48 + _TILES] = bytes([AMX_ROWS] * _TILES)
    value = ir.Constant(ir.ArrayType(_I8, len(shapes)), shapes)
    place = cgutils.global_constant(builder, "all_tiles_16_by_64", value)
    _call(builder, "ldtilecfg", builder.bitcast(place, _BYTES))


@emitted
def tiles_off(builder: Any) -> None:
    """Release the tile registers, so that the operating system need not save them."""
    _call(builder, "tilerelease")


@emitted
def multiply_tiles(
    builder: Any,
    levels: Any,
    row_tile: Any,
    codes: Any,
    first_run: Any,
    n_vectors: Any,
    out: Any,
) -> None:
    """Write dot products of rows of 64 bytes to `out`, int32 (16, 64).

    ``out[i, r] = sum_k dot(levels[row_tile, k, i], codes[16 k.., first_run + r])``, for 16
    `n_vectors` runs, 1 to 4 vectors. `levels` are int32 (row tiles, column tiles, 16, 16), codes
    int32 (16 column tiles, runs): four bytes a word.
    """

    def emit(n_vectors: int) -> None:
        # tiles 0 to n_vectors - 1 hold sums, the next one levels, the others codes
        n_tiles = cgutils.unpack_tuple(builder, levels.shape, 4)[1]
        stride = builder.mul(columns_of(builder, codes), constant(_WORD))
        first_tile = builder.mul(row_tile, builder.mul(n_tiles, constant(_SIZE)))
        rows = at(builder, builder.bitcast(levels.data, _BYTES), first_tile)
        first_code = builder.bitcast(at(builder, codes.data, first_run), _BYTES)
        level_tile, code_tiles = _tile(n_vectors), range(n_vectors + 1, _TILES)
        for v in range(n_vectors):
            _call(builder, "tilezero", _tile(v))

        def step(k: Any, _: Any) -> list[Any]:
            place = at(builder, rows, builder.mul(k, constant(_SIZE)))
            _call(builder, "tileloadd64", level_tile, place, constant(AMX_BYTES))
            line = builder.mul(k, builder.mul(stride, constant(AMX_ROWS)))
            for v in range(n_vectors):
                code_tile = _tile(code_tiles[v % len(code_tiles)])
                place = at(builder, first_code, builder.add(line, constant(v * AMX_BYTES)))
                _call(builder, "tileloadd64", code_tile, place, stride)
                _call(builder, "tdpbusd", _tile(v), level_tile, code_tile)
            return []

        sums(builder, (constant(0), n_tiles), [], step)
        stride = builder.mul(columns_of(builder, out), constant(_WORD))
        first_sum = builder.bitcast(out.data, _BYTES)
        for v in range(n_vectors):
            _call(builder, "tilestored64", _tile(v), at(builder, first_sum, v * AMX_BYTES), stride)

    switch(builder, n_vectors, {n: partial(emit, n) for n in range(1, 5)})
