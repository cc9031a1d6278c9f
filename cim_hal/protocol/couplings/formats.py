"""Formats of couplings: types of numbers, layouts of arrays in bytes, and their sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.packed import BITS, TRITS, PackedValues, pack, packed_bits
from cim_hal.model.triangle import pieces, triangle_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.packed import Values
    from cim_hal.protocol.wire.messages.couplings import CouplingSpec

__all__ = [
    "index_dtype",
    "keeps_dense",
    "n_bytes",
    "narrowed",
    "packed_shape",
    "parts",
    "stored_bytes",
    "widened",
]

MAX_SHORT = 2**16  # spins whose numbers fit two bytes
_HIGH = np.uint8(0xAA)  # of the two bits of trits


def packed_shape(dtype: str, count: int) -> tuple[str, int]:
    """Return type and number of the items that hold `count` numbers."""
    n_bits = packed_bits(dtype)
    return ("|u1", -(-count * n_bits // 8)) if n_bits else (dtype, count)


def narrowed(values: NDArray[Any], *, packed: bool = True) -> tuple[str, NDArray[Any]]:
    """Return the smallest exact type of flat `values`, and its items; zeros have no sign."""
    for kind in (BITS, TRITS) if packed and len(values) else ():
        if all(_is_packable(kind, piece) for piece in pieces(values)):
            return kind, np.concatenate([pack(kind, piece) for piece in pieces(values)])
    for dtype in ("|i1", "<i2", "<f4"):
        items = _cast(values, dtype)
        if items is not None:
            return dtype, items
    return "<f8", values.astype(np.float64) + 0.0


def _is_packable(kind: str, piece: NDArray[Any]) -> bool:
    if not (piece.min() >= -1 and piece.max() <= 1):  # fast, and false for NaN
        return False
    has_zero = not piece.all()
    return not (has_zero and kind == BITS) and (
        piece.dtype.kind == "i" or bool((piece == np.rint(piece)).all())
    )


def widened(dtype: str, items: NDArray[Any], count: int) -> Values:
    """Return the numbers that the items hold, as they are: packed ones stay packed.

    A number that is not finite, bits padded with ones, and trits that are none, are a `ModelError`.
    """
    if n_bits := packed_bits(dtype):
        if len(items) and items[-1] >> ((count * n_bits - 1) % 8 + 1):
            raise ModelError("the bits of the couplings are padded with ones")
        if dtype == TRITS and any((part & _HIGH & ~(part << 1)).any() for part in pieces(items)):
            raise ModelError("the trits of the couplings have one that is 10", hint="-1 is 11")
        return PackedValues(dtype, items, count)
    if items.dtype.kind == "f" and not all(np.isfinite(piece).all() for piece in pieces(items)):
        at = int(np.flatnonzero(~np.isfinite(items))[0])
        raise ModelError(f"number {at} of the couplings is {items[at]}", hint="it must be finite")
    return items


def _cast(values: NDArray[Any], dtype: str) -> NDArray[Any] | None:
    if values.dtype == dtype and values.dtype.kind == "i":
        return values
    items = np.empty(len(values), dtype)
    # The first piece tells most often, and without a look at the others.
    with np.errstate(over="ignore", invalid="ignore"):
        for piece, out in zip(pieces(values), pieces(items), strict=True):
            np.add(piece, 0, out=out, casting="unsafe")  # no zero has a sign
            if not (out == piece).all():
                return None
    return items


def index_dtype(n_spins: int) -> str:
    """Return the type of row and column numbers in ``coo`` and ``delta``."""
    return "<u2" if n_spins <= MAX_SHORT else "<i4"


def keeps_dense(spec: CouplingSpec) -> bool:
    """Return whether the receiver keeps every pair, zeros too; not for a delta."""
    return spec.format in ("dense", "triu") if not spec.keep else spec.keep == "dense"


def n_bytes(spec: CouplingSpec) -> int:
    """Return the length of the payload."""
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in _layout(spec))


def stored_bytes(spec: CouplingSpec) -> int:
    """Return the bytes of the whole matrix in the type that its numbers have; not of a delta."""
    if keeps_dense(spec):
        n_bits = packed_bits(spec.dtype) or 8 * np.dtype(spec.dtype).itemsize
        zeros = 1 if spec.format == "triu" else 2  # bits that those take which are not listed
        return spec.n_spins**2 * max(n_bits, zeros) // 8
    entries = spec.nnz if spec.format == "csr" else 2 * spec.nnz
    if spec.format == "triu":
        entries = 2 * triangle_size(spec.n_spins)
    return 12 * entries + 4 * spec.n_spins


def parts(spec: CouplingSpec, payload: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return the arrays of the layout, as views of the payload."""
    views, start = [], 0
    for dtype, shape in _layout(spec):
        stop = start + math.prod(shape) * np.dtype(dtype).itemsize
        views.append(payload[start:stop].view(dtype).reshape(shape))
        start = stop
    return views


def _layout(spec: CouplingSpec) -> list[tuple[str, tuple[int, ...]]]:
    n_spins, nnz = spec.n_spins, spec.nnz
    index = index_dtype(n_spins)
    ahead: dict[str, list[tuple[str, tuple[int, ...]]]] = {
        "csr": [("<i4", (n_spins + 1,)), ("<i4", (nnz,))],
        "coo": [(index, (nnz,)), (index, (nnz,))],
        "delta": [(index, (nnz,)), (index, (nnz,))],
    }
    shape: tuple[int, ...] = (n_spins, n_spins)
    dtype = spec.dtype
    if spec.format != "dense":
        count = triangle_size(n_spins) if spec.format == "triu" else nnz
        dtype, items = packed_shape(spec.dtype, count)
        shape = (items,)
    field = [(spec.field_dtype, (n_spins,))] if spec.field_dtype else []
    return [*ahead.get(spec.format, []), (dtype, shape), *field]
