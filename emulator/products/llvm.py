"""Helpers for intrinsics: LLVM written by hand for what numba does not make of a loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

__all__ = [
    "I32",
    "I64",
    "LANES",
    "at",
    "columns_of",
    "constant",
    "emitted",
    "fused",
    "prefer_wide_vectors",
    "processor_has",
    "spread",
    "sums",
    "switch",
    "vector",
]

I32, I64 = ir.IntType(32), ir.IntType(64)
LANES = 16  # 32-bit numbers in a vector of 512 bits


def processor_has(feature: str) -> bool:
    """Whether numba compiles for a feature, such as ``avx512f``.

    This is numba's target, not the processor's ability: ``NUMBA_CPU_NAME=generic`` turns all off.
    """
    codegen: Any = cpu_target.target_context.codegen()  # pyright: ignore[reportAttributeAccessIssue]
    _, _, features = codegen.magic_tuple()
    return f"+{feature}" in features.split(",")


def emitted(emit: Callable[..., None]) -> Any:
    """Make an intrinsic of ``emit(builder, ...)``, which writes its LLVM and returns nothing.

    Kernels call it without the builder. Arrays reach `emit` as numba's array structures, integers
    as 64-bit values.
    """

    def typed(typing_context: Any, *kinds: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
        signature = types.void(*(k if isinstance(k, types.Array) else types.intp for k in kinds))
        return signature, codegen

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = zip(signature.args, arguments, strict=True)
        values = (
            context.make_array(kind)(context, builder, value)
            if isinstance(kind, types.Array)
            else value
            for kind, value in pairs
        )
        emit(builder, *values)
        return context.get_dummy_value()

    # numba reads the number of arguments from the signature; its first one is the typing context
    typed.__signature__ = inspect.signature(emit)
    typed.__name__, typed.__doc__ = emit.__name__, emit.__doc__
    return intrinsic(typed)


def _prefer_wide_vectors(builder: Any) -> None:
    """Let LLVM vectorize the loops of the calling function with 512 bits where available.

    By default it prefers 256, for the clock rates of older processors. Noise takes 1.0 instead of
    1.9 ns a value on a processor of 2023. Results do not change.
    """
    # llvmlite's own `add` knows a fixed list of attributes, without this one
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')


prefer_wide_vectors: Callable[[Any], None] = emitted(_prefer_wide_vectors)


def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Return ``a * b + c``, rounded once, in the type of `c`.

    LLVM fuses nothing by itself, as the bits would depend on the processor; these do not.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.fma(*arguments)

    return c(c, c, c), codegen


fused: Any = intrinsic(_fused)


def constant(value: int) -> Any:
    """Return a 64-bit integer."""
    return ir.Constant(I64, value)


def at(builder: Any, address: Any, count: Any) -> Any:
    """Return the address `count` items further on; `count` is a Python or an LLVM integer."""
    return builder.gep(address, [constant(count) if isinstance(count, int) else count])


def vector(builder: Any, address: Any, kind: Any) -> Any:
    """Return the address of an item as that of a vector."""
    return builder.bitcast(address, kind.as_pointer())


def columns_of(builder: Any, array: Any) -> Any:
    """Return the length of the rows of a contiguous array."""
    return cgutils.unpack_tuple(builder, array.shape, array.shape.type.count)[-1]


def spread(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector that holds `value` in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    lanes = ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, undefined, lanes)


def switch(builder: Any, selector: Any, emitters: Mapping[int, Callable[[], None]]) -> None:
    """Emit one branch for each value that `selector` may have; any other value does nothing."""
    after = builder.append_basic_block("after_switch")
    branches = builder.switch(selector, after)
    for value, emit in emitters.items():
        block = builder.append_basic_block(f"case_{value}")
        branches.add_case(constant(value), block)
        builder.position_at_end(block)
        emit()
        builder.branch(after)
    builder.position_at_end(after)


def sums(
    builder: Any,
    bounds: tuple[Any, Any],
    starts: Sequence[Any],
    step: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Emit a loop that carries sums in registers, and return them.

    Parameters
    ----------
    bounds : tuple
        First index of the loop, and the index before which it stops.
    starts : sequence
        Initial values of the sums.
    step : callable
        Emits the body: takes the index and the sums, returns the new sums.
    """
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(I64)
    index.add_incoming(bounds[0], before)
    carried = [builder.phi(start.type) for start in starts]
    for total, start in zip(carried, starts, strict=True):
        total.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, bounds[1]), body, after)
    builder.position_at_end(body)
    for total, changed in zip(carried, step(index, carried), strict=True):
        total.add_incoming(changed, body)
    index.add_incoming(builder.add(index, constant(1)), body)
    builder.branch(head)
    builder.position_at_end(after)
    return carried
