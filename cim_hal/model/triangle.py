"""The upper triangle of a dense symmetric matrix: half the numbers, the same couplings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from cim_hal.model.packed import Values

__all__ = ["Triangle", "pieces", "triangle_size"]

BLOCK = 256  # a block of 256 x 256 is mirrored in the cache: 3x faster than the whole, n = 2000
PIECE = 1 << 16  # numbers processed at a time, so that intermediate results stay in cache


def triangle_size(n_spins: int) -> int:
    """Return the number of pairs, n (n - 1) / 2."""
    return n_spins * (n_spins - 1) // 2


def pieces(values: Values) -> Iterator[NDArray[Any]]:
    """Yield a flat array in pieces that fit the cache."""
    return (values[start : start + PIECE] for start in range(0, len(values), PIECE))


@dataclass(frozen=True, eq=False)
class Triangle:
    """Couplings J[i, j] with i < j, row by row: real `values` of shape (n (n - 1) / 2,)."""

    n_spins: int
    values: Values

    @classmethod
    def of(cls, J: NDArray[Any]) -> Self:
        """Return the entries above the diagonal of `J` (n, n)."""
        values = np.empty(triangle_size(len(J)), J.dtype)
        triangle = cls(len(J), values)
        for row, part in enumerate(triangle.rows()):
            part[...] = J[row, row + 1 :]
        return triangle

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.values.nbytes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the entries right of the diagonal of each row, as views if they are no bits."""
        start = 0
        for length in range(self.n_spins - 1, -1, -1):
            yield self.values[start : start + length]
            start += length

    def offsets(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in `values` of the pairs (row, column), row < column."""
        return rows * (2 * self.n_spins - rows - 1) // 2 + columns - rows - 1

    def bordered(self, border: NDArray[Any]) -> Triangle:
        """Return this with one more spin, the last; `border`, shape (n,), are its couplings."""
        n_spins = self.n_spins + 1
        dtype = np.result_type(self.dtype, border.dtype)
        larger = Triangle(n_spins, np.empty(triangle_size(n_spins), dtype))
        for part, row, last in zip(larger.rows(), self.rows(), border, strict=False):
            part[:-1], part[-1] = row, last
        return larger

    def flipped(self, signs: NDArray[np.int8]) -> Triangle:
        """Return the couplings of spins that are `signs` (n,) times these."""
        values = np.array(self.values)
        flipped = Triangle(self.n_spins, values)
        for at, row in enumerate(flipped.rows()):
            np.multiply(row, signs[at] * signs[at + 1 :], out=row)
        return flipped

    def block(self, first: int, stop: int) -> NDArray[Any]:
        """Return rows `first` to `stop` - 1 of the symmetric matrix, (rows, n)."""
        out = np.zeros((stop - first, self.n_spins), self.dtype)
        # where the part of each row begins that lies in these columns
        columns = np.maximum(np.arange(stop) + 1, first)
        starts = self.offsets(np.arange(stop), columns).tolist()
        for row in range(first, stop):
            at = starts[row]
            out[row - first, row + 1 :] = self.values[at : at + self.n_spins - row - 1]
        out[:, first:stop] += out[:, first:stop].T.copy()
        for left in range(0, first, BLOCK):
            some = starts[left : min(left + BLOCK, first)]
            lines = [self.values[at : at + stop - first] for at in some]
            out[:, left : left + len(lines)] = np.array(lines).T
        return out

    def dense(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return the symmetric matrix with a zero diagonal."""
        J = np.zeros((self.n_spins, self.n_spins), dtype)
        for row, part in enumerate(self.rows()):
            J[row, row + 1 :] = part
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
