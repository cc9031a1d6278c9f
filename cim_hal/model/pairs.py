"""New couplings of some pairs of spins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.conversion import Couplings, real_array, type_for
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Pairs", "is_dense", "symmetric_matrix"]

DENSE_SPINS = 2000  # up to which a symmetric matrix is dense
DENSE_SHARE = 0.1  # of its entries that are given, from which a larger one is dense too


@dataclass(frozen=True, eq=False)
class Pairs:
    """New couplings J[i, j] = J[j, i] of some pairs i < j, sorted by i and j, each once.

    Attributes
    ----------
    rows, columns : int64 arrays, shape (pairs,)
    values : float64 array, shape (pairs,)
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, rows: ArrayLike, columns: ArrayLike, values: ArrayLike, n_spins: int) -> Self:
        """Make pairs from lists in any order.

        Raises
        ------
        ModelError
            The lengths differ, a pair is out of range, repeated or on the diagonal, or a value is
            not finite.
        """
        i, j, J = _flat("rows", rows), _flat("columns", columns), _flat("values", values)
        if not len(i) == len(j) == len(J) or i.dtype.kind not in "iu" or j.dtype.kind not in "iu":
            raise ModelError(
                f"rows {i.shape} {i.dtype}, columns {j.shape} {j.dtype} and values {J.shape}",
                hint="rows and columns are integers, and all three have one length",
            )
        first, second = np.minimum(i, j).astype(np.int64), np.maximum(i, j).astype(np.int64)
        order = np.argsort(first * n_spins + second, kind="stable")  # fast where most are in order
        pairs = cls(first[order], second[order], J[order].astype(np.float64))
        pairs._check(n_spins)
        return pairs

    def _check(self, n_spins: int) -> None:
        rows, columns, values = self.rows, self.columns, self.values
        same = np.r_[False, (np.diff(rows) == 0) & (np.diff(columns) == 0)]
        for wrong, what in (
            ((rows < 0) | (columns >= n_spins), f"is out of range of {counted(n_spins, 'spin')}"),
            (rows == columns, "is on the diagonal"),
            (same, "is given twice"),
            (~np.isfinite(values), "is not finite"),
        ):
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                raise ModelError(f"J[{rows[at]},{columns[at]}] = {values[at]} {what}")

    def put(self, J: Couplings) -> Couplings:
        """Return a copy of `J`, dense or CSR, with these couplings in both triangles."""
        if isinstance(J, np.ndarray):
            copied = J.astype(type_for(J, self.values))
            copied[self.rows, self.columns] = copied[self.columns, self.rows] = self.values
            return copied
        where = np.r_[self.rows, self.columns], np.r_[self.columns, self.rows]
        new = scipy.sparse.csr_array((np.r_[self.values, self.values], where), shape=J.shape)
        is_new = scipy.sparse.csr_array((np.ones(len(where[0])), where), shape=J.shape)
        matrix = scipy.sparse.csr_array(J - J.multiply(is_new) + new)
        matrix.eliminate_zeros()
        return matrix


def is_dense(n_spins: int, n_pairs: int) -> bool:
    """Return whether a matrix of so many pairs is dense: a small or a well filled one."""
    return n_spins <= DENSE_SPINS or 2 * n_pairs > DENSE_SHARE * n_spins**2


def symmetric_matrix(
    rows: ArrayLike, columns: ArrayLike, values: NDArray[Any], n_spins: int
) -> Any:
    """Return the matrix with these values in both triangles, dense or CSR by its size and filling.

    Each pair stands once, in either order, and none on the diagonal.
    """
    i, j = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
    if is_dense(n_spins, len(values)):
        matrix = np.zeros((n_spins, n_spins), values.dtype)
        matrix[i, j] = matrix[j, i] = values
        return matrix
    where = np.r_[i, j], np.r_[j, i]
    return scipy.sparse.coo_array((np.r_[values, values], where), (n_spins, n_spins)).tocsr()


def _flat(name: str, values: ArrayLike) -> NDArray[Any]:
    floats = real_array(name, values, ModelError)
    if floats.shape == (0,):
        return floats.astype(np.int64)
    if floats.ndim != 1:
        raise ModelError(f"{name} has shape {floats.shape}", hint="a list")
    return np.asarray(values)
