r"""Sparse couplings times real numbers, or times integer codes of a byte.

Rows of codes are added up in registers (`vectors`). For 20 couplings a spin and 64 runs, one core
of 2023 computes 1.8e9 sums a second of float32, 2.9e9 of bytes with integer couplings, and 6e9
where all couplings have one magnitude, so that codes are only added and subtracted.

.. math:: f_{ir} = g \sum_k v_k c_{j_k r}, \qquad |v_k| \le 2^{15}

g is the greatest common divisor of the couplings; sums are integers of 16 bits, or of 8 where all
:math:`v_k = \pm1`, and bounds on codes and couplings keep them in range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it
from numba import njit

from emulator.kernel import kernel_part
from emulator.products.packing import aligned_zeros, pack_bytes, padded_runs
from emulator.products.vectors import add_row, add_unit_row, widest

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "SparseFloats",
    "SparseLevels",
    "multiply_sparse_floats",
    "multiply_sparse_levels",
    "sparse_product",
]


@njit(cache=True, nogil=True)
def sparse_product(
    starts: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    codes: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write the product of a CSR matrix and `codes` (n, runs) to `out`; runs come in sixteens."""
    n_runs, first_run = codes.shape[1], 0
    while first_run < n_runs:
        width = widest(n_runs - first_run)
        for i in range(len(starts) - 1):
            add_row(columns, values, starts[i], starts[i + 1], codes, first_run, width, out[i])
        first_run += width


@kernel_part
def _unit_product(
    starts: NDArray[Any],
    middles: NDArray[Any],
    columns: NDArray[Any],
    codes: NDArray[np.int8],
    out: NDArray[Any],
) -> None:
    """Add the codes of each row's columns up to its middle, and subtract the others."""
    n_runs, first_run = codes.shape[1], 0
    while first_run < n_runs:
        width = widest(n_runs - first_run)
        for i in range(len(middles)):
            first, middle, end = starts[i], middles[i], starts[i + 1]
            add_unit_row(columns, first, middle, end, codes, first_run, width, out[i])
        first_run += width


class SparseFloats(NamedTuple):
    """Sparse couplings as floating-point numbers, by rows; make them with `of`.

    Attributes
    ----------
    starts, columns : uint32 array
        Where each row starts, and the column of each value. Unsigned: numba then omits the test
        for negative indices.
    values : float32 or float64 array
    """

    starts: NDArray[np.uint32]
    columns: NDArray[np.uint32]
    values: NDArray[Any]

    @classmethod
    def of(cls, J: Any, values: NDArray[Any]) -> SparseFloats:
        """Take the pattern of `J`, a CSR array (n, n), with other values."""
        return cls(J.indptr.astype(np.uint32), J.indices.astype(np.uint32), values)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self.values.dtype

    depends_on_grouping = False

    def workspace(self, n_runs: int) -> NDArray[Any]:
        """Return an array for the codes of `n_runs` runs."""
        return aligned_zeros((len(self.starts) - 1, padded_runs(n_runs)), self.values.dtype)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product in the dtype of `out`; return True."""
        sparse_product(*self.astype(out.dtype), codes.astype(out.dtype, copy=False), out)
        return True

    def astype(self, dtype: DTypeLike, *, copy: bool = False) -> SparseFloats:
        """Return the couplings as `dtype`, the same values where that is theirs already."""
        return self._replace(values=self.values.astype(dtype, copy=copy))

    def matrix(self) -> Any:
        """Return the couplings as a CSR array (n, n)."""
        n_spins = len(self.starts) - 1
        pattern = self.columns.astype(np.int64), self.starts.astype(np.int64)
        return scipy.sparse.csr_array((self.values, *pattern), (n_spins, n_spins))

    def row_squares(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row."""
        sums = np.concatenate([[0.0], np.cumsum(self.values.astype(np.float64) ** 2)])
        return sums[self.starts[1:]] - sums[self.starts[:-1]]


@njit(cache=True, nogil=True)
def multiply_sparse_floats(
    couplings: SparseFloats, codes: NDArray[Any], first: int, out: NDArray[Any]
) -> None:
    """Write rows of the product with `codes`, from row `first` on, to `out` (rows, runs)."""
    starts = couplings.starts[first : first + len(out) + 1]
    sparse_product(starts, couplings.columns, couplings.values, codes, out)


class SparseLevels(NamedTuple):
    """Sparse integer couplings for codes of a byte; make them with `of`.

    Attributes
    ----------
    starts, columns : uint32 array
        Where each row starts, and the column of each value, those of positive values first.
    middles : uint32 array
        Where each row's negative values start; empty unless all values are 1 or -1.
    values : int16 array
        Couplings divided by `scale`.
    scale : float
        Greatest common divisor of the couplings.
    largest_code : float
        Largest magnitude of codes for which no sum leaves its range.
    """

    starts: NDArray[np.uint32]
    middles: NDArray[np.uint32]
    columns: NDArray[np.uint32]
    values: NDArray[np.int16]
    scale: float
    largest_code: float

    @classmethod
    def of(cls, J: Any, largest_code: float | None) -> SparseLevels | None:
        """Take integers `J`, a CSR array (n, n); None where sums may leave their range.

        None as well where no value differs from zero, since there is no divisor.
        """
        if largest_code is None or largest_code > 127 or not J.data.any():
            return None
        scale = float(np.gcd.reduce(np.abs(J.data).astype(np.int64)))
        magnitudes = abs(J).astype(np.float64) / scale
        bound = largest_code * float(magnitudes.sum(axis=1).max())
        if not bound < 2.0**15:
            return None
        is_negative = J.data < 0
        row_of = np.repeat(np.arange(J.shape[0]), np.diff(J.indptr))
        order = np.lexsort((is_negative, row_of))
        middles = np.zeros(0, np.uint32)
        if (magnitudes.data == 1).all() and bound < 2.0**7:
            middles = J.indptr[1:] - np.bincount(row_of, is_negative, J.shape[0])
        return cls(
            starts=J.indptr.astype(np.uint32),
            middles=middles.astype(np.uint32),
            columns=J.indices[order].astype(np.uint32),
            values=(J.data[order] / scale).astype(np.int16),
            scale=scale,
            largest_code=float(largest_code),
        )

    code_dtype = np.dtype(np.float32)
    depends_on_grouping = False

    def workspace(self, n_runs: int) -> NDArray[np.int8]:
        """Return an array for the packed codes of `n_runs` runs."""
        return aligned_zeros((len(self.starts) - 1, padded_runs(n_runs)), np.int8)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product, or return False where codes are no integers up to `largest_code`."""
        return _multiply(self, codes, out)


@njit(cache=True, nogil=True)
def multiply_sparse_levels(
    couplings: SparseLevels, codes: NDArray[np.int8], first: int, out: NDArray[Any]
) -> None:
    """Write rows of the product with `codes`, from row `first` on, to `out` (rows, runs)."""
    end = first + len(out)
    starts = couplings.starts[first : end + 1]
    if len(couplings.middles):
        _unit_product(starts, couplings.middles[first:end], couplings.columns, codes, out)
    else:
        sparse_product(starts, couplings.columns, couplings.values, codes, out)
    if couplings.scale != 1:
        scale = out.dtype.type(couplings.scale)
        for i in range(len(out)):
            for r in range(out.shape[1]):
                out[i, r] *= scale


@njit(cache=True, nogil=True)
def _multiply(couplings: SparseLevels, codes: NDArray[Any], out: NDArray[Any]) -> bool:
    packed = np.empty(codes.shape, np.int8)
    if not pack_bytes(codes, packed, couplings.largest_code):
        return False
    multiply_sparse_levels(couplings, packed, 0, out)
    return True
