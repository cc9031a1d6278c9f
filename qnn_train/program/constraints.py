r"""Constraints a lifting may carry: functions that are never negative and vanish when satisfied.

Linear equalities :math:`Ax = b` enter squared. A product :math:`y = x_0 x_1` enters as Rosenberg's
polynomial :math:`x_0 x_1 - 2 x_0 y - 2 x_1 y + 3 y`, which is 0 where y is the product and at
least 1 elsewhere. A gate :math:`r \le g` enters as :math:`r (1 - g)`, or :math:`r g` where it opens
at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from qnn_train.errors import AssemblyError

if TYPE_CHECKING:
    from qnn_train.arrays import ArrayLike, FloatArray, IntArray


__all__ = ["Gates", "LinearConstraints", "Products"]


@dataclass(frozen=True, eq=False)
class LinearConstraints:
    """The equalities A x = b.

    Parameters
    ----------
    A : scipy CSR array, shape (m, n)
        No empty row.
    b : float64 array, shape (m,)

    Raises
    ------
    AssemblyError
        Shapes that differ, or an equality without a variable.
    """

    A: Any
    b: FloatArray

    def __post_init__(self) -> None:
        if self.A.shape[0] != len(self.b):
            raise AssemblyError(f"A has {self.A.shape[0]} rows, b has {len(self.b)} entries")
        if (abs(self.A).sum(axis=1) == 0).any():
            raise AssemblyError("an equality without a variable")

    @classmethod
    def none(cls, n_bits: int) -> Self:
        """No equality on `n_bits` bits."""
        return cls(sp.csr_array((0, n_bits)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.b)

    def residual(self, x: ArrayLike) -> FloatArray:
        """Return A x - b for bits (..., n); float64, shape (..., m)."""
        bits = np.asarray(x, dtype=np.float64)
        flat = bits.reshape(-1, self.A.shape[1])
        return (self.A @ flat.T).T.reshape(*bits.shape[:-1], len(self)) - self.b


@dataclass(frozen=True, eq=False)
class Products:
    """Bits that must equal a product of two others.

    Parameters
    ----------
    bits : int64 array, shape (k, 3)
        Rows (i, j, y): bit y must be bit i times bit j.
    """

    bits: IntArray

    @classmethod
    def none(cls) -> Self:
        """No product."""
        return cls(np.zeros((0, 3), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.bits)

    def penalty(self, x: ArrayLike) -> IntArray:
        """Return Rosenberg's polynomial of each product at bits (..., n); int64, shape (..., k)."""
        bits = np.asarray(x, dtype=np.int64)
        first, second, product = (bits[..., column] for column in self.bits.T)
        return first * second - 2 * product * (first + second) + 3 * product


@dataclass(frozen=True, eq=False)
class Gates:
    """Bits that must be 0 unless another one has a given value.

    Parameters
    ----------
    bits : int64 array, shape (k, 3)
        Rows (r, g, v): bit r must be 0 unless bit g is v, which is 0 or 1.
    """

    bits: IntArray

    @classmethod
    def none(cls) -> Self:
        """No gate."""
        return cls(np.zeros((0, 3), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.bits)

    def penalty(self, x: ArrayLike) -> IntArray:
        """Return 1 for each bit that is 1 behind a closed gate; bits (..., n), int64 (..., k)."""
        bits = np.asarray(x, dtype=np.int64)
        gated, gate, opens = self.bits.T
        return bits[..., gated] * (bits[..., gate] != opens)
