r"""Least squares over quantized weights: an unconstrained program.

.. math:: \min_w \lVert s X w - Y \rVert^2, \qquad w_k = w_0 + \sum_p c_p u_{kp}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.errors import AssemblyError
from qnn_train.program.qcbo import Qcbo

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qnn_train.network.codes import ParameterCode

__all__ = ["least_squares", "squared_norm"]


def squared_norm(M: Any, r: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64], float]:
    """Return Q (n, n), c (n,) and the constant of ‖M x + r‖²; Q dense or sparse as M (m, n) is."""
    return M.T @ M, 2.0 * (M.T @ r), float(r @ r)


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
