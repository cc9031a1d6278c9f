r"""A network of the same codes, trained by the straight-through estimator, without a machine.

Every parameter has a real number beside it, which is rounded to the nearest value of its code in
the forward pass; the gradient of the loss goes straight through the rounding to the real number
(Bengio et al., arXiv:1308.3432; BinaryConnect, arXiv:1511.00363), which stays between the least and
the largest value. The forward pass, the loss and its scale are those of the proximal descent, so
that what comes out is a network of exactly as many bits. Where an activation is piecewise constant
its slope is taken as that of a line through the root mean square of its sums. Adam, with a rate
that falls to zero along a cosine; the best of the networks passed on the way counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qnn_train.arrays import Array, Float32Array, FloatArray
from qnn_train.network import Architecture, ParameterCode, QuantizedNetwork
from qnn_train.network.network import margin_of, nearest
from qnn_train.network.spline import Spline
from qnn_train.solve.losses import DescentLoss

__all__ = ["straight_through"]

STEPS = 2000
BATCH = 256
RATE = 0.02  # of half the range of a code
JUDGEMENTS = 100
LEAST_SCALE = 0.25  # of the first guess of the loss
DECAYS = (0.9, 0.999)


def straight_through(
    architecture: Architecture,
    inputs: Array,
    labels: Array,
    *,
    loss: DescentLoss,
    seed: int,
    steps: int = STEPS,
    weights: FloatArray | None = None,
) -> tuple[QuantizedNetwork, float]:
    """Return the network and its mean loss on all samples.

    Parameters
    ----------
    architecture : Architecture
    inputs : integer array, shape (samples, n_inputs)
    labels : array
        As the loss takes them.
    weights : float array, shape (samples,), optional
        What each sample counts in the mean loss, positive; all alike by default.
    """
    rng = np.random.default_rng([seed, 11])
    targets = loss.targets_of(labels, architecture.n_outputs)
    samples = inputs.astype(np.float64)
    parameters = [
        _Latent.drawn(code, shape, rng)
        for layer in architecture.layers
        for code, shape in (
            (layer.weights, (layer.outputs, layer.inputs)),
            (layer.biases, (layer.outputs,)),
        )
    ]
    best, least, scale = _network(architecture, parameters), np.inf, 0.0
    judged_every = max(1, steps // JUDGEMENTS)
    for step in range(steps):
        rows = rng.choice(len(samples), min(BATCH, len(samples)), replace=False)
        sums = _forward(architecture, parameters, samples[rows])
        margins = _margins(architecture, sums)
        counts = None if weights is None else weights[rows]
        # a start that is wrong everywhere shrinks the scale to nothing, and its gradient with it
        if not scale or (margins != margins[0]).any():  # margins that agree say nothing of it
            least_scale = LEAST_SCALE * loss.rescaled(margins, targets[rows], 0.0, counts)
            scale = max(least_scale, loss.rescaled(margins, targets[rows], scale, counts))
        expansion = loss.expand(margins, targets[rows], scale, counts)
        error = expansion.gradient.astype(np.float64) * expansion.scale / len(rows)
        gradients = _backward(architecture, parameters, samples[rows], sums, error)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        for latent, gradient in zip(parameters, gradients, strict=True):
            latent.move(gradient, rate, step + 1)
        if (step + 1) % judged_every == 0 or step + 1 == steps:
            margins = _margins(architecture, _forward(architecture, parameters, samples))
            own = loss.rescaled(margins, targets, scale, weights)
            found = loss.mean(margins, targets, own, weights)
            if found < least:
                best, least = _network(architecture, parameters), found
    return best, least


@dataclass(eq=False)
class _Latent:
    """The real numbers beside the parameters of one code, and the moments of Adam."""

    code: ParameterCode
    values: FloatArray
    rounded: FloatArray = field(init=False)  # the nearest values of the code

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.values), np.zeros_like(self.values)
        self._round()

    @classmethod
    def drawn(
        cls, code: ParameterCode, shape: tuple[int, ...], rng: np.random.Generator
    ) -> _Latent:
        """Draw them evenly from the range of the code."""
        return cls(code, rng.uniform(code.values[0], code.values[-1], shape))

    def move(self, gradient: FloatArray, rate: float, step: int) -> None:
        """Make a step of Adam, and stay within the range of the code."""
        low, high = self.code.values[0], self.code.values[-1]
        slow, slower = DECAYS
        self.first += (1 - slow) * (gradient - self.first)
        self.second += (1 - slower) * (gradient**2 - self.second)
        size = rate * (high - low) / 2 * np.sqrt(1 - slower**step) / (1 - slow**step)
        self.values -= size * self.first / (np.sqrt(self.second) + 1e-12)
        self.values.clip(low, high, out=self.values)
        self._round()

    def _round(self) -> None:
        self.rounded = nearest(self.code, self.values).astype(np.float64)


def _forward(
    architecture: Architecture, parameters: Sequence[_Latent], samples: FloatArray
) -> list[FloatArray]:
    """Return the sums of every layer."""
    sums, values = [], samples
    for index, layer in enumerate(architecture.layers):
        weights, biases = (parameters[2 * index + part].rounded for part in (0, 1))
        sums.append(values @ weights.T + biases)
        if index < len(architecture.hidden):
            values = layer.activation(sums[-1])
    return sums


def _margins(architecture: Architecture, sums: Sequence[FloatArray]) -> Float32Array:
    """Return the margins, (samples, outputs)."""
    margins = margin_of(architecture, sums[-1])
    return margins.reshape(-1, architecture.n_outputs).astype(np.float32)


def _backward(
    architecture: Architecture,
    parameters: Sequence[_Latent],
    samples: FloatArray,
    sums: Sequence[FloatArray],
    error: FloatArray,
) -> list[FloatArray]:
    """Return the gradients of weights and biases, layer by layer."""
    found: list[FloatArray] = []
    if architecture.readout is None:  # each voice counts one
        error = error * _slope(architecture.hidden[-1].activation, sums[-1])
    for index in reversed(range(len(sums))):
        below = architecture.layers[index - 1].activation
        values = below(sums[index - 1]) if index else samples
        found = [error.T @ values, error.sum(axis=0), *found]
        if index:
            error = error @ parameters[2 * index].rounded * _slope(below, sums[index - 1])
    return found


def _slope(activation: Spline, sums: FloatArray) -> FloatArray:
    """Return the slope of an activation; that of a line within the usual sums if it has none."""
    if any(activation.slopes):
        slopes = np.array(activation.slopes, np.float64)
        return slopes[np.searchsorted(activation.knots, sums, side="right")]
    usual = max(1.0, float(np.sqrt(np.mean(np.square(sums)))))
    reach = (max(activation.intercepts) - min(activation.intercepts)) / 2
    return np.where(np.abs(sums) < usual, reach / usual, 0.0)


def _network(architecture: Architecture, parameters: Sequence[_Latent]) -> QuantizedNetwork:
    rounded = [latent.rounded.astype(np.int64) for latent in parameters]
    return QuantizedNetwork(architecture, tuple(rounded[::2]), tuple(rounded[1::2]))
