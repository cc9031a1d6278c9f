r"""Quadratic constrained binary optimization: programs, and sums of programs with shared bits.

.. math:: \min_{x \in \{0,1\}^n}\ x^T Q x + c^T x + c_0
          \quad\text{subject to}\quad Ax = b,\ \ x_y = x_i x_j\ \text{for each product},
          \ \ x_r \le x_g\ \text{or}\ x_r \le 1 - x_g\ \text{for each gate}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from cim_hal.model.conversion import CsrArray, csr, with_article
from cim_hal.text import counted
from qnn_train.arguments import as_bits, check_whole, checked
from qnn_train.arrays import ArrayLike, FloatArray, IntArray, NDArray
from qnn_train.errors import AssemblyError
from qnn_train.network.codes import ParameterCode

__all__ = [
    "Gates",
    "LinearConstraints",
    "Parts",
    "Products",
    "Qcbo",
    "least_squares",
    "squared_norm",
]


@checked
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
        Shapes that differ, a number that is not finite, or an equality without a variable.
    """

    A: CsrArray
    b: FloatArray

    def __post_init__(self) -> None:
        if not sp.issparse(self.A):
            what = f"A is {with_article(type(self.A).__name__)}"
            raise AssemblyError(what, hint="pass a CSR array")
        if self.A.shape[0] != len(self.b):
            raise AssemblyError(
                f"A has {counted(self.A.shape[0], 'row')}, b has {counted(len(self.b), 'entry')}"
            )
        if not (np.isfinite(self.A.data).all() and np.isfinite(self.b).all()):
            raise AssemblyError("an equality has a number that is not finite")
        if (abs(self.A).sum(axis=1) == 0).any():
            raise AssemblyError("an equality without a variable")

    @classmethod
    def none(cls, n_bits: int) -> Self:
        """No equality on `n_bits` bits."""
        return cls(csr((0, n_bits)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.b)

    def residual(self, x: ArrayLike) -> FloatArray:
        """Return A x - b for bits (..., n); float64, shape (..., m)."""
        bits = np.asarray(x, dtype=np.float64)
        flat = bits.reshape(-1, self.A.shape[1])
        return (self.A @ flat.T).T.reshape(*bits.shape[:-1], len(self)) - self.b


@dataclass(frozen=True, eq=False)
class _Triples(ABC):
    """Constraints of three bits: functions that are never negative, and 0 when satisfied."""

    bits: IntArray

    def __post_init__(self) -> None:
        if self.bits.ndim != 2 or self.bits.shape[1] != 3:
            raise AssemblyError(f"constraints of shape {self.bits.shape}", hint="rows of three")
        check_whole("positions of bits", self.bits)
        if (self.bits < 0).any():
            raise AssemblyError("the position of a bit is below 0")

    @classmethod
    def none(cls) -> Self:
        """No constraint."""
        return cls(np.zeros((0, 3), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.bits)

    @abstractmethod
    def penalty(self, x: ArrayLike) -> IntArray:
        """Return what each constraint adds at bits (..., n); int64, shape (..., k)."""


@checked
class Products(_Triples):
    """Bits that must equal a product of two others.

    Parameters
    ----------
    bits : int64 array, shape (k, 3)
        Rows (i, j, y): bit y must be bit i times bit j.

    Raises
    ------
    AssemblyError
        Rows that are not three positions.
    """

    def penalty(self, x: ArrayLike) -> IntArray:
        r"""Return Rosenberg's polynomial of each product at bits (..., n); int64, shape (..., k).

        It is :math:`x_i x_j - 2 x_i y - 2 x_j y + 3 y`, 0 for y = x_i x_j and at least 1 elsewhere.
        """
        bits = np.asarray(x, dtype=np.int64)
        first, second, product = (bits[..., column] for column in self.bits.T)
        return first * second - 2 * product * (first + second) + 3 * product


@checked
class Gates(_Triples):
    """Bits that must be 0 unless another one has a given value.

    Parameters
    ----------
    bits : int64 array, shape (k, 3)
        Rows (r, g, v): bit r must be 0 unless bit g is v, which is 0 or 1.

    Raises
    ------
    AssemblyError
        Rows that are not two positions and a bit.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        as_bits("the values that gates open at", self.bits[:, 2])

    def penalty(self, x: ArrayLike) -> IntArray:
        """Return 1 for each bit that is 1 behind a closed gate; bits (..., n), int64 (..., k)."""
        bits = np.asarray(x, dtype=np.int64)
        gated, gate, opens = self.bits.T
        return bits[..., gated] * (bits[..., gate] != opens)


@checked
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

    Raises
    ------
    AssemblyError
        Sizes that differ, an objective that is not symmetric, or a constraint of a bit that is
        none of the n.
    """

    Q: FloatArray
    c: FloatArray
    constant: float
    equalities: LinearConstraints
    products: Products
    gates: Gates

    def __post_init__(self) -> None:
        n = self.n_bits
        if self.Q.shape != (n, n) or self.equalities.A.shape[1] != n:
            raise AssemblyError(f"c has {counted(n, 'bit')}, Q or the equalities another number")
        if not np.array_equal(self.Q, self.Q.T):
            raise AssemblyError("Q is not symmetric", hint="Qcbo.from_arrays takes any")
        used = np.concatenate([self.products.bits.ravel(), self.gates.bits[:, :2].ravel()])
        if used.size and used.max() >= n:
            raise AssemblyError(f"a constraint of bit {used.max()}", hint=f"there are {n}")

    @classmethod
    def from_arrays(
        cls,
        Q: ArrayLike | CsrArray | sp.sparray,
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
            raise AssemblyError(f"Q has {counted(n, 'bit')}, c or the equalities another number")
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

    def objective(self, x: ArrayLike) -> FloatArray:
        """Return the objective at bits (..., n); float64, shape (...)."""
        bits = as_bits("x", x).astype(np.float64)
        return np.einsum("...n,...n->...", bits @ self.Q + self.c, bits) + self.constant

    def is_feasible(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Return whether bits (..., n) satisfy every constraint, equalities within rounding."""
        as_bits("x", x)
        A, b = self.equalities.A, self.equalities.b
        rounding = 2.0**-50 * (np.asarray(abs(A).sum(axis=1)).ravel() + np.abs(b))
        equal = (np.abs(self.equalities.residual(x)) <= rounding).all(axis=-1)
        multiplied = (self.products.penalty(x) == 0).all(axis=-1)
        return equal & multiplied & (self.gates.penalty(x) == 0).all(axis=-1)

    def penalized(self, weight: float) -> tuple[CsrArray, float]:
        """Return the classical penalty form, Q (n, n), symmetric CSR, and a constant.

        Objective plus `weight` times the sum of ‖Ax - b‖², Rosenberg's polynomials and the bits
        behind closed gates, as :math:`x^T Q x` plus the constant.

        Raises
        ------
        AssemblyError
            A weight below 0, which would reward what is forbidden, or not finite.
        """
        if not 0 <= weight < np.inf:
            raise AssemblyError(f"a penalty weight of {weight}", hint="finite, and not below 0")
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
        return csr(quadratic + diagonal), self.constant + weight * float(b @ b)


def squared_norm(M: Any, r: FloatArray) -> tuple[Any, FloatArray, float]:
    """Return Q (n, n), c (n,) and the constant of ‖M x + r‖²; Q dense or sparse as M (m, n) is."""
    return M.T @ M, 2.0 * (M.T @ r), float(r @ r)


@checked
def least_squares(X: ArrayLike, Y: ArrayLike, *, scale: float, weights: ParameterCode) -> Qcbo:
    """State ‖scale X w - Y‖² as a program on the bits of w.

    Parameters
    ----------
    X : float array, shape (samples, d)
    Y : float array, shape (samples,)
    scale : float
        Factor before the integer weights.
    weights : ParameterCode
        Code of each weight; B bits.

    Returns
    -------
    Qcbo
        On d·B bits; ``weights.decode(x.reshape(d, B))`` are the weights.

    Raises
    ------
    AssemblyError
        Shapes that differ.
    """
    features, targets = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    if features.ndim != 2 or targets.shape != features.shape[:1]:
        raise AssemblyError(f"X has shape {features.shape}, Y has shape {targets.shape}")
    coefficients = np.array(weights.coefficients, dtype=np.float64)[None, :]
    M = scale * np.kron(features, coefficients)
    offset = scale * weights.offset * features.sum(axis=1)
    return Qcbo.from_arrays(*squared_norm(M, offset - targets))


@checked
@dataclass(frozen=True, eq=False)
class Parts:
    r"""Programs :math:`f_s(w, y_s)` with their own copies of the shared bits w.

    Parameters
    ----------
    shared : int
        Number of bits w, which come first in every part.
    programs : tuple of Qcbo

    Raises
    ------
    AssemblyError
        No part, a number of shared bits below 0, or a part with fewer.
    """

    shared: int
    programs: tuple[Qcbo, ...]

    def __post_init__(self) -> None:
        if not self.programs:
            raise AssemblyError("a decomposition without parts")
        if self.shared < 0:
            raise AssemblyError(f"{self.shared} shared bits")
        if min(program.n_bits for program in self.programs) < self.shared:
            raise AssemblyError(f"a part with fewer bits than the {self.shared} shared ones")

    def __len__(self) -> int:
        return len(self.programs)

    @property
    def n_bits(self) -> int:
        """Bits of all parts, copies of shared ones included."""
        return sum(program.n_bits for program in self.programs)

    def joined(self) -> Qcbo:
        """Return the monolithic program: w once, then the private bits of each part."""
        size = self.n_bits - self.shared * (len(self) - 1)
        Q, c, constant = np.zeros((size, size)), np.zeros(size), 0.0
        rows, right, products, gates = [], [], [], []
        start = self.shared
        for program in self.programs:
            private = program.n_bits - self.shared
            places = np.concatenate([np.arange(self.shared), np.arange(start, start + private)])
            Q[np.ix_(places, places)] += program.Q
            c[places] += program.c
            constant += program.constant
            spread = sp.csr_array(
                (np.ones(len(places)), (np.arange(len(places)), places)), (len(places), size)
            )
            rows.append(program.equalities.A @ spread)
            right.append(program.equalities.b)
            products.append(places[program.products.bits])
            triples = program.gates.bits
            gates.append(np.column_stack([places[triples[:, :2]], triples[:, 2]]))
            start += private
        return Qcbo.from_arrays(
            Q,
            c,
            constant,
            equalities=LinearConstraints(csr(sp.vstack(rows, format="csr")), np.concatenate(right)),
            products=Products(np.concatenate(products)),
            gates=Gates(np.concatenate(gates)),
        )
