r"""The product of couplings and codes: what the FPGA computes between measurement and injection.

.. math:: f_{ir} = \sum_j J_{ij}\,c_{jr}

Integer levels times integer codes are summed exactly: in float32 where every partial sum stays
below 2^24 (550 spins of 8-bit couplings and 8-bit codes do: 550 * 127 * 127 < 2^24), else in
float64, up to 2^53. Exact sums depend neither on their order nor on how runs are grouped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["CouplingMatrix", "sparse_product"]

# The row norm that this share of rows falls short of sets the natural coupling strength.
TYPICAL_QUANTILE = 0.1


@njit(cache=True, nogil=True)
def sparse_product(
    starts: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    codes: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write the product of a CSR matrix and `codes` (n, runs) to `out`, row by row in order."""
    for i in range(len(starts) - 1):
        row = out[i]
        row[:] = 0
        for k in range(starts[i], starts[i + 1]):
            value, column = values[k], codes[columns[k]]
            for r in range(len(row)):
                row[r] += value * column[r]


@dataclass(frozen=True, eq=False)
class CouplingMatrix:
    r"""Couplings in the form the product wants.

    Make one with `of`.

    Attributes
    ----------
    dtype : numpy dtype
        Of the values, the codes and the product: float32 or float64.
    is_exact : bool
        Whether no sum is ever rounded.
    typical_row_norm : float
        :math:`(\sum_j J_{ij}^2)^{1/2}` of a weakly coupled row: nine in ten have more.
    """

    matrix: Any
    parts: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None
    dtype: np.dtype[Any]
    is_exact: bool
    typical_row_norm: float

    @classmethod
    def of(cls, J: Any, *, largest_code: float | None, dtype: DTypeLike) -> CouplingMatrix:
        """Prepare couplings `J` (n, n), dense or CSR.

        Parameters
        ----------
        largest_code : float or None
            Bound of the integer codes to come; None where they are real.
        dtype : dtype
            Of the product where it cannot be exact.
        """
        sums, norms = _row_sums_and_norms(J)
        bound = float("inf") if largest_code is None else largest_code * sums.max(initial=0.0)
        is_exact = _has_integers(J) and bound < 2.0**53
        if is_exact:
            dtype = np.float32 if bound < 2.0**24 else np.float64
        typical = _typical(norms)
        if not sp.issparse(J):
            dense = np.array(J, dtype=dtype, order="C")
            return cls(dense, None, np.dtype(dtype), is_exact, typical)
        # unsigned indices: numba omits the wrap-around test (sparse product 3x faster at 1 run)
        parts = (J.indptr.astype(np.uint32), J.indices.astype(np.uint32), J.data.astype(dtype))
        return cls(None, parts, np.dtype(dtype), is_exact, typical)

    @property
    def depends_on_grouping(self) -> bool:
        """Whether the number of runs in a batch can change the last bits of a product."""
        return self.parts is None and not self.is_exact

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the product with `codes` (n, runs) to `out` (n, runs)."""
        if self.parts is None:
            np.matmul(self.matrix, codes, out=out)
        else:
            sparse_product(*self.parts, codes, out)


def _row_sums_and_norms(J: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if sp.issparse(J):
        values = sp.csr_array((np.abs(J.data.astype(np.float64)), J.indices, J.indptr), J.shape)
        sums = np.asarray(values.sum(axis=1)).ravel()
        values.data **= 2
        return sums, np.sqrt(np.asarray(values.sum(axis=1)).ravel())
    values = np.abs(np.asarray(J, dtype=np.float64))
    return values.sum(axis=1), np.sqrt(np.einsum("ij,ij->i", values, values))


def _has_integers(J: Any) -> bool:
    values = J.data if sp.issparse(J) else J
    return values.dtype.kind == "i" or bool((values == np.rint(values)).all())


def _typical(norms: NDArray[np.float64]) -> float:
    coupled = norms[norms > 0]
    return float(np.quantile(coupled, TYPICAL_QUANTILE)) if coupled.size else 1.0
