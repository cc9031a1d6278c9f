"""Couplings as bytes: their formats, the one that names them, and the content they are.

One content has one name: the digest of its canonical bytes, which are ``triu`` where every pair is
kept and ``coo`` where only those that are not zero are, each in the smallest exact type. Whatever
format it travels in, and whatever it was made from, it is the same content.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError, RemoteProtocolError
from cim_hal.machine.lowering import lower_couplings
from cim_hal.model.conversion import is_symmetric
from cim_hal.model.ising import IsingModel
from cim_hal.model.triangle import Triangle, pieces, triangle_size
from cim_hal.protocol.couplings.formats import index_dtype, keeps_dense, narrowed, parts, widened
from cim_hal.protocol.wire.messages.couplings import CouplingSpec
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.lowering import Lowering
    from cim_hal.model.conversion import CsrArray
    from cim_hal.model.pairs import Pairs
    from cim_hal.protocol.wire.messages.couplings import CouplingRef

__all__ = [
    "Couplings",
    "EncodedCouplings",
    "Entries",
    "Hasher",
    "LoweredCouplings",
    "encode_arrays",
    "encode_change",
    "lower_encoded",
    "smallest",
]

# Rows, columns and values above the diagonal, sorted.
Entries: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]"


class Hasher:
    """The digest of bytes that come little by little, in order."""

    def __init__(self, spec: CouplingSpec) -> None:
        field = spec.field_dtype or "-"
        line = f"{spec.format} {spec.n_spins} {spec.dtype} {field} {spec.nnz}\n"
        self._hash = hashlib.sha256(line.encode())
        self._n_bytes = 0

    def update(self, data: NDArray[np.uint8]) -> None:
        """Take in what is new of `data`, which starts with all that was taken in before."""
        self._hash.update(data[self._n_bytes :].data)
        self._n_bytes = len(data)

    def digest(self) -> str:
        """Return the digest so far."""
        return f"sha256:{self._hash.hexdigest()}"


@dataclass(frozen=True, eq=False)
class EncodedCouplings:
    """Couplings and field as one run of bytes, as they travel; `spec` says how to read them."""

    spec: CouplingSpec
    data: NDArray[np.uint8]
    hasher: Hasher | None = None  # of bytes that came one after the other

    def digest(self) -> str:
        """Return SHA-256 of a line that names the layout, and the bytes."""
        hasher = self.hasher or Hasher(self.spec)
        hasher.update(self.data)
        return hasher.digest()

    def content(self, base: Couplings | None = None) -> Couplings:
        """Return what the bytes say, or raise a `ModelError`; a delta changes `base`."""
        arrays = parts(self.spec, self.data)
        *head, items = arrays[:-1] if self.spec.field_dtype else arrays
        field = self._field(base)
        n_spins = self.spec.n_spins
        match self.spec.format:
            case "dense":
                return Couplings.dense(Triangle.of(_symmetric(_finite(items))), field)
            case "csr":
                return Couplings.sparse(n_spins, _upper(_read_csr(n_spins, head, items)), field)
            case "triu":
                values = widened(self.spec.dtype, items, triangle_size(n_spins))
                return self._of_triangle(Triangle(n_spins, values), field)
            case "coo":
                return self._of_entries(self._entries(head, items), field)
            case "delta":
                if base is None:
                    raise ModelError("a delta says nothing without its base")
                return base.changed(self._entries(head, items, zeros=True), field)

    def _of_triangle(self, triangle: Triangle, field: NDArray[Any]) -> Couplings:
        if not keeps_dense(self.spec):
            return Couplings.sparse(self.spec.n_spins, _nonzero(triangle), field)
        return Couplings(self)

    def _of_entries(self, entries: Entries, field: NDArray[Any]) -> Couplings:
        if keeps_dense(self.spec):
            return Couplings.dense(_scattered(self.spec.n_spins, entries), field)
        return Couplings(self)

    def _field(self, base: Couplings | None) -> NDArray[Any]:
        if self.spec.field_dtype is None:
            return np.zeros(self.spec.n_spins) if base is None else base.field()
        field = parts(self.spec, self.data)[-1]
        if not np.isfinite(field).all():
            bad = int(np.flatnonzero(~np.isfinite(field))[0])
            raise ModelError(f"h[{bad}] = {field[bad]} is not finite")
        return field

    def _entries(
        self, indices: list[NDArray[Any]], items: NDArray[Any], *, zeros: bool = False
    ) -> Entries:
        n_spins, nnz = self.spec.n_spins, self.spec.nnz
        values = np.asarray(widened(self.spec.dtype, items, nnz))
        rows, columns = (index.astype(np.int64) for index in indices)
        if ((rows < 0) | (columns <= rows) | (columns >= n_spins)).any():
            bad = int(np.flatnonzero((rows < 0) | (columns <= rows) | (columns >= n_spins))[0])
            raise ModelError(
                f"entry {bad} of the couplings is J[{rows[bad]},{columns[bad]}]",
                hint=f"entries lie above the diagonal of {counted(n_spins, 'spin')}",
            )
        steps = np.diff(rows * n_spins + columns)
        if (steps <= 0).any():
            bad = int(np.flatnonzero(steps <= 0)[0]) + 1
            what = "stands there twice" if steps[bad - 1] == 0 else "is out of order"
            raise ModelError(
                f"entry {bad} of the couplings, J[{rows[bad]},{columns[bad]}], {what}",
                hint="entries are sorted by row and column, each once",
            )
        if not zeros and not values.all():
            raise ModelError("the couplings list an entry of zero", hint="leave it out")
        return rows, columns, values


def encode_arrays(
    spec: dict[str, Any], arrays: list[Any], field: NDArray[Any] | None, *, zero_field: bool = False
) -> EncodedCouplings:
    """Join arrays and a field to a payload; a field of zeros is left out unless `zero_field`."""
    if field is not None and (zero_field or field.any()):
        spec["field_dtype"], items = narrowed(field, packed=False)
        arrays = [*arrays, items]
    data = [np.ascontiguousarray(array).view(np.uint8) for array in arrays]
    return EncodedCouplings(
        CouplingSpec(**spec), data[0] if len(data) == 1 else np.concatenate(data)
    )


@dataclass(frozen=True, eq=False)
class Couplings:
    """Couplings and field in their canonical bytes, ``triu`` or ``coo``; checked."""

    payload: EncodedCouplings

    @classmethod
    def of(cls, model: IsingModel) -> Self:
        """Take a model."""
        if model.is_sparse:
            return cls.sparse(model.n_spins, _upper(model.J), model.h)
        return cls.dense(Triangle.of(np.asarray(model.J)), model.h)

    @classmethod
    def dense(cls, triangle: Triangle, field: NDArray[Any]) -> Self:
        """Take couplings of which every pair is kept."""
        return cls(_encode_triangle(triangle, field))

    @classmethod
    def sparse(cls, n_spins: int, entries: Entries, field: NDArray[Any]) -> Self:
        """Take couplings of which only those that are not zero are kept; sorted."""
        return cls(_encode_entries("coo", n_spins, entries, field))

    @property
    def spec(self) -> CouplingSpec:
        """How to read the bytes."""
        return self.payload.spec

    @property
    def n_spins(self) -> int:
        """Number of spins n."""
        return self.spec.n_spins

    @property
    def is_dense(self) -> bool:
        """Whether every pair is kept."""
        return self.spec.format == "triu"

    @cached_property
    def digest(self) -> str:
        """The content address."""
        return self.payload.digest()

    def triangle(self) -> Triangle:
        """Return all couplings above the diagonal."""
        if not self.is_dense:
            return _scattered(self.n_spins, self.entries())
        items = parts(self.spec, self.payload.data)[0]
        values = widened(self.spec.dtype, items, triangle_size(self.n_spins))
        return Triangle(self.n_spins, values)

    def entries(self) -> Entries:
        """Return rows, columns and values above the diagonal that are not zero, sorted."""
        if self.is_dense:
            return _nonzero(self.triangle())
        rows, columns, items = parts(self.spec, self.payload.data)[:3]
        values = np.asarray(widened(self.spec.dtype, items, self.spec.nnz))
        return rows.astype(np.int64), columns.astype(np.int64), values

    def field(self) -> NDArray[np.float64]:
        """Return the field, zero where there is none."""
        if self.spec.field_dtype is None:
            return np.zeros(self.n_spins)
        return parts(self.spec, self.payload.data)[-1].astype(np.float64)

    def changed(self, entries: Entries, field: NDArray[Any]) -> Couplings:
        """Return this with other values at some entries, and with a field."""
        rows, columns, values = entries
        if self.is_dense:
            triangle = self.triangle()
            exact = np.result_type(triangle.dtype, values)
            changed = np.array(triangle.values, dtype=exact)
            changed[triangle.offsets(rows, columns)] = values
            return Couplings.dense(Triangle(self.n_spins, changed), field)
        return Couplings.sparse(self.n_spins, _merged(self.n_spins, self.entries(), entries), field)

    def lowered(self, capabilities: Capabilities, coupling: CouplingRef) -> Lowering:
        """Lower the couplings to a machine; see `cim_hal.lower`."""
        J = self.triangle() if self.is_dense else self._matrix()
        options = {"bits": coupling.bits, "gauge_seed": coupling.gauge_seed}
        return lower_couplings(J, self.field(), capabilities, **options)

    def model(self) -> IsingModel:
        """Return the model."""
        J = self.triangle().dense(np.float64) if self.is_dense else self._matrix()
        return IsingModel(J, self.field())

    def _matrix(self) -> CsrArray:
        rows, columns, values = self.entries()
        both = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        doubled = np.concatenate([values, values]).astype(np.float64)
        matrix = scipy.sparse.csr_array(
            scipy.sparse.coo_array((doubled, both), shape=(self.n_spins, self.n_spins))
        )
        matrix.sort_indices()
        return matrix


def smallest(content: Couplings) -> EncodedCouplings:
    """Return the shortest exact bytes of content: all pairs, or those that are not zero."""
    own = content.payload
    if content.is_dense:
        values = content.triangle().values
        entry = 2 * np.dtype(index_dtype(content.n_spins)).itemsize
        n_entries = sum(int((piece != 0).sum()) for piece in pieces(values))  # 2x count_nonzero
        if n_entries * entry >= len(own.data):
            return own
        other = _encode_entries(
            "coo", content.n_spins, content.entries(), content.field(), keep="dense"
        )
    elif triangle_size(content.n_spins) > len(own.data):
        return own
    else:
        other = _encode_triangle(content.triangle(), content.field(), keep="sparse")
    return min(own, other, key=lambda payload: len(payload.data))


def encode_change(
    base: str, n_spins: int, pairs: Pairs, field: NDArray[Any] | None
) -> EncodedCouplings:
    """Return what turns the content `base` into another: pairs, and a field where it differs."""
    entries = pairs.rows, pairs.columns, pairs.values
    return _encode_entries("delta", n_spins, entries, field, base=base)


@dataclass(frozen=True, eq=False)
class LoweredCouplings:
    """Checked couplings, and their lowering to the machine."""

    content: Couplings
    lowering: Lowering


def lower_encoded(
    source: EncodedCouplings | Couplings,
    coupling: CouplingRef,
    capabilities: Capabilities,
    base: Couplings | None = None,
) -> LoweredCouplings:
    """Check bytes against their digest, decode them, and lower the couplings to the machine.

    Bytes without the digest are a `RemoteProtocolError`, those that make no model a `ModelError`,
    and a model that does not fit the machine is a `CapabilityError`.
    """
    content = source if isinstance(source, Couplings) else _verified(source, coupling.digest, base)
    return LoweredCouplings(content, content.lowered(capabilities, coupling))


def _verified(payload: EncodedCouplings, digest: str, base: Couplings | None) -> Couplings:
    # Canonical bytes are hashed as they are, which spares those that were damaged the reading.
    is_canonical = payload.spec.format == ("triu" if keeps_dense(payload.spec) else "coo")
    if is_canonical and payload.digest() == digest:
        return payload.content(base)
    content = None if is_canonical else payload.content(base)
    if content is None or content.digest != digest:
        raise RemoteProtocolError("the couplings received do not have the digest announced")
    return content


def _finite(J: NDArray[Any]) -> NDArray[Any]:
    widened(J.dtype.str, J.reshape(-1), J.size)
    return J


def _symmetric(J: NDArray[Any]) -> NDArray[Any]:
    if not is_symmetric(J) or J.diagonal().any():
        IsingModel(J.astype(np.float64), np.zeros(len(J)))  # says where
    return J


def _upper(J: Any) -> Entries:
    """Return what is above the diagonal of a symmetric CSR array, sorted, without zeros."""
    upper = scipy.sparse.csr_array(scipy.sparse.triu(J, k=1))
    upper.sum_duplicates()
    upper.eliminate_zeros()
    rows = np.repeat(np.arange(J.shape[0], dtype=np.int64), np.diff(upper.indptr))
    return rows, upper.indices.astype(np.int64), upper.data


def _nonzero(triangle: Triangle) -> Entries:
    rows, columns, values = [], [], []
    for row, part in enumerate(triangle.rows()):
        at = np.flatnonzero(part)
        rows.append(np.full(len(at), row, np.int64))
        columns.append(at + row + 1)
        values.append(part[at])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _scattered(n_spins: int, entries: Entries) -> Triangle:
    rows, columns, values = entries
    scattered = np.zeros(triangle_size(n_spins), values.dtype)
    triangle = Triangle(n_spins, scattered)
    scattered[triangle.offsets(rows, columns)] = values
    return triangle


def _merged(n_spins: int, old: Entries, new: Entries) -> Entries:
    """Return the entries of both, those of `new` where both have one; zeros are dropped."""
    keys = [rows * n_spins + columns for rows, columns, _ in (old, new)]
    stays = ~np.isin(keys[0], keys[1], assume_unique=True)
    exact = np.result_type(old[2], new[2])
    joined = np.concatenate([keys[0][stays], keys[1]])
    values = np.concatenate([old[2][stays].astype(exact), new[2].astype(exact)])
    order = np.argsort(joined, kind="stable")
    order = order[values[order] != 0]
    return joined[order] // n_spins, joined[order] % n_spins, values[order]


def _read_csr(n_spins: int, indices: list[NDArray[Any]], values: NDArray[Any]) -> CsrArray:
    starts, columns = indices
    # Checked by hand: scipy trusts row starts that point outside.
    ordered = starts[0] == 0 and starts[-1] == len(columns) and (np.diff(starts) >= 0).all()
    if not ordered or ((columns < 0) | (columns >= n_spins)).any():
        raise ModelError("J has CSR indices that point outside of the matrix")
    arrays = (values.astype(np.float64), columns.copy(), starts.copy())
    matrix = scipy.sparse.csr_array(arrays, shape=(n_spins, n_spins))
    if not matrix.has_canonical_format:
        raise ModelError("J has CSR rows that are not sorted or hold an entry twice")
    IsingModel(matrix, np.zeros(n_spins))  # finite, symmetric, hollow
    return matrix


def _encode_triangle(triangle: Triangle, field: NDArray[Any], **more: Any) -> EncodedCouplings:
    dtype, items = narrowed(np.asarray(triangle.values))
    spec = {"format": "triu", "n_spins": triangle.n_spins, "dtype": dtype, **more}
    return encode_arrays(spec, [items], field)


def _encode_entries(
    kind: str, n_spins: int, entries: Entries, field: NDArray[Any] | None, **more: Any
) -> EncodedCouplings:
    rows, columns, values = entries
    dtype, items = narrowed(values)
    index = index_dtype(n_spins)
    spec = {"format": kind, "n_spins": n_spins, "dtype": dtype, "nnz": len(values), **more}
    arrays = [rows.astype(index), columns.astype(index), items]
    return encode_arrays(spec, arrays, field, zero_field=kind == "delta")
