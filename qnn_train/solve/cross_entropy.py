r"""The logistic and the softmax loss of margins, by one formula.

With logits :math:`o` of one output (:math:`p = 1/(1 + e^{-o})`) or of several (p the softmax) and
targets t, 1 for the right output and 0 elsewhere,

.. math:: \frac{\partial L}{\partial o} = p - t, \qquad
          \frac{\partial^2 L}{\partial o^2} = \operatorname{diag}(p) - p\,p^T .
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.network.network import second_class
from qnn_train.solve.descent_loss import Expansion

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CrossEntropy", "error_rate", "mean_loss", "probabilities", "targets_of"]

RESCALING = np.geomspace(0.6, 1.6, 7)
FIRST_LOGIT = 2.0
# Samples that the scale of the logits is fitted on.
SCALED_ON = 4096


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of classes; the scale is that of the logits, in logits per margin."""

    @property
    def free_offset(self) -> bool:
        """False: biases are bits of the network."""
        return False

    def targets_of(self, labels: ArrayLike, n_outputs: int) -> NDArray[np.float32]:
        """Return what each output should be, see `targets_of`."""
        return targets_of(labels, n_outputs)

    def rescaled(
        self, margins: NDArray[np.floating], targets: NDArray[np.float32], scale: float
    ) -> float:
        """Return the best of a few scales around `scale`; where that is 0, a first guess."""
        margins, targets = margins[:SCALED_ON], targets[:SCALED_ON]
        if not scale:
            return FIRST_LOGIT / max(1.0, float(np.sqrt(np.mean(np.square(margins)))))
        losses = [self.mean(margins, targets, s) for s in scale * RESCALING]
        return float(scale * RESCALING[int(np.argmin(losses))])

    def mean(
        self, margins: NDArray[np.floating], targets: NDArray[np.float32], scale: float
    ) -> float:
        """Return the mean loss of the logits, see `mean_loss`."""
        return mean_loss(np.float32(scale) * margins, targets)

    def expand(
        self, margins: NDArray[np.float32], targets: NDArray[np.float32], scale: float
    ) -> Expansion:
        """Return p - t, and diag(p) - p pᵀ."""
        p = probabilities(np.float32(scale) * margins)
        return Expansion(np.full(margins.shape[-1], scale, np.float32), p - targets, p, p)


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
        return float(np.mean(second_class(margins[:, 0]) != (targets[:, 0] > 0)))
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
