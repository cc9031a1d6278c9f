"""The numbers of a model, each coupling once, and models made of other numbers in their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.ising import IsingModel
from cim_hal.model.pairs import Pairs, is_dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["are_integers", "magnitude_sums", "magnitudes", "model_of", "pairs_of", "unit_of"]

HALVINGS = 30  # of the unit of numbers such as 0.25


def pairs_of(model: IsingModel) -> Pairs:
    """Return the couplings of a model that are not zero, sorted by row and column."""
    if isinstance(model.J, np.ndarray):
        rows, columns = np.nonzero(np.triu(model.J, 1))
        return Pairs(rows, columns, model.J[rows, columns].astype(np.float64))
    upper = scipy.sparse.coo_array(scipy.sparse.triu(model.J, 1))
    upper.eliminate_zeros()
    rows, columns = upper.coords
    return Pairs.of(rows, columns, upper.data, model.n_spins)


def model_of(pairs: Pairs, h: NDArray[np.float64], *, is_sparse: bool) -> IsingModel:
    """Return a model with these couplings and this field; its offset is 0.

    It is CSR where `is_sparse` or where a large matrix has few of them, as with auxiliary spins.
    """
    n, (i, j) = len(h), (pairs.rows, pairs.columns)
    if not is_sparse and is_dense(n, len(i)):
        J: NDArray[Any] = np.zeros((n, n), _smallest_type(pairs.values))
        J.ravel()[i * n + j] = pairs.values
        return IsingModel(J + J.T, np.array(h))
    matrix = scipy.sparse.csr_array((pairs.values, (i, j)), shape=(n, n))
    matrix = scipy.sparse.csr_array(matrix + matrix.T)
    matrix.eliminate_zeros()
    return IsingModel.from_couplings(matrix, h)


def _smallest_type(values: NDArray[np.float64]) -> type[np.generic]:
    """Return the type of dense couplings that takes the least memory for these values."""
    fits = (t for t in (np.int8, np.int16) if np.array_equal(values, values.astype(t)))
    largest = np.abs(values).max(initial=0)
    return next(fits, np.float64) if largest < 2**15 else np.float64


def are_integers(*arrays: NDArray[np.float64]) -> bool:
    """Return whether all numbers are integers that float64 tells apart."""
    return all(bool((np.rint(a) == a).all() and (np.abs(a) < 2**53).all()) for a in arrays)


def unit_of(*arrays: NDArray[np.float64]) -> float | None:
    """Return the largest number of which all are exact multiples; None where there is none.

    It is sought among integers over powers of two, as sums and halves of integers are.
    """
    numbers = np.concatenate(arrays)
    if not are_integers(np.ldexp(numbers[:1000], HALVINGS)):  # most that have none are seen here
        return None
    for k in range(HALVINGS + 1):
        scaled = np.ldexp(numbers, k)  # exact
        if are_integers(scaled):
            shared = int(np.gcd.reduce(np.abs(scaled).astype(np.int64)))
            return float(np.ldexp(float(shared), -k)) if shared else None
    return None


def magnitudes(pairs: Pairs, h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the magnitudes of all couplings and fields that are not zero.

    `ModelError` where there are none.
    """
    found = np.abs(np.concatenate([pairs.values, h]))
    if not found.any():
        raise ModelError("all couplings and fields are zero")
    return found[found > 0]


def magnitude_sums(pairs: Pairs, h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each spin the sum of the magnitudes of its couplings and its field."""
    sums = np.abs(h)
    for ends in (pairs.rows, pairs.columns):
        sums += np.bincount(ends, np.abs(pairs.values), len(h))
    return sums
