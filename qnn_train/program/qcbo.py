r"""Quadratic constrained binary optimization.

.. math:: \min_{x \in \{0,1\}^n}\ x^T Q x + c^T x + c_0
          \quad\text{subject to}\quad Ax = b,\ \ x_y = x_i x_j\ \text{for each product}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.errors import AssemblyError
from qnn_train.program.constraints import LinearConstraints, Products

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Qcbo"]


@dataclass(frozen=True, eq=False)
class Qcbo:
    """A quadratic objective on bits under equalities.

    Make one with `from_arrays`, `assemble` or `least_squares`.

    Parameters
    ----------
    Q : float64 array, shape (n, n)
        Symmetric.
    c : float64 array, shape (n,)
    constant : float
    equalities : LinearConstraints
    products : Products
    """

    Q: NDArray[np.float64]
    c: NDArray[np.float64]
    constant: float
    equalities: LinearConstraints
    products: Products

    @classmethod
    def from_arrays(
        cls,
        Q: ArrayLike,
        c: ArrayLike | None = None,
        constant: float = 0.0,
        *,
        equalities: LinearConstraints | None = None,
        products: Products | None = None,
    ) -> Self:
        """Make a program; only Q + Qᵀ matters.

        Raises
        ------
        AssemblyError
            `Q` is not square, an entry is not finite, or sizes differ.
        """
        square = np.asarray(Q, dtype=np.float64)
        if square.ndim != 2 or square.shape[0] != square.shape[1]:
            raise AssemblyError(f"Q has shape {square.shape}", hint="it must be square")
        n = len(square)
        linear = np.zeros(n) if c is None else np.asarray(c, dtype=np.float64)
        equalities = LinearConstraints.none(n) if equalities is None else equalities
        if linear.shape != (n,) or equalities.A.shape[1] != n:
            raise AssemblyError(f"Q has {n} bits, c or the equalities another number")
        if not (np.isfinite(square).all() and np.isfinite(linear).all() and np.isfinite(constant)):
            raise AssemblyError("the objective has an entry that is not finite")
        products = Products.none() if products is None else products
        return cls(0.5 * (square + square.T), linear, float(constant), equalities, products)

    @property
    def n_bits(self) -> int:
        """Number of bits n."""
        return len(self.c)

    def objective(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the objective at bits (..., n); float64, shape (...)."""
        bits = np.asarray(x, dtype=np.float64)
        return np.einsum("...n,...n->...", bits @ self.Q + self.c, bits) + self.constant

    def is_feasible(self, x: ArrayLike, *, atol: float = 1e-9) -> NDArray[np.bool_]:
        """Return whether bits (..., n) satisfy every equality to `atol` and every product."""
        equal = (np.abs(self.equalities.residual(x)) <= atol).all(axis=-1)
        return equal & (self.products.penalty(x) == 0).all(axis=-1)
