r"""Quadratic constrained binary optimization.

.. math:: \min_{x \in \{0,1\}^n}\ x^T Q x + c^T x + c_0
          \quad\text{subject to}\quad Ax = b,\ \ x_y = x_i x_j\ \text{for each product},
          \ \ x_r \le x_g\ \text{or}\ x_r \le 1 - x_g\ \text{for each gate}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from qnn_train.errors import AssemblyError
from qnn_train.program.constraints import Gates, LinearConstraints, Products

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
    gates : Gates
    """

    Q: NDArray[np.float64]
    c: NDArray[np.float64]
    constant: float
    equalities: LinearConstraints
    products: Products
    gates: Gates

    @classmethod
    def from_arrays(
        cls,
        Q: ArrayLike | sp.sparray,
        c: ArrayLike | None = None,
        constant: float = 0.0,
        *,
        equalities: LinearConstraints | None = None,
        products: Products | None = None,
        gates: Gates | None = None,
    ) -> Self:
        """Make a program; only Q + Qᵀ matters, dense or scipy-sparse.

        Raises
        ------
        AssemblyError
            `Q` is not square, an entry is not finite, or sizes differ.
        """
        square: Any = sp.csr_array(Q) if sp.issparse(Q) else np.asarray(Q, dtype=np.float64)
        if square.ndim != 2 or square.shape[0] != square.shape[1]:
            raise AssemblyError(f"Q has shape {square.shape}", hint="it must be square")
        n = square.shape[0]
        linear = np.zeros(n) if c is None else np.asarray(c, dtype=np.float64)
        equalities = LinearConstraints.none(n) if equalities is None else equalities
        if linear.shape != (n,) or equalities.A.shape[1] != n:
            raise AssemblyError(f"Q has {n} bits, c or the equalities another number")
        entries = (square.data if sp.issparse(square) else square, linear, constant)
        if not all(np.isfinite(numbers).all() for numbers in entries):
            raise AssemblyError("the objective has an entry that is not finite")
        products = Products.none() if products is None else products
        gates = Gates.none() if gates is None else gates
        symmetric = 0.5 * (square + square.T)
        dense = symmetric.toarray() if sp.issparse(symmetric) else symmetric
        return cls(dense, linear, float(constant), equalities, products, gates)

    @property
    def n_bits(self) -> int:
        """Number of bits n."""
        return len(self.c)

    def objective(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the objective at bits (..., n); float64, shape (...)."""
        bits = np.asarray(x, dtype=np.float64)
        return np.einsum("...n,...n->...", bits @ self.Q + self.c, bits) + self.constant

    def is_feasible(self, x: ArrayLike, *, atol: float = 1e-9) -> NDArray[np.bool_]:
        """Return whether bits (..., n) satisfy every constraint, equalities to `atol`."""
        equal = (np.abs(self.equalities.residual(x)) <= atol).all(axis=-1)
        multiplied = (self.products.penalty(x) == 0).all(axis=-1)
        return equal & multiplied & (self.gates.penalty(x) == 0).all(axis=-1)

    def penalized(self, weight: float) -> tuple[sp.csr_array, float]:
        """Return the classical penalty form, Q (n, n), symmetric CSR, and a constant.

        Objective plus `weight` times the sum of ‖Ax - b‖², Rosenberg's polynomials and the bits
        behind closed gates, as :math:`x^T Q x` plus the constant.
        """
        A, b = self.equalities.A, self.equalities.b
        i, j, y = self.products.bits.T
        gated, gate, opens = self.gates.bits.T
        linear = -2.0 * (A.T @ b)
        np.add.at(linear, y, 3.0)
        np.add.at(linear, gated, opens)
        entries = [(i, j, 1.0), (i, y, -2.0), (j, y, -2.0), (gated, gate, 1.0 - 2.0 * opens)]
        rows, columns = (np.concatenate([entry[k] for entry in entries]) for k in (0, 1))
        values = np.concatenate([np.broadcast_to(v, a.shape) for a, _, v in entries])
        pairs = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=self.Q.shape))
        quadratic = sp.csr_array(self.Q) + weight * (A.T @ A + 0.5 * (pairs + pairs.T))
        diagonal = sp.diags_array(self.c + weight * linear)
        return sp.csr_array(quadratic + diagonal), self.constant + weight * float(b @ b)
