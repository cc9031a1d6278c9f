"""Intel's AMX: multiplies a tile of 16 x 64 unsigned bytes by one of 64 x 16 signed bytes.

Seven times as fast as AVX-512 VNNI while couplings fit the cache (550 spins), 3.4 times from
2000 spins on, where reading them takes longer than multiplying; one core of 2023. A process must
ask the operating system for the tile registers before it uses them; Linux grants them to the
whole process.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from emulator.products.llvm import at, columns_of, constant, emitted, processor_has, sums, switch

__all__ = ["TILE_BYTES", "TILE_ROWS", "has_tiles", "multiply_tiles", "tiles_off", "tiles_on"]

TILE_ROWS = 16
TILE_BYTES = 64  # of a row
_SIZE = TILE_ROWS * TILE_BYTES
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
    shapes = bytearray(TILE_BYTES)
    shapes[0] = 1  # palette: 8 tiles
    shapes[16 : 16 + 2 * _TILES : 2] = bytes([TILE_BYTES] * _TILES)
    shapes[48 : 48 + _TILES] = bytes([TILE_ROWS] * _TILES)
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
    emit = partial(_emit_product, builder, levels, row_tile, codes, first_run, out)
    switch(builder, n_vectors, {n: partial(emit, n) for n in range(1, 5)})


def _emit_product(
    builder: Any,
    levels: Any,
    row_tile: Any,
    codes: Any,
    first_run: Any,
    out: Any,
    n_vectors: int,
) -> None:
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
        _call(builder, "tileloadd64", level_tile, place, constant(TILE_BYTES))
        line = builder.mul(k, builder.mul(stride, constant(TILE_ROWS)))
        for v in range(n_vectors):
            code_tile = _tile(code_tiles[v % len(code_tiles)])
            place = at(builder, first_code, builder.add(line, constant(v * TILE_BYTES)))
            _call(builder, "tileloadd64", code_tile, place, stride)
            _call(builder, "tdpbusd", _tile(v), level_tile, code_tile)
        return []

    sums(builder, (constant(0), n_tiles), [], step)
    stride = builder.mul(columns_of(builder, out), constant(_WORD))
    first_sum = builder.bitcast(out.data, _BYTES)
    for v in range(n_vectors):
        _call(builder, "tilestored64", _tile(v), at(builder, first_sum, v * TILE_BYTES), stride)
