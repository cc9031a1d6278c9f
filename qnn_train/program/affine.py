"""Affine functions of bits, the material of which constraints and losses are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Affine", "stack"]


@dataclass
class Affine:
    r"""The function :math:`c_0 + \sum_k c_k x_k`.

    Parameters
    ----------
    constant : float
    terms : dict
        Coefficient of each bit, by its position.
    """

    constant: float = 0
    terms: dict[int, float] = field(default_factory=dict)

    def add(self, coefficient: float, bit: int) -> Self:
        """Add ``coefficient * x[bit]`` in place."""
        self.terms[bit] = self.terms.get(bit, 0) + coefficient
        return self

    def accumulate(self, other: Affine, *, times: float = 1) -> Self:
        """Add ``times * other`` in place."""
        self.constant += times * other.constant
        for bit, coefficient in other.terms.items():
            self.add(times * coefficient, bit)
        return self

    def over(self, divisor: int) -> Affine:
        """Return this function of integers divided by a common divisor, again of integers."""
        terms = {bit: c // divisor for bit, c in self.terms.items()}
        return Affine(self.constant // divisor, terms)


def stack(functions: Sequence[Affine], n_bits: int) -> tuple[sp.csr_array, NDArray[np.float64]]:
    """Return ``A`` (m, n_bits) and ``c`` (m,) with the values of the functions ``A @ x + c``."""
    rows = np.repeat(np.arange(len(functions)), [len(f.terms) for f in functions])
    columns = np.array([bit for f in functions for bit in f.terms], dtype=np.int64)
    values = np.array([c for f in functions for c in f.terms.values()], dtype=np.float64)
    shape = (len(functions), n_bits)
    matrix = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))
    matrix.eliminate_zeros()
    return matrix, np.array([f.constant for f in functions], dtype=np.float64)
