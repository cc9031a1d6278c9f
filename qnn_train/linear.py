"""Integer weights of a linear fit, found by an oracle: the smallest use of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import ArrayLike, IntArray
from qnn_train.network import ParameterCode
from qnn_train.program import least_squares
from qnn_train.solve import LiftedProblem, Oracle, conditional_gradient

__all__ = ["LinearFit", "fit_linear"]


@dataclass(frozen=True, eq=False)
class LinearFit:
    """The best weights an oracle returned.

    Attributes
    ----------
    weights : int64 array, shape (d,)
    objective : float
        ‖scale X w - Y‖², computed from these weights.
    """

    weights: IntArray
    objective: float


@checked
def fit_linear(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    scale: float,
    weights: ParameterCode,
    oracle: Oracle,
    calls: int = 1,
) -> LinearFit:
    """Minimize ‖scale X w - Y‖² over weights of a code.

    Without constraints the gradient is the same at every step: each call is one more try.

    Parameters
    ----------
    X : float array, shape (samples, d)
    Y : float array, shape (samples,)
    scale : float
        Factor before the integer weights.
    oracle : Oracle
    calls : int
        Calls of the oracle; the best of all samples is kept.

    Raises
    ------
    AssemblyError
        Shapes that differ.
    """
    problem = LiftedProblem.lift(least_squares(X, Y, scale=scale, weights=weights))
    steps = islice(conditional_gradient(problem, oracle), calls)
    bits = np.concatenate([iterate.bits for iterate in steps])
    features, targets = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    candidates = weights.decode(
        np.unique(bits, axis=0).reshape(-1, features.shape[1], weights.bits)
    )
    residuals = scale * candidates @ features.T - targets
    objectives = np.einsum("rs,rs->r", residuals, residuals)
    best = int(objectives.argmin())
    return LinearFit(candidates[best], float(objectives[best]))
