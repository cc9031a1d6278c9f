"""Changes of a few couplings of a model, so that a session can send only the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from cim_hal.errors import ModelError

if TYPE_CHECKING:
    from weakref import ref

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Change", "Pairs"]


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
        order = np.lexsort((second, first))
        pairs = cls(first[order], second[order], J[order].astype(np.float64))
        pairs._check(n_spins)
        return pairs

    def _check(self, n_spins: int) -> None:
        rows, columns, values = self.rows, self.columns, self.values
        same = np.r_[False, (np.diff(rows) == 0) & (np.diff(columns) == 0)]
        for wrong, what in (
            ((rows < 0) | (columns >= n_spins), f"is out of range of {n_spins} spins"),
            (rows == columns, "is on the diagonal"),
            (same, "is given twice"),
            (~np.isfinite(values), "is not finite"),
        ):
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                raise ModelError(f"J[{rows[at]},{columns[at]}] = {values[at]} {what}")

    def put(self, J: Any) -> Any:
        """Return a copy of `J`, dense or CSR, with these couplings in both triangles."""
        if isinstance(J, np.ndarray):
            copied = J.copy()
            copied[self.rows, self.columns] = copied[self.columns, self.rows] = self.values
            return copied
        old, size = sp.coo_array(J), J.shape[0]
        rows = np.concatenate([self.rows, self.columns])
        columns = np.concatenate([self.columns, self.rows])
        keys = old.coords[0].astype(np.int64) * size + old.coords[1]
        stays = ~np.isin(keys, rows * size + columns)
        values = np.concatenate([old.data[stays], self.values, self.values])
        where = (
            np.concatenate([old.coords[0][stays], rows]),
            np.concatenate([old.coords[1][stays], columns]),
        )
        matrix = sp.csr_array(sp.coo_array((values, where), shape=J.shape))
        matrix.sort_indices()
        matrix.eliminate_zeros()
        return matrix


@dataclass(frozen=True, eq=False)
class Change:
    """The origin of a model: its base, which may be collected, and the changed couplings.

    Attributes
    ----------
    base : weak reference to IsingModel
    pairs : Pairs
    """

    base: ref[Any]
    pairs: Pairs


def _flat(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape == (0,):
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise ModelError(f"{name} has shape {array.shape} and type {array.dtype}", hint="a list")
    return array
