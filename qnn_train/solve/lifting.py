r"""The lifted problem, whole or in parts: a quadratic program in bits as a linear one in matrices.

With :math:`w = (1; x)` and :math:`W = ww^T`,

.. math:: \min_W\ \langle C, W\rangle \quad\text{subject to}\quad \mathcal A W = 0,
          \quad W \in \operatorname{conv}\{ww^T\}

Every row of :math:`\mathcal A` is a function that is never negative on bits and vanishes where a
constraint holds, so that the lifted problem has the optimum of the original one. A squared
equality is rank one, :math:`\langle hh^T, W\rangle` with :math:`h = (-b; a)`; a product is
Rosenberg's polynomial; a gate is :math:`r(1 - g)` or :math:`rg`. C and every row have Frobenius
norm 1.

W is never stored: what is known of it are its atoms and the linear images that the next gradient
needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import scipy.sparse as sp

from cim_hal.model.conversion import CsrArray, csr
from qnn_train.arguments import checked
from qnn_train.arrays import Array, ArrayLike, BitArray, FloatArray, IntArray
from qnn_train.errors import TrainingError
from qnn_train.program import Gates, LinearConstraints, Products, Qcbo
from qnn_train.program.qcbo import Parts
from qnn_train.solve.oracle import Answer

__all__ = ["CoupledProblem", "LiftedProblem", "Moments"]


POWER_ITERATIONS = 100


@checked
@dataclass(frozen=True, eq=False)
class LiftedProblem:
    """Objective and constraints on W, p = n + 1 rows and columns; make one with `lift`.

    Attributes
    ----------
    C : float64 array, shape (p, p)
        Symmetric objective, of norm 1 (0 where the program has no objective).
    objective_scale : float
        Objective of the program per unit of ⟨C, W⟩.
    H : CSR array, shape (m, p)
        A row of norm 1 for each equality.
    R : CSR array, shape (k, p²)
        A flattened symmetric matrix of norm 1 for each product, then for each gate.
    """

    C: FloatArray
    objective_scale: float
    H: CsrArray
    R: CsrArray

    @classmethod
    def lift(cls, qcbo: Qcbo) -> Self:
        """Lift a program and scale it."""
        C = np.block(
            [[np.array([[qcbo.constant]]), 0.5 * qcbo.c[None, :]], [0.5 * qcbo.c[:, None], qcbo.Q]]
        )
        norm = float(np.linalg.norm(C)) or 1.0
        R = _rosenberg(qcbo.products, len(C))
        if len(qcbo.gates):
            R = csr(sp.vstack([R, _gates(qcbo.gates, len(C))]))
        return cls(C / norm, norm, _rank_one(qcbo.equalities), R)

    @property
    def size(self) -> int:
        """Rows of W, p."""
        return len(self.C)

    @property
    def n_constraints(self) -> int:
        """Rows of 𝒜, m + k."""
        return self.H.shape[0] + self.R.shape[0]

    def objective(self, atom: ArrayLike) -> float:
        """Return ⟨C, wwᵀ⟩ for bits (n,)."""
        ones = np.flatnonzero(with_one(atom))
        return float(self.C[np.ix_(ones, ones)].sum())

    def image(self, atom: ArrayLike) -> FloatArray:
        """Return 𝒜 wwᵀ for bits (n,); float64, shape (m + k,), never negative."""
        w = with_one(atom)
        rows, places, values = self._products
        first, second = places
        products = np.bincount(rows, values * w[first] * w[second], self.R.shape[0])
        return np.concatenate([(self.H @ w) ** 2, products.astype(np.float64)])

    def residual(self, W: FloatArray) -> FloatArray:
        """Return 𝒜W for any symmetric W (p, p); the slow way, to check the fast one."""
        squared = self.H.multiply(self.H @ W).sum(axis=1)
        return np.concatenate([np.asarray(squared).ravel(), self.R @ W.ravel()])

    def adjoint(self, z: FloatArray) -> FloatArray:
        """Return 𝒜ᵀz = Hᵀ diag(z) H + Σ z_k R_k, symmetric, shape (p, p)."""
        total = np.zeros_like(self.C)
        where, entries = self._pattern
        total.reshape(-1)[where] = entries @ z
        return total

    def gradient(self, z: FloatArray) -> FloatArray:
        """Return C + 𝒜ᵀz, shape (p, p)."""
        total = self.C.copy()
        where, entries = self._pattern
        # A fixed pattern, written into one copy of C: 3x in bench_qcgd, 1000 spins.
        total.reshape(-1)[where] += entries @ z
        return total

    def gradients(self, z: FloatArray) -> list[FloatArray]:
        """Return the only gradient, as a list."""
        return [self.gradient(z)]

    def found(self, answers: Sequence[Answer]) -> BitArray:
        """Return every sample, the best first."""
        return answers[0].bits

    @property
    def reach(self) -> float:
        """p² ‖𝒜‖²: the trace of W is at most p."""
        return self.size**2 * self.squared_norm()

    @cached_property
    def _pattern(self) -> tuple[IntArray, CsrArray]:
        """Where 𝒜ᵀz may differ from 0, in flat positions, and what z does there (CSR)."""
        squares = _outer_rows(self.H)
        rows = sp.vstack([squares, self.R], format="csr") if self.R.shape[0] else squares
        columns = sp.csc_array(rows)
        where = np.flatnonzero(np.diff(columns.indptr))
        return where, csr(columns[:, where].T)

    @cached_property
    def _products(self) -> tuple[Array, Array, Array]:
        """Row, places (2, nnz) and value of every entry of R."""
        entries = sp.coo_array(self.R)
        places = np.divmod(entries.coords[1].astype(np.int64), self.size)
        return entries.coords[0], np.array(places), entries.data

    def squared_norm(self) -> float:
        """Return the squared operator norm of 𝒜, by power iteration."""
        z = np.ones(self.n_constraints)
        norm = 0.0
        for _ in range(POWER_ITERATIONS if len(z) else 0):
            z = self.residual(self.adjoint(z / np.linalg.norm(z)))
            before, norm = norm, float(np.linalg.norm(z))
            if abs(norm - before) <= 1e-6 * norm:
                break
        return norm


def with_one(atom: ArrayLike) -> FloatArray:
    """Return w = (1; x)."""
    return np.concatenate([[1.0], np.asarray(atom, dtype=np.float64)])


def _outer_rows(H: CsrArray) -> CsrArray:
    """Return the matrices hhᵀ of all rows h, flattened; CSR, shape (m, p²)."""
    size = H.shape[1]
    lengths = np.diff(H.indptr)
    starts = np.repeat(H.indptr[:-1], lengths**2)
    within = np.arange(len(starts)) - np.repeat(np.cumsum(lengths**2) - lengths**2, lengths**2)
    first, second = np.divmod(within, np.repeat(lengths, lengths**2))
    i, j = H.indices[starts + first].astype(np.int64), H.indices[starts + second]
    values = H.data[starts + first] * H.data[starts + second]
    rows = np.repeat(np.arange(H.shape[0]), lengths**2)
    return csr(sp.coo_array((values, (rows, i * size + j)), (H.shape[0], size**2)))


def _rank_one(equalities: LinearConstraints) -> CsrArray:
    rows = sp.hstack([sp.csr_array(-equalities.b[:, None]), equalities.A], format="csr")
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return csr(rows.multiply(1.0 / norms[:, None]))


def _rosenberg(products: Products, size: int) -> CsrArray:
    """Rows x_i x_j - 2 x_i y - 2 x_j y + 3 y, the last on the diagonal."""
    i, j, y = (1 + column for column in products.bits.T)
    entries = [(i, j, 0.5), (i, y, -1.0), (j, y, -1.0), (y, y, 1.5)]
    norm = np.sqrt(13.5)  # 2 (0.5² + 1 + 1) + 3² = 13.5
    return _symmetric([(a, b, np.full(len(i), value) / norm) for a, b, value in entries], size)


def _gates(gates: Gates, size: int) -> CsrArray:
    """Rows r (1 - g) where the gate opens at 1, r g where it opens at 0."""
    r, g, opens = gates.bits.T
    r, g = 1 + r, 1 + g
    norm = np.where(opens, np.sqrt(1.5), np.sqrt(0.5))  # 1² + 2 (½)² and 2 (½)²
    return _symmetric([(r, r, 0.5 * opens / norm), (r, g, (0.5 - opens) / norm)], size)


def _symmetric(entries: list[tuple[IntArray, IntArray, FloatArray]], size: int) -> CsrArray:
    """Rows with the k-th value of each entry at (a_k, b_k) and at (b_k, a_k)."""
    values, rows, columns = [], [], []
    for first, second, value in entries:
        for a, b in ((first, second), (second, first)):
            rows.append(np.arange(len(value)))
            columns.append(a * size + b)
            values.append(value)
    where = (np.concatenate(rows), np.concatenate(columns))
    count = len(entries[0][2])
    data = np.concatenate(values)
    return csr(sp.coo_array((data, where), shape=(count, size * size)))


@dataclass(frozen=True, eq=False)
class Moments:
    """P_k: first moments of the shared bits, or first and second."""

    shared: int  # d, the number of shared bits
    order: int

    def __post_init__(self) -> None:
        if self.order not in {1, 2}:
            raise TrainingError(f"moments of order {self.order}", hint="1 or 2")

    def __len__(self) -> int:
        return len(self._pairs[0])

    def of(self, bits: FloatArray) -> FloatArray:
        """Return the moments of one vector of bits (n,)."""
        w = np.concatenate([[1.0], bits[: self.shared]])
        first, second = self._pairs
        return w[first] * w[second]

    def adjoint(self, z: FloatArray, size: int) -> FloatArray:
        """Return Pᵀz, symmetric, shape (size, size)."""
        G = np.zeros((size, size))
        G[self._pairs] = 0.5 * z
        return G + G.T

    @cached_property
    def _pairs(self) -> tuple[IntArray, IntArray]:
        """Places in w = (1; x) of the factors: of each bit alone, then of each product of two."""
        first, second = np.triu_indices(self.shared + 1, 1)  # row 0 are the bits alone
        count = len(first) if self.order == 2 else self.shared
        return first[:count], second[:count]


@checked
@dataclass(frozen=True, eq=False)
class CoupledProblem:
    r"""Parts with their own copies of the parameters, coupled by moments (DLBO).

    .. math:: \min \sum_s \langle C_s, W_s\rangle \quad\text{subject to}\quad \mathcal A_s W_s = 0,
              \qquad P_k(W_s) = Z,\qquad W_s \in \operatorname{conv}\{ww^T\}

    :math:`P_1` are the first moments of the shared bits, the mean of each; :math:`P_2` the second
    as well, the mean of each product of two. Z being free, :math:`P_k(W_s) - \bar P_k` is what must
    vanish, with the mean over parts. Any solution of the whole gives one of the parts, so that the
    optimum is a lower bound of the whole program's, the higher the more moments.

    Decomposed Lower-Bound Optimization, its coupling by moments and its being a bound are the
    paper's (arXiv:2506.18240, a later version, as far as its abstract tells). That Z is the mean,
    and that the descent is `conditional_gradient` over the product of all parts, are ours: G of a
    part is :math:`C_s + \mathcal A_s^T z_s + P_k^T z'_s`, and the :math:`z'_s` add up to zero, so
    that the sum of the oracles' minima is a lower bound at every step. Make one with `lift`.

    Attributes
    ----------
    problems : tuple of LiftedProblem
        With one scale of the objectives, so that their sum is the whole.
    moments : Moments
    sizes : tuple of int
        Bits of each part.
    """

    problems: tuple[LiftedProblem, ...]
    moments: Moments
    sizes: tuple[int, ...]

    @classmethod
    def lift(cls, parts: Parts, *, order: int = 1) -> Self:
        """Lift every part and couple them by moments up to `order`, 1 or 2."""
        lifted = [LiftedProblem.lift(program) for program in parts.programs]
        norms = [float(np.linalg.norm(one.C)) * one.objective_scale for one in lifted]
        scale = float(np.linalg.norm(norms)) or 1.0
        problems = tuple(
            replace(one, C=one.C * (one.objective_scale / scale), objective_scale=scale)
            for one in lifted
        )
        sizes = tuple(program.n_bits for program in parts.programs)
        return cls(problems, Moments(parts.shared, order), sizes)

    @property
    def n_constraints(self) -> int:
        """Constraints of all parts, then the deviations of their moments."""
        own = sum(problem.n_constraints for problem in self.problems)
        return own + len(self.problems) * len(self.moments)

    @property
    def objective_scale(self) -> float:
        """Objective per unit of the sum of ⟨C_s, W_s⟩."""
        return self.problems[0].objective_scale

    @property
    def reach(self) -> float:
        """α² ‖𝒜‖², by α the sum of all sizes and ‖𝒜‖² at most the largest part's, plus 1."""
        norm = max(problem.squared_norm() for problem in self.problems)
        return sum(problem.size for problem in self.problems) ** 2 * (norm + 1.0)

    def gradients(self, z: FloatArray) -> list[FloatArray]:
        """Return the gradient of each part."""
        own, moments = self._split(z)
        return [
            problem.gradient(of_part) + self.moments.adjoint(pull, problem.size)
            for problem, of_part, pull in zip(self.problems, own, moments, strict=True)
        ]

    def objective(self, atom: ArrayLike) -> float:
        """Return the sum over parts of the objective at their bits."""
        pairs = zip(self.problems, self._bits(atom), strict=True)
        return sum(problem.objective(bits) for problem, bits in pairs)

    def image(self, atom: ArrayLike) -> FloatArray:
        """Return what must vanish: every part's constraints, then deviations of moments."""
        bits = self._bits(atom)
        own = [problem.image(one) for problem, one in zip(self.problems, bits, strict=True)]
        moments = np.array([self.moments.of(one.astype(np.float64)) for one in bits])
        return np.concatenate([*own, (moments - moments.mean(axis=0)).ravel()])

    def found(self, answers: Sequence[Answer]) -> BitArray:
        """Return the shared bits of every part's samples, and a vote of their best."""
        shared = self.moments.shared
        best = np.array([answer.best[:shared] for answer in answers])
        vote = (2 * best.sum(axis=0) >= len(best)).astype(np.int8)
        return np.concatenate([vote[None], *(answer.bits[:, :shared] for answer in answers)])

    def _bits(self, atom: ArrayLike) -> list[Array]:
        return np.split(np.asarray(atom), np.cumsum(self.sizes)[:-1])

    def _split(self, z: FloatArray) -> tuple[list[Array], FloatArray]:
        ends = np.cumsum([problem.n_constraints for problem in self.problems])
        *own, moments = np.split(z, ends)
        return own, moments.reshape(len(self.problems), len(self.moments))
