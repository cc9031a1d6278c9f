"""What numba does not emit by itself: vectors of 512 bits, dot products of bytes.

Both are intrinsics, LLVM written by hand, and neither changes a result.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

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

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I32, LANES)


def has_byte_products() -> bool:
    """Whether numba compiles for AVX-512 VNNI, which `multiply_tile` needs.

    This is numba's target, not the processor's ability: ``NUMBA_CPU_NAME=generic`` turns it off.
    """
    codegen: Any = cpu_target.target_context.codegen()  # pyright: ignore[reportAttributeAccessIssue]
    _, _, features = codegen.magic_tuple()
    return "+avx512vnni" in features.split(",")


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
    def multiply(  # noqa: PLR0917  an intrinsic
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
        length, width = (
            cgutils.unpack_tuple(builder, array.shape, 2)[1] for array in (levels, codes)
        )
        first_row = self._at(levels.data, builder.mul(arguments[1], length))
        rows = [
            self._at(first_row, builder.mul(length, ir.Constant(_I64, i))) for i in range(TILE_ROWS)
        ]
        sums = self._loop(rows, self._at(codes.data, arguments[3]), width, length)
        for i, totals in enumerate(sums):
            for v, total in enumerate(totals):
                builder.store(total, self._vector_at(tile.data, i * TILE_VECTORS + v), align=4)

    def _loop(self, rows: list[Any], codes: Any, width: Any, length: Any) -> list[list[Any]]:
        builder = self.builder
        before, loop = builder.block, builder.append_basic_block("columns")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_I64)
        k.add_incoming(ir.Constant(_I64, 0), before)
        starts = [[builder.phi(_VECTOR) for _ in range(self.n_vectors)] for _ in rows]
        sums = self._step(rows, starts, self._at(codes, builder.mul(k, width)), k)
        for start, total in zip(chain(*starts), chain(*sums), strict=True):
            start.add_incoming(ir.Constant(_VECTOR, [0] * LANES), before)
            start.add_incoming(total, loop)
        following = builder.add(k, ir.Constant(_I64, 1))
        k.add_incoming(following, loop)
        after = builder.append_basic_block("sums")
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        return sums

    def _step(
        self, rows: list[Any], starts: list[list[Any]], column: Any, k: Any
    ) -> list[list[Any]]:
        builder = self.builder
        codes = [builder.load(self._vector_at(column, v), align=4) for v in range(self.n_vectors)]
        sums = []
        for row, totals in zip(rows, starts, strict=True):
            level = self._broadcast(builder.load(self._at(row, k)))
            sums.append(
                [self._dot(total, level, code) for total, code in zip(totals, codes, strict=True)]
            )
        return sums

    def _dot(self, total: Any, level: Any, code: Any) -> Any:
        """Add four products of unsigned bytes of `level` and signed bytes of `code`."""
        # newer LLVM declares vectors of bytes here, and upgrades this older form by itself
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        dot = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(dot, [total, level, code])

    def _broadcast(self, value: Any) -> Any:
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(_VECTOR, [0] * LANES))

    def _at(self, address: Any, count: Any) -> Any:
        """Return the address `count` words further on."""
        return self.builder.gep(self.builder.bitcast(address, _I32.as_pointer()), [count])

    def _vector_at(self, address: Any, v: int) -> Any:
        place = self._at(address, ir.Constant(_I64, v * LANES))
        return self.builder.bitcast(place, _VECTOR.as_pointer())
