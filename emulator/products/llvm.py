"""LLVM by hand, for what numba does not make of a loop: a few words that intrinsics share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "I32",
    "I64",
    "at",
    "columns_of",
    "constant",
    "processor_has",
    "spread",
    "sums",
    "vector",
]

I32, I64 = ir.IntType(32), ir.IntType(64)


def processor_has(feature: str) -> bool:
    """Whether numba compiles for a feature, such as ``avx512f``.

    This is numba's target, not the processor's ability: ``NUMBA_CPU_NAME=generic`` turns all off.
    """
    codegen: Any = cpu_target.target_context.codegen()  # pyright: ignore[reportAttributeAccessIssue]
    _, _, features = codegen.magic_tuple()
    return f"+{feature}" in features.split(",")


def constant(value: int) -> Any:
    """Return a 64-bit integer."""
    return ir.Constant(I64, value)


def at(builder: Any, address: Any, count: Any) -> Any:
    """Return the address `count` items further on; a number or a value."""
    return builder.gep(address, [constant(count) if isinstance(count, int) else count])


def vector(builder: Any, address: Any, kind: Any) -> Any:
    """Return the address of an item as that of a vector."""
    return builder.bitcast(address, kind.as_pointer())


def columns_of(builder: Any, array: Any) -> Any:
    """Return the length of the rows of a contiguous array."""
    return cgutils.unpack_tuple(builder, array.shape, array.shape.type.count)[-1]


def spread(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector that holds `value` in every lane."""
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(I32, 0))
    lanes = ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, nothing, lanes)


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
        The loop's first index, and the one it stops before.
    starts : sequence
        What the sums are at first.
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
