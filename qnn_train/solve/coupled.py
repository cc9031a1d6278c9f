r"""Parts with their own copies of the parameters, coupled by moments: DLBO.

.. math:: \min \sum_s \langle C_s, W_s\rangle \quad\text{subject to}\quad \mathcal A_s W_s = 0,
          \qquad P_k(W_s) = Z,\qquad W_s \in \operatorname{conv}\{ww^T\}

:math:`P_1` are the first moments of the shared bits, the mean of each; :math:`P_2` the second as
well, the mean of each product of two. Z being free, :math:`P_k(W_s) - \bar P_k` is what must
vanish, with the mean over parts. Any solution of the whole gives one of the parts, so that the
optimum is a lower bound of the whole program's, the higher the more moments.

Decomposed Lower-Bound Optimization, its coupling by moments and its being a bound are the paper's
(arXiv:2506.18240, a later version, as far as its abstract tells). That Z is the mean, and that the
descent is `conditional_gradient` over the product of all parts, are ours: G of a part is
:math:`C_s + \mathcal A_s^T z_s + P_k^T z'_s`, and the :math:`z'_s` add up to zero, so that the sum
of the oracles' minima is a lower bound at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.errors import TrainingError
from qnn_train.solve.lifting import LiftedProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qnn_train.arrays import Array, ArrayLike, BitArray, FloatArray
    from qnn_train.program.qcbo import Parts
    from qnn_train.solve.oracle import Answer

__all__ = ["CoupledProblem", "Moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """P_k: first moments of the shared bits, or first and second.

    Parameters
    ----------
    shared : int
        d, the number of shared bits.
    order : {1, 2}
    """

    shared: int
    order: int

    def __post_init__(self) -> None:
        if self.order not in {1, 2}:
            raise TrainingError(f"moments of order {self.order}", hint="1 or 2")

    def __len__(self) -> int:
        return self.shared * (self.shared + 1) // 2 if self.order == 2 else self.shared

    def of(self, bits: FloatArray) -> FloatArray:
        """Return the moments of one vector of bits (n,)."""
        w = bits[: self.shared]
        if self.order == 1:
            return w
        return np.concatenate([w, np.outer(w, w)[np.triu_indices(self.shared, 1)]])

    def adjoint(self, z: FloatArray, size: int) -> FloatArray:
        """Return Pᵀz, symmetric, shape (size, size)."""
        G = np.zeros((size, size))
        G[0, 1 : self.shared + 1] = 0.5 * z[: self.shared]
        if self.order == 2:
            first, second = np.triu_indices(self.shared, 1)
            G[first + 1, second + 1] = 0.5 * z[self.shared :]
        return G + G.T


@dataclass(frozen=True, eq=False)
class CoupledProblem:
    """What `conditional_gradient` needs of the parts; make one with `lift`.

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
