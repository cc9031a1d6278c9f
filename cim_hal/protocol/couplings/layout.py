"""Where the arrays of couplings lie in their bytes, and how large they are before any came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.model.triangle import triangle_size
from cim_hal.protocol.couplings.numbers import packed_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.messages import CouplingSpec

__all__ = ["index_dtype", "keeps_dense", "n_bytes", "parts", "stored_bytes"]

MAX_SHORT = 2**16  # spins whose numbers fit two bytes


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
    """Return the bytes of the couplings as a machine of real numbers holds them; not of a delta."""
    if keeps_dense(spec):
        return 8 * spec.n_spins**2
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
