r"""Sparse couplings times numbers, or times codes of a byte.

Rows of codes are added up in registers (`vectors`). For 20 couplings a spin and 64 runs, one core
of 2023 computes 1.8e9 sums a second of float32, 2.9e9 of bytes with integer couplings, and 6e9
where all couplings have one magnitude, so that codes are only added and subtracted.

.. math:: f_{ir} = g \sum_k v_k c_{j_k r}, \qquad |v_k| \le 2^{15}

g is the greatest common divisor of the couplings; sums are integers of 16 bits, or of 8 where all
:math:`v_k = \pm1`, and bounds on codes and couplings keep them in range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.vectors import WIDTHS, add_row, add_unit_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SparseLevels", "SparseRows", "add_bytes", "pack_bytes", "sparse_product"]

_WIDE, _HALF, _NARROW = WIDTHS
_ADD_WIDE, _ADD_HALF, _ADD_NARROW = add_row
_UNIT_WIDE, _UNIT_HALF, _UNIT_NARROW = add_unit_row


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
        left = n_runs - first_run
        width = _WIDE if left >= _WIDE else _HALF if left >= _HALF else _NARROW
        for i in range(len(starts) - 1):
            if width == _WIDE:
                _ADD_WIDE(columns, values, starts[i], starts[i + 1], codes, first_run, out[i])
            elif width == _HALF:
                _ADD_HALF(columns, values, starts[i], starts[i + 1], codes, first_run, out[i])
            else:
                _ADD_NARROW(columns, values, starts[i], starts[i + 1], codes, first_run, out[i])
        first_run += width


@njit(cache=True, nogil=True)
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
        left = n_runs - first_run
        width = _WIDE if left >= _WIDE else _HALF if left >= _HALF else _NARROW
        for i in range(len(middles)):
            first, middle, end = starts[i], middles[i], starts[i + 1]
            if width == _WIDE:
                _UNIT_WIDE(columns, first, middle, end, codes, first_run, out[i])
            elif width == _HALF:
                _UNIT_HALF(columns, first, middle, end, codes, first_run, out[i])
            else:
                _UNIT_NARROW(columns, first, middle, end, codes, first_run, out[i])
        first_run += width


class SparseRows(NamedTuple):
    """What kernels take of `SparseLevels`; `middles` is empty unless all values are 1 or -1."""

    starts: NDArray[np.uint32]
    middles: NDArray[np.uint32]
    columns: NDArray[np.uint32]
    values: NDArray[np.int16]
    scale: float


@njit(cache=True, nogil=True)
def add_bytes(rows: SparseRows, codes: NDArray[np.int8], first: int, out: NDArray[Any]) -> None:
    """Write rows of the product with `codes` (n, runs), from `first` on, to `out` (rows, runs)."""
    end = first + len(out)
    starts = rows.starts[first : end + 1]
    if len(rows.middles):
        _unit_product(starts, rows.middles[first:end], rows.columns, codes, out)
    else:
        sparse_product(starts, rows.columns, rows.values, codes, out)
    if rows.scale != 1:
        scale = out.dtype.type(rows.scale)
        for i in range(len(out)):
            for r in range(out.shape[1]):
                out[i, r] *= scale


@njit(cache=True, nogil=True)
def pack_bytes(codes: NDArray[Any], largest_code: float, packed: NDArray[np.int8]) -> bool:
    """Copy `codes` (n, runs); return whether all were integers in range."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    fits, top = True, np.int32(largest_code)
    for i in range(len(codes)):
        row, place = codes[i], packed[i]
        for r in range(len(row)):
            code = np.int32(row[r])
            fits &= (row.dtype.type(code) == row[r]) & (code <= top) & (code >= -top)
            place[r] = np.int8(code)
    return fits


@dataclass(frozen=True, eq=False)
class SparseLevels:
    """Sparse integer couplings for codes of a byte; make one with `of`.

    Attributes
    ----------
    rows : SparseRows
        Each row's columns with positive couplings come first.
    largest_code : float
    """

    rows: SparseRows
    largest_code: float

    @classmethod
    def of(cls, J: Any, largest_code: float | None) -> SparseLevels | None:
        """Take integers `J`, a CSR array (n, n); None where sums may leave their range."""
        if largest_code is None or largest_code > 127 or not J.nnz:
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
        if magnitudes.max() == 1 and bound < 2.0**7:
            middles = J.indptr[1:] - np.bincount(row_of, is_negative, J.shape[0])
        rows = SparseRows(
            starts=J.indptr.astype(np.uint32),
            middles=middles.astype(np.uint32),
            columns=J.indices[order].astype(np.uint32),
            values=(J.data[order] / scale).astype(np.int16),
            scale=scale,
        )
        return cls(rows, largest_code)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product with `codes` (n, runs) to `out`; runs come in sixteens.

        Return False, with `out` as it was, where codes are no integers up to `largest_code`.
        """
        return _multiply_sparse(self.rows, self.largest_code, codes, out)


@njit(cache=True, nogil=True)
def _multiply_sparse(
    rows: SparseRows, largest_code: float, codes: NDArray[Any], out: NDArray[Any]
) -> bool:
    packed = np.empty(codes.shape, np.int8)
    if not pack_bytes(codes, largest_code, packed):
        return False
    add_bytes(rows, packed, 0, out)
    return True
