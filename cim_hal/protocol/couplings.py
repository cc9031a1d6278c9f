"""Couplings as bytes: the smallest exact numbers, their digest, and the model they make."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from cim_hal.errors import ModelError, RemoteProtocolError
from cim_hal.machine.lowering import lower
from cim_hal.model.ising import IsingModel
from cim_hal.protocol.messages import CouplingSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.protocol.messages import CouplingRef

__all__ = ["Payload", "Prepared", "n_bytes", "prepare", "stored_bytes"]


@dataclass(frozen=True, eq=False)
class Payload:
    """Couplings and field as one run of bytes.

    Attributes
    ----------
    spec : CouplingSpec
        How to read them.
    data : uint8 array, shape (n_bytes(spec),)
    """

    spec: CouplingSpec
    data: NDArray[np.uint8]

    @classmethod
    def of(cls, model: IsingModel) -> Self:
        """Pack a model, each part in the smallest type that is exact."""
        spec = _spec_of(model)
        data = np.empty(n_bytes(spec), dtype=np.uint8)
        J = model.J
        sources = [J.indptr, J.indices, J.data] if model.is_sparse else [J]
        sources += [model.h] if spec.field_dtype else []
        for part, source in zip(_parts(spec, data), sources, strict=True):
            part[...] = source
        return cls(spec, data)

    def digest(self) -> str:
        """Return the content address: SHA-256 of a line that names the layout, and the bytes."""
        spec = self.spec
        field = spec.field_dtype or "-"
        line = f"{spec.format} {spec.n_spins} {spec.dtype} {field} {spec.nnz}\n"
        digest = hashlib.sha256(line.encode())
        digest.update(self.data.data)
        return f"sha256:{digest.hexdigest()}"

    def model(self) -> IsingModel:
        """Unpack the model.

        Raises
        ------
        ModelError
            The bytes do not make one.
        """
        parts = _parts(self.spec, self.data)
        n_spins = self.spec.n_spins
        h = parts.pop().astype(np.float64) if self.spec.field_dtype else np.zeros(n_spins)
        if self.spec.format == "dense":
            return IsingModel(parts[0].astype(np.float64), h)
        return IsingModel(_read_csr(n_spins, *parts), h)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model a server took in, and what it made of it for its machine."""

    model: IsingModel
    lowering: Lowering


def prepare(
    source: Payload | IsingModel, coupling: CouplingRef, capabilities: Capabilities
) -> Prepared:
    """Check bytes against their digest, make the model, and fit it to the machine.

    Raises
    ------
    RemoteProtocolError
        The bytes do not have the digest.
    ModelError
        They do not make a model.
    CapabilityError
        The model does not fit the machine.
    """
    if isinstance(source, Payload) and source.digest() != coupling.digest:
        raise RemoteProtocolError("the couplings received do not have the digest announced")
    model = source.model() if isinstance(source, Payload) else source
    lowering = lower(model, capabilities, bits=coupling.bits, gauge_seed=coupling.gauge_seed)
    return Prepared(model, lowering)


def n_bytes(spec: CouplingSpec) -> int:
    """Return the length of the payload."""
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in _layout(spec))


def stored_bytes(spec: CouplingSpec) -> int:
    """Return the bytes of the couplings as float64, as the receiver keeps them."""
    return 8 * spec.n_spins**2 if spec.format == "dense" else 12 * spec.nnz + 4 * spec.n_spins


def _layout(spec: CouplingSpec) -> list[tuple[str, tuple[int, ...]]]:
    if spec.format == "dense":
        parts: list[tuple[str, tuple[int, ...]]] = [(spec.dtype, (spec.n_spins, spec.n_spins))]
    else:
        parts = [("<i4", (spec.n_spins + 1,)), ("<i4", (spec.nnz,)), (spec.dtype, (spec.nnz,))]
    return parts + ([(spec.field_dtype, (spec.n_spins,))] if spec.field_dtype else [])


def _parts(spec: CouplingSpec, payload: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return the arrays of the layout, as views of the payload."""
    views, start = [], 0
    for dtype, shape in _layout(spec):
        stop = start + math.prod(shape) * np.dtype(dtype).itemsize
        views.append(payload[start:stop].view(dtype).reshape(shape))
        start = stop
    return views


def _read_csr(
    n_spins: int, starts: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]
) -> sp.csr_array:
    # Checked by hand: scipy trusts row starts that point outside.
    ordered = starts[0] == 0 and starts[-1] == len(columns) and (np.diff(starts) >= 0).all()
    if not ordered or ((columns < 0) | (columns >= n_spins)).any():
        raise ModelError("J has CSR indices that point outside of the matrix")
    arrays = (values.astype(np.float64), columns.copy(), starts.copy())
    matrix = sp.csr_array(arrays, shape=(n_spins, n_spins))
    if not matrix.has_canonical_format:
        raise ModelError("J has CSR rows that are not sorted or hold an entry twice")
    return matrix


def _spec_of(model: IsingModel) -> CouplingSpec:
    values = model.J.data if model.is_sparse else model.J
    return CouplingSpec(
        format="csr" if model.is_sparse else "dense",
        n_spins=model.n_spins,
        dtype=_smallest(values),
        field_dtype=_smallest(model.h) if model.h.any() else None,
        nnz=int(values.size) if model.is_sparse else 0,
    )


def _smallest(values: NDArray[np.float64]) -> Any:
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    for dtype in ("|i1", "<i2"):
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max and _is_exact(values, dtype):
            return dtype
    return "<f4" if _is_exact(values, "<f4") else "<f8"


def _is_exact(values: NDArray[np.float64], dtype: str) -> bool:
    # The first row tells most often, and without a look at the others.
    with np.errstate(over="ignore"):
        return all(bool((part == part.astype(dtype)).all()) for part in (values[:1], values[1:]))
