"""Tiles of bytes: Intel's AMX multiplies 16 by 64 unsigned with 64 by 16 signed ones at a stroke.

Seven times as fast as AVX-512 VNNI while couplings fit the cache (550 spins), 3.4 times from
2000 spins on, where reading them takes longer than multiplying; one core of 2023. A processor's
tiles are off until the operating system is asked for them, which Linux grants a whole process.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator.products.llvm import at, columns_of, constant, processor_has, sums

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TILE_BYTES", "TILE_ROWS", "has_tiles", "multiply_tiles", "tiles_off", "tiles_on"]

TILE_ROWS = 16
TILE_BYTES = 64  # of a row
_SIZE = TILE_ROWS * TILE_BYTES
_WORD = 4

_VOID, _I8 = ir.VoidType(), ir.IntType(8)
_BYTES = _I8.as_pointer()

# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), see Documentation/arch/x86/xstate.rst
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18


@cache
def has_tiles() -> bool:
    """Whether numba compiles for tiles of bytes, and the operating system lets us use them."""
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


def _emit_on(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    shapes = bytearray(TILE_BYTES)
    shapes[0] = 1  # palette: 8 tiles
    shapes[16:32:2] = bytes([TILE_BYTES] * 8)
    shapes[48:56] = bytes([TILE_ROWS] * 8)
    value = ir.Constant(ir.ArrayType(_I8, len(shapes)), shapes)
    place = cgutils.global_constant(builder, "all_tiles_16_by_64", value)
    _call(builder, "ldtilecfg", builder.bitcast(place, _BYTES))
    return context.get_dummy_value()


def _emit_off(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
    _call(builder, "tilerelease")
    return context.get_dummy_value()


@intrinsic
def tiles_on(typing_context: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Take the tiles of this thread."""
    return types.void(), _emit_on


@intrinsic
def tiles_off(typing_context: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Let go of them, which spares the operating system from saving them."""
    return types.void(), _emit_off


def _emit_product(
    n_vectors: int, context: Any, builder: Any, signature: Any, arguments: Any
) -> Any:
    levels, codes, out = (
        context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 4)
    )
    n_tiles = cgutils.unpack_tuple(builder, levels.shape, 4)[1]
    stride = builder.mul(columns_of(builder, codes), constant(_WORD))
    first_tile = builder.mul(arguments[1], builder.mul(n_tiles, constant(_SIZE)))
    rows = at(builder, builder.bitcast(levels.data, _BYTES), first_tile)
    first_code = builder.bitcast(at(builder, codes.data, arguments[3]), _BYTES)
    row_tile, code_tiles = _tile(n_vectors), range(n_vectors + 1, 8)
    for v in range(n_vectors):
        _call(builder, "tilezero", _tile(v))

    def step(k: Any, nothing: Any) -> list[Any]:  # noqa: ARG001  sums are in tiles
        place = at(builder, rows, builder.mul(k, constant(_SIZE)))
        _call(builder, "tileloadd64", row_tile, place, constant(TILE_BYTES))
        line = builder.mul(k, builder.mul(stride, constant(TILE_ROWS)))
        for v in range(n_vectors):
            code_tile = _tile(code_tiles[v % len(code_tiles)])
            place = at(builder, first_code, builder.add(line, constant(v * TILE_BYTES)))
            _call(builder, "tileloadd64", code_tile, place, stride)
            _call(builder, "tdpbusd", _tile(v), row_tile, code_tile)
        return []

    sums(builder, (constant(0), n_tiles), [], step)
    stride = builder.mul(columns_of(builder, out), constant(_WORD))
    first_sum = builder.bitcast(out.data, _BYTES)
    for v in range(n_vectors):
        _call(builder, "tilestored64", _tile(v), at(builder, first_sum, v * TILE_BYTES), stride)
    return context.get_dummy_value()


def _product(n_vectors: int) -> Any:
    @intrinsic
    def multiply(
        typing_context: Any,  # noqa: ARG001
        levels: Any,
        row_tile: Any,  # noqa: ARG001
        codes: Any,
        first_run: Any,  # noqa: ARG001
        out: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        signature = types.void(levels, types.intp, codes, types.intp, out)
        return signature, partial(_emit_product, n_vectors)

    return multiply


# By the number of vectors of 16 runs, 1 to 4: write to `out` int32 (16, 64) the sums
# sum_k dot(levels[row_tile, k, i], codes[16 k.., first_run + r]) of rows of 64 bytes. `levels` are
# int32 (row tiles, column tiles, 16, 16), codes int32 (16 column tiles, runs): four bytes a word.
multiply_tiles = tuple(_product(count) for count in range(1, 5))
