"""Couplings in the formats that this client does not send, for tests of what a server takes."""

from __future__ import annotations

import scipy.sparse as sp

from cim_hal.protocol.couplings.content import Couplings, EncodedCouplings, encode_arrays
from cim_hal.protocol.couplings.formats import narrowed


def whole(content: Couplings) -> EncodedCouplings:
    """Return all of J, as ``dense`` or ``csr``."""
    model = content.model()
    if content.is_dense:
        dtype, items = narrowed(model.J.ravel(), packed=False)
        spec = {"format": "dense", "n_spins": content.n_spins, "dtype": dtype}
        return encode_arrays(spec, [items], content.field())
    J = sp.csr_array(model.J)
    dtype, items = narrowed(J.data, packed=False)
    spec = {"format": "csr", "n_spins": content.n_spins, "dtype": dtype, "nnz": len(items)}
    arrays = [J.indptr.astype("<i4"), J.indices.astype("<i4"), items]
    return encode_arrays(spec, arrays, model.h)
