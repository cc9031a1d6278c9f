"""The formats a client may send content in: the smallest, a change, and the ones before 1.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cim_hal.model.triangle import pieces, triangle_size
from cim_hal.protocol.couplings.content import EncodedCouplings, encode_arrays
from cim_hal.protocol.couplings.layout import index_dtype
from cim_hal.protocol.couplings.numbers import narrowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.change import Pairs
    from cim_hal.protocol.couplings.content import Couplings, Entries

__all__ = ["change", "smallest", "whole"]


def smallest(content: Couplings) -> EncodedCouplings:
    """Return the shortest exact bytes of content: all pairs, or those that are not zero."""
    own = content.payload
    if content.is_dense:
        values = content.triangle().values
        entry = 2 * np.dtype(index_dtype(content.n_spins)).itemsize
        n_entries = sum(int((piece != 0).sum()) for piece in pieces(values))  # 2x count_nonzero
        if n_entries * entry >= len(own.data):
            return own
        other = _entries("coo", content.n_spins, content.entries(), content.field(), keep="dense")
    elif triangle_size(content.n_spins) > len(own.data):
        return own
    else:
        triangle = content.triangle()
        dtype, items = narrowed(triangle.values)
        spec = {"format": "triu", "n_spins": content.n_spins, "dtype": dtype, "keep": "sparse"}
        other = encode_arrays(spec, [items], content.field())
    return min(own, other, key=lambda payload: len(payload.data))


def change(base: str, n_spins: int, pairs: Pairs, field: NDArray[Any] | None) -> EncodedCouplings:
    """Return what turns the content `base` into another: pairs, and a field where it differs."""
    entries = pairs.rows, pairs.columns, pairs.values
    return _entries("delta", n_spins, entries, field, base=base)


def whole(content: Couplings) -> EncodedCouplings:
    """Return the bytes for a server of version 1.0 or 1.1, which knows two formats."""
    model = content.model()
    if content.is_dense:
        dtype, items = narrowed(model.J.ravel(), bits=False)
        spec = {"format": "dense", "n_spins": content.n_spins, "dtype": dtype}
        return encode_arrays(spec, [items], content.field())
    J = sp.csr_array(model.J)
    dtype, items = narrowed(J.data, bits=False)
    spec = {"format": "csr", "n_spins": content.n_spins, "dtype": dtype, "nnz": len(items)}
    return encode_arrays(spec, [J.indptr.astype("<i4"), J.indices.astype("<i4"), items], model.h)


def _entries(
    kind: str, n_spins: int, entries: Entries, field: NDArray[Any] | None, **more: Any
) -> EncodedCouplings:
    rows, columns, values = entries
    dtype, items = narrowed(values)
    index = index_dtype(n_spins)
    spec = {"format": kind, "n_spins": n_spins, "dtype": dtype, "nnz": len(values), **more}
    arrays = [rows.astype(index), columns.astype(index), items]
    return encode_arrays(spec, arrays, field, zero_field=kind == "delta")
