r"""The squared loss of margins, on the scale and with the offset that suit them best.

For each output, with margins m and targets t over the samples,

.. math:: L = \min_{s, c} \tfrac12 \langle (s\,m + c - t)^2 \rangle
            = \tfrac12 \operatorname{var}(t)\,(1 - r^2), \qquad
          s = \frac{\operatorname{cov}(m, t)}{\operatorname{var}(m)}, \quad
          c = \langle t - s\,m \rangle ,

where r is the correlation of m and t; several outputs add. Around a network L is taken at a scale
that is kept, with the offset still free: half the variance of :math:`s\,m - t`, whose gradient in
m is the centred residual, and whose curvature is that of centred moves. The scale there is no
smaller than with r = 1/2: at the best scale of a network that knows little all moves look small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.solve.descent_loss import Expansion

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SquaredError", "fitted_line"]

LEAST_CORRELATION = 0.5


@dataclass(frozen=True)
class SquaredError:
    """Half the mean squared residual of the best line from margins to targets, see above.

    It needs no scale from the descent, which is 1 throughout.
    """

    @property
    def free_offset(self) -> bool:
        """True: its offset is found for each network."""
        return True

    def targets_of(self, labels: ArrayLike, n_outputs: int) -> NDArray[np.float32]:
        """Return real labels, (samples,) or (samples, outputs), with an axis of outputs."""
        given = np.asarray(labels, np.float32)
        return given.reshape(len(given), n_outputs)

    def rescaled(
        self,
        margins: NDArray[np.floating],  # noqa: ARG002  it finds its own scale
        targets: NDArray[np.float32],  # noqa: ARG002
        scale: float,  # noqa: ARG002
    ) -> float:
        """Return 1."""
        return 1.0

    def mean(
        self,
        margins: NDArray[np.floating],
        targets: NDArray[np.float32],
        scale: float = 1.0,  # noqa: ARG002  it finds its own
    ) -> float:
        """Return the loss, summed over outputs."""
        both, of_margins, of_targets = _moments(margins, targets)
        explained = np.divide(both**2, of_margins, out=np.zeros_like(both), where=of_margins > 0)
        return float(0.5 * np.sum(of_targets - explained))

    def expand(
        self,
        margins: NDArray[np.float32],
        targets: NDArray[np.float32],
        scale: float = 1.0,  # noqa: ARG002  it finds its own
    ) -> Expansion:
        """Return the loss at a kept scale, the offset free."""
        both, of_margins, of_targets = _moments(margins, targets)
        at_most = np.sqrt(of_targets / np.where(of_margins > 0, of_margins, 1.0))  # r = 1
        best = np.divide(both, of_margins, out=np.zeros_like(both), where=of_margins > 0)
        least = LEAST_CORRELATION * at_most
        kept = np.where(both < 0, -1.0, 1.0) * np.maximum(np.abs(best), least)
        residual = kept * _centred(margins) - _centred(targets)
        return Expansion(
            kept.astype(np.float32),
            residual.astype(np.float32),
            np.ones(residual.shape, np.float32),
        )


def fitted_line(
    margins: NDArray[np.floating], targets: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and offset of each output, by least squares; a scale of 0 where margins agree.

    Parameters
    ----------
    margins, targets : array, shape (samples, outputs)

    Returns
    -------
    two float64 arrays, shape (outputs,)
    """
    both, of_margins, _ = _moments(margins, targets)
    scale = np.divide(both, of_margins, out=np.zeros_like(both), where=of_margins > 0)
    of_margin, of_target = (a.mean(axis=0, dtype=np.float64) for a in (margins, targets))
    return scale, of_target - scale * of_margin


def _moments(
    margins: NDArray[np.floating], targets: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the covariance, and the variances of margins and targets, of each output."""
    m, t = _centred(margins), _centred(targets)
    both, of_margins, of_targets = ((a * b).mean(axis=0) for a, b in ((m, t), (m, m), (t, t)))
    return both, of_margins, of_targets


def _centred(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return values - values.mean(axis=0, dtype=np.float64)
