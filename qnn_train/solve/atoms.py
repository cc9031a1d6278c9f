r"""W as a convex combination of atoms, a few bytes each.

A step :math:`W \leftarrow (1 - \eta) W + \eta\, ww^T` shrinks all weights and adds one. Bits are
packed, so that 10,000 atoms of 1000 bits take 1.3 MB; W would have a million entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qnn_train.arrays import ArrayLike, BitArray, FloatArray


__all__ = ["Atoms"]

CHUNK = 1024


class Atoms:
    """Packed bits and weights; grows as atoms are added.

    Parameters
    ----------
    n_bits : int
        n, of every atom.
    """

    def __init__(self, n_bits: int) -> None:
        self._n_bits = n_bits
        self._packed = np.zeros((16, -(-n_bits // 8)), np.uint8)
        self._etas = np.zeros(16)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes in use, spare room included."""
        return self._packed.nbytes + self._etas.nbytes

    def add(self, atom: ArrayLike, eta: float) -> None:
        """Move towards bits (n,) by η, which is 1 for the first atom."""
        if self._size == len(self._etas):
            room = np.zeros_like(self._packed)
            self._packed = np.concatenate([self._packed, room])
            self._etas = np.concatenate([self._etas, np.zeros_like(self._etas)])
        self._packed[self._size] = np.packbits(np.asarray(atom, dtype=np.uint8))
        self._etas[self._size] = eta
        self._size += 1

    @property
    def weights(self) -> FloatArray:
        """Weight of each atom in W; their sum is 1."""
        etas = self._etas[: self._size]
        kept = np.concatenate([np.cumprod((1 - etas)[:0:-1])[::-1], [1.0]])[: self._size]
        return etas * kept

    @property
    def bits(self) -> BitArray:
        """All atoms, int8, shape (atoms, n)."""
        return self._unpacked(slice(0, self._size))

    def mean(self) -> FloatArray:
        """Return the first moments, the mean of x; float64, shape (n,)."""
        total = np.zeros(self._n_bits)
        for weights, bits in self._chunks():
            total += weights @ bits
        return total

    def matrix(self) -> FloatArray:
        """Return W (n + 1, n + 1), for those who can afford it."""
        W = np.zeros((self._n_bits + 1, self._n_bits + 1))
        for weights, bits in self._chunks():
            w = np.hstack([np.ones((len(bits), 1)), bits])
            W += (w * weights[:, None]).T @ w
        return W

    def _chunks(self) -> Iterator[tuple[FloatArray, BitArray]]:
        weights = self.weights
        for start in range(0, self._size, CHUNK):
            rows = slice(start, min(start + CHUNK, self._size))
            yield weights[rows], self._unpacked(rows)

    def _unpacked(self, rows: slice) -> BitArray:
        return np.unpackbits(self._packed[rows], axis=1, count=self._n_bits).view(np.int8)
