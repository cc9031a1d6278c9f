r"""The logistic and the softmax loss of margins, by one formula.

With logits :math:`o` of one output (:math:`p = 1/(1 + e^{-o})`) or of several (p the softmax) and
targets t, 1 for the right output and 0 elsewhere,

.. math:: \frac{\partial L}{\partial o} = p - t, \qquad
          \frac{\partial^2 L}{\partial o^2} = \operatorname{diag}(p) - p\,p^T .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["error_rate", "mean_loss", "probabilities", "targets_of"]


def targets_of(labels: ArrayLike, n_outputs: int) -> NDArray[np.float32]:
    """Return what each output should be, 0 or 1; float32, shape (samples, outputs).

    Parameters
    ----------
    labels : integer array, shape (samples,), or (samples, outputs)
        -1 and +1 for one output; for several the number of the right one, or rows of -1 with one
        +1.
    """
    given = np.asarray(labels)
    if given.ndim == 1 and n_outputs > 1:
        return np.eye(n_outputs, dtype=np.float32)[given]
    return (given.reshape(len(given), n_outputs) > 0).astype(np.float32)


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return p of logits (..., outputs); float32."""
    if logits.shape[-1] == 1:
        return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return powers / powers.sum(axis=-1, keepdims=True)


def error_rate(margins: NDArray[np.floating], targets: NDArray[np.float32]) -> float:
    """Return the share of wrong answers, of margins and targets (samples, outputs)."""
    if margins.shape[-1] == 1:
        return float(np.mean((margins[:, 0] >= 0) != (targets[:, 0] > 0)))
    return float(np.mean(margins.argmax(axis=-1) != targets.argmax(axis=-1)))


def mean_loss(logits: NDArray[np.floating], targets: NDArray[np.float32]) -> float:
    """Return the mean loss over samples, of logits and targets (samples, outputs)."""
    right = np.einsum("nc,nc->n", logits, targets)
    if logits.shape[-1] == 1:
        of_one = logits[:, 0]
        softplus = np.maximum(of_one, 0) + np.log(1 + np.exp(-np.abs(of_one)))
        return float(np.mean(softplus - right, dtype=np.float64))
    columns = logits.T.copy()  # long rows: 3x faster than short ones
    top = columns.max(axis=0)
    columns -= top
    total = np.exp(columns, out=columns).sum(axis=0)
    return float(np.mean(top + np.log(total) - right, dtype=np.float64))
