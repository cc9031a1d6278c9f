"""Numbers in the smallest type that holds them exactly, and ±1 as bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.triangle import pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BITS", "narrowed", "packed_shape", "widened"]

BITS = "bits"  # 1 is +1, 0 is -1; least significant bit first, padded with zeros


def packed_shape(dtype: str, count: int) -> tuple[str, int]:
    """Return type and number of the items that hold `count` numbers."""
    return ("|u1", -(-count // 8)) if dtype == BITS else (dtype, count)


def narrowed(values: NDArray[Any], *, bits: bool = True) -> tuple[str, NDArray[Any]]:
    """Return the smallest exact type of flat `values`, and its items; zeros have no sign."""
    if bits and len(values) and all((np.abs(piece) == 1).all() for piece in pieces(values)):
        return BITS, np.packbits(values > 0, bitorder="little")
    for dtype in ("|i1", "<i2", "<f4"):
        items = _cast(values, dtype)
        if items is not None:
            return dtype, items
    return "<f8", values.astype(np.float64) + 0.0


def widened(dtype: str, items: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the numbers that the items hold: a view, or int8 where they are bits.

    Raises
    ------
    ModelError
        A number is not finite, or the padding of the bits is not zero.
    """
    if dtype == BITS:
        bits = np.unpackbits(items, bitorder="little")
        if bits[count:].any():
            raise ModelError("the bits of the couplings are padded with ones")
        return 2 * bits[:count].view(np.int8) - 1
    if items.dtype.kind == "f" and not all(np.isfinite(piece).all() for piece in pieces(items)):
        at = int(np.flatnonzero(~np.isfinite(items))[0])
        raise ModelError(f"number {at} of the couplings is {items[at]}", hint="it must be finite")
    return items


def _cast(values: NDArray[Any], dtype: str) -> NDArray[Any] | None:
    items = np.empty(len(values), dtype)
    # The first piece tells most often, and without a look at the others.
    with np.errstate(over="ignore", invalid="ignore"):
        for piece, out in zip(pieces(values), pieces(items), strict=True):
            np.add(piece, 0, out=out, casting="unsafe")  # no zero has a sign
            if not (out == piece).all():
                return None
    return items
