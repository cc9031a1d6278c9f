"""What numba does not emit by itself: vectors of 512 bits, dot products of bytes.

Both are intrinsics, LLVM written by hand, and neither changes a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator.products.llvm import (
    I32,
    at,
    columns_of,
    constant,
    processor_has,
    spread,
    sums,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LANES",
    "TILE_ROWS",
    "TILE_VECTORS",
    "has_byte_products",
    "multiply_tile",
    "prefer_wide_vectors",
]

LANES = 16  # 32-bit numbers in a vector
# 24 sums, 4 vectors of codes and a level fill 29 of 32 registers
TILE_ROWS = 6
TILE_VECTORS = 4

_VECTOR = ir.VectorType(I32, LANES)


def has_byte_products() -> bool:
    """Whether numba compiles for AVX-512 VNNI, which `multiply_tile` needs."""
    return processor_has("avx512vnni")


@intrinsic
def prefer_wide_vectors(typing_context: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Let LLVM vectorize the loops of the calling function with 512 bits where there are.

    It prefers 256, for the clock rates of older processors. Noise takes 1.0 instead of 1.9 ns a
    value on one of 2023.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        # llvmlite's own `add` knows a fixed list of attributes, without this one
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def _tile_product(n_vectors: int) -> Any:
    @intrinsic
    def multiply(
        typing_context: Any,  # noqa: ARG001
        levels: Any,
        first_row: Any,  # noqa: ARG001
        codes: Any,
        first_run: Any,  # noqa: ARG001
        tile: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        signature = types.void(levels, types.intp, codes, types.intp, tile)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Emitter(builder, n_vectors).emit(context, signature.args, arguments)
            return context.get_dummy_value()

        return signature, codegen

    return multiply


# By the number of vectors of runs, 1 to 4: write to `tile` (6, 64) int32 the sums
# sum_k dot(levels[first_row + i, k], codes[k, first_run + r]) of words of four bytes each.
multiply_tile = tuple(_tile_product(count) for count in range(1, TILE_VECTORS + 1))


class _Emitter(NamedTuple):
    """Writes the LLVM of a tile: sums stay in registers over the loop along columns."""

    builder: Any
    n_vectors: int

    def emit(self, context: Any, array_types: Any, arguments: Any) -> None:
        """Emit the product of a tile; arguments are those of the intrinsic."""
        builder = self.builder
        levels, codes, tile = (
            context.make_array(array_types[k])(context, builder, arguments[k]) for k in (0, 2, 4)
        )
        length, width = columns_of(builder, levels), columns_of(builder, codes)
        lines = [builder.add(arguments[1], constant(i)) for i in range(TILE_ROWS)]
        rows = [at(builder, levels.data, builder.mul(line, length)) for line in lines]
        first_code = at(builder, codes.data, arguments[3])

        def step(k: Any, totals: Sequence[Any]) -> list[Any]:
            line = at(builder, first_code, builder.mul(k, width))
            some = [self._load(line, v) for v in range(self.n_vectors)]
            values = [spread(builder, builder.load(at(builder, row, k)), _VECTOR) for row in rows]
            pairs = ((value, code) for value in values for code in some)
            return [self._dot(total, *pair) for total, pair in zip(totals, pairs, strict=True)]

        starts = [ir.Constant(_VECTOR, [0] * LANES)] * (TILE_ROWS * self.n_vectors)
        totals = sums(builder, (constant(0), length), starts, step)
        for i, total in enumerate(totals):
            row, v = divmod(i, self.n_vectors)
            place = at(builder, tile.data, (row * TILE_VECTORS + v) * LANES)
            builder.store(total, vector(builder, place, _VECTOR), align=4)

    def _load(self, line: Any, v: int) -> Any:
        place = vector(self.builder, at(self.builder, line, v * LANES), _VECTOR)
        return self.builder.load(place, align=4)

    def _dot(self, total: Any, level: Any, code: Any) -> Any:
        """Add four products of unsigned bytes of `level` and signed bytes of `code`."""
        # newer LLVM declares vectors of bytes here, and upgrades this older form by itself
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        dot = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(dot, [total, level, code])
