r"""The losses that a proximal descent minimizes, each with its expansion to second order.

**Squared loss of margins, on the scale and with the offset that suit them best.**

For each output, with margins m and targets t over the samples,

.. math:: L = \min_{s, c} \tfrac12 \langle (s\,m + c - t)^2 \rangle
            = \tfrac12 \operatorname{var}(t)\,(1 - r^2), \qquad
          s = \frac{\operatorname{cov}(m, t)}{\operatorname{var}(m)}, \quad
          c = \langle t - s\,m \rangle ,

where r is the correlation of m and t; several outputs add. Around a network L is taken at a scale
that is kept, with the offset still free: half the variance of :math:`s\,m - t`, whose gradient in
m is the centred residual, and whose curvature is that of centred moves. The scale there is no
smaller than with r = 1/2: at the best scale of a network that knows little all moves look small.
Margins that all agree have no scale; a small one lets the gradient lead away from there.

**Logistic and softmax loss of margins, by one formula.**

With logits :math:`o` of one output (:math:`p = 1/(1 + e^{-o})`) or of several (p the softmax) and
targets t, 1 for the right output and 0 elsewhere,

.. math:: \frac{\partial L}{\partial o} = p - t, \qquad
          \frac{\partial^2 L}{\partial o^2} = \operatorname{diag}(p) - p\,p^T .
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np

from qnn_train.arrays import ArrayLike, Float32Array, FloatArray, RealArray
from qnn_train.network.network import second_class

__all__ = [
    "BatchLoss",
    "CrossEntropy",
    "DescentLoss",
    "Expansion",
    "SquaredError",
    "error_rate",
    "fitted_line",
    "probabilities",
    "weighted_mean",
]

T = TypeVar("T", bound="np.ndarray[Any, Any]")

LEAST_CORRELATION = 0.5
# What margins that all agree are taken to spread by: so much that the gradient leads away
UNSEEN_SPREAD = 1e4
UNSEEN_SCALE = 1 / UNSEEN_SPREAD  # of logits, in the same place
RESCALING = np.geomspace(0.6, 1.6, 7)
FIRST_LOGIT = 2.0
# Samples that the scale of the logits is fitted on.
SCALED_ON = 4096


@dataclass(frozen=True, eq=False)
class Expansion:
    r"""The loss of each sample to second order in its outputs o: e, and diag(d) - u uᵀ.

    Attributes
    ----------
    scale : float32 array, shape (outputs,)
        Of the margins: :math:`\partial o/\partial m`.
    gradient : float32 array, shape (samples, outputs)
        e.
    diagonal : float32 array, shape (samples, outputs)
        d.
    rank_one : float32 array, shape (samples, outputs), or None
        u; None for zero.
    shares : float32 array, shape (samples,), or None
        What each sample counts, 1 on average; None where all count alike. Gradient and curvature
        hold it already, moves do not.
    """

    scale: Float32Array
    gradient: Float32Array
    diagonal: Float32Array
    rank_one: Float32Array | None = None
    shares: Float32Array | None = None

    def rows(self, start: int, stop: int) -> Expansion:
        """Return the expansion of some of the samples."""
        part = slice(start, stop)
        return replace(
            self,
            gradient=self.gradient[part],
            diagonal=self.diagonal[part],
            rank_one=_part(self.rank_one, part),
            shares=_part(self.shares, part),
        )

    def weighted(self, weights: FloatArray | None) -> Expansion:
        """Return the expansion in which each sample counts as its weight says."""
        if weights is None:
            return self
        shares = (weights / weights.mean()).astype(np.float32)
        column = shares[:, None]
        return replace(
            self,
            gradient=self.gradient * column,
            diagonal=self.diagonal * column,
            rank_one=None if self.rank_one is None else self.rank_one * np.sqrt(column),
            shares=shares,
        )


def _part(values: T | None, part: slice) -> T | None:
    return None if values is None else cast("T", values[part])


class DescentLoss(Protocol):
    """A mean over samples of a function of margins and targets.

    Margins and targets are arrays of shape (samples, outputs). The scale is a number the descent
    carries from step to step, for a loss that needs it. Weights of samples, (samples,), are
    positive; None where all count alike.
    """

    # Whether an offset of each output is fitted to each network: constants cost nothing.
    free_offset: ClassVar[bool]

    def targets_of(self, labels: ArrayLike, n_outputs: int, /) -> Float32Array:
        """Return the targets that labels mean, float32."""
        ...

    def rescaled(
        self,
        margins: RealArray,
        targets: Float32Array,
        scale: float,
        weights: FloatArray | None = None,
        /,
    ) -> float:
        """Return the scale to go on with; the one before is 0 at the beginning."""
        ...

    def mean(
        self,
        margins: RealArray,
        targets: Float32Array,
        scale: float,
        weights: FloatArray | None = None,
        /,
    ) -> float:
        """Return the mean loss over samples."""
        ...

    def expand(
        self,
        margins: Float32Array,
        targets: Float32Array,
        scale: float,
        weights: FloatArray | None = None,
        /,
    ) -> Expansion:
        """Return the loss of each sample around its margins."""
        ...


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """A loss on the targets of a batch, at the scale that the descent carries."""

    loss: DescentLoss
    targets: Float32Array  # shape (samples, outputs)
    scale: float
    weights: FloatArray | None = None  # shape (samples,)

    def rows(self, start: int, stop: int) -> BatchLoss:
        """Return the loss on some of the samples."""
        part = slice(start, stop)
        return replace(self, targets=self.targets[part], weights=_part(self.weights, part))

    def mean(self, margins: RealArray) -> float:
        """Return the mean loss of margins (samples, outputs)."""
        return self.loss.mean(margins, self.targets, self.scale, self.weights)

    def expand(self, margins: Float32Array) -> Expansion:
        """Return the loss of each sample around its margins."""
        return self.loss.expand(margins, self.targets, self.scale, self.weights)


@dataclass(frozen=True)
class SquaredError:
    """Half the mean squared residual of the best line from margins to targets, see above.

    It needs no scale from the descent, which is 1 throughout.
    """

    free_offset: ClassVar[bool] = True

    def targets_of(self, labels: ArrayLike, n_outputs: int) -> Float32Array:
        """Return real labels, (samples,) or (samples, outputs), with an axis of outputs."""
        given = np.asarray(labels, np.float32)
        return given.reshape(len(given), n_outputs)

    def rescaled(
        self,
        _margins: RealArray,
        _targets: Float32Array,
        _scale: float,
        _weights: FloatArray | None = None,
    ) -> float:
        """Return 1."""
        return 1.0

    def mean(
        self,
        margins: RealArray,
        targets: Float32Array,
        _scale: float = 1.0,
        weights: FloatArray | None = None,
    ) -> float:
        """Return the loss, summed over outputs."""
        both, of_margins, of_targets = _moments(margins, targets, weights)
        explained = np.divide(both**2, of_margins, out=np.zeros_like(both), where=of_margins > 0)
        return float(0.5 * np.sum(of_targets - explained))

    def expand(
        self,
        margins: Float32Array,
        targets: Float32Array,
        _scale: float = 1.0,
        weights: FloatArray | None = None,
    ) -> Expansion:
        """Return the loss at a kept scale, the offset free."""
        both, of_margins, of_targets = _moments(margins, targets, weights)
        spread = np.where(of_margins > 0, of_margins, UNSEEN_SPREAD**2)
        at_most = np.sqrt(of_targets / spread)  # r = 1
        best = np.divide(both, of_margins, out=np.zeros_like(both), where=of_margins > 0)
        least = LEAST_CORRELATION * at_most
        kept = np.where(both < 0, -1.0, 1.0) * np.maximum(np.abs(best), least)
        residual = kept * _centred(margins, weights) - _centred(targets, weights)
        return Expansion(
            kept.astype(np.float32),
            residual.astype(np.float32),
            np.ones(residual.shape, np.float32),
        ).weighted(weights)


def fitted_line(
    margins: RealArray, targets: RealArray, weights: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return scale and offset of each output, by least squares; a scale of 0 where margins agree.

    Of margins and targets (samples, outputs); two arrays, shape (outputs,).
    """
    both, of_margins, _ = _moments(margins, targets, weights)
    scale = np.divide(both, of_margins, out=np.zeros_like(both), where=of_margins > 0)
    of_margin, of_target = (weighted_mean(each, weights) for each in (margins, targets))
    return scale, of_target - scale * of_margin


def weighted_mean(values: RealArray, weights: FloatArray | None) -> FloatArray:
    """Return the mean over samples, the first axis, in float64."""
    if weights is None:
        return np.asarray(np.add.reduce(values, axis=0, dtype=np.float64) / len(values))
    return weights @ values / weights.sum()


def _moments(
    margins: RealArray, targets: RealArray, weights: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the covariance, and the variances of margins and targets, of each output."""
    m, t = _centred(margins, weights), _centred(targets, weights)
    pairs = ((m, t), (m, m), (t, t))
    both, of_margins, of_targets = (weighted_mean(a * b, weights) for a, b in pairs)
    return both, of_margins, of_targets


def _centred(values: RealArray, weights: FloatArray | None) -> FloatArray:
    return values - weighted_mean(values, weights)


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of classes; the scale is that of the logits, in logits per margin."""

    free_offset: ClassVar[bool] = False  # biases are bits of the network

    def targets_of(self, labels: ArrayLike, n_outputs: int) -> Float32Array:
        """Return what each output should be, 0 or 1; float32, shape (samples, outputs).

        Labels are -1 and +1 for one output; for several the number of the right one, or rows of -1
        with one +1.
        """
        given = np.asarray(labels)
        if given.ndim == 1 and n_outputs > 1:
            return np.eye(n_outputs, dtype=np.float32)[given]
        return (given.reshape(len(given), n_outputs) > 0).astype(np.float32)

    def rescaled(
        self,
        margins: RealArray,
        targets: Float32Array,
        scale: float,
        weights: FloatArray | None = None,
    ) -> float:
        """Return the best of a few scales around `scale`; a first guess where there is none."""
        margins, targets = margins[:SCALED_ON], targets[:SCALED_ON]
        weights = _part(weights, slice(SCALED_ON))
        if (margins == margins[:1]).all():
            return UNSEEN_SCALE
        if scale in {0.0, UNSEEN_SCALE}:
            return FIRST_LOGIT / max(1.0, float(np.sqrt(np.mean(np.square(margins)))))
        losses = [self.mean(margins, targets, s, weights) for s in scale * RESCALING]
        return float(scale * RESCALING[int(np.argmin(losses))])

    def mean(
        self,
        margins: RealArray,
        targets: Float32Array,
        scale: float = 1.0,
        weights: FloatArray | None = None,
    ) -> float:
        """Return the mean loss of the logits over samples."""
        logits = np.float32(scale) * margins
        right = np.einsum("nc,nc->n", logits, targets)
        if logits.shape[-1] == 1:
            of_one = logits[:, 0]
            softplus = np.maximum(of_one, 0) + np.log(1 + np.exp(-np.abs(of_one)))
            return float(weighted_mean(softplus - right, weights))
        columns = logits.T.copy()  # long rows: 3x faster than short ones
        top = columns.max(axis=0)
        columns -= top
        total = np.exp(columns, out=columns).sum(axis=0)
        return float(weighted_mean(top + np.log(total) - right, weights))

    def expand(
        self,
        margins: Float32Array,
        targets: Float32Array,
        scale: float,
        weights: FloatArray | None = None,
    ) -> Expansion:
        """Return p - t, and diag(p) - p pᵀ."""
        p = probabilities(np.float32(scale) * margins)
        scales = np.full(margins.shape[-1], scale, np.float32)
        return Expansion(scales, p - targets, p, p).weighted(weights)


def probabilities(logits: RealArray) -> Float32Array:
    """Return p of logits (..., outputs); float32."""
    if logits.shape[-1] == 1:
        return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return powers / powers.sum(axis=-1, keepdims=True)


def error_rate(margins: RealArray, targets: Float32Array) -> float:
    """Return the share of wrong answers, of margins and targets (samples, outputs)."""
    if margins.shape[-1] == 1:
        return float(np.mean(second_class(margins[:, 0]) != (targets[:, 0] > 0)))
    return float(np.mean(margins.argmax(axis=-1) != targets.argmax(axis=-1)))
