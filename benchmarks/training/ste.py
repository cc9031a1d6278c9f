"""Straight-through estimator: one hidden layer, quantized weights, real biases and scales.

Weights are kept real and quantized in the forward pass, as BinaryConnect and ternary weight
networks do: sign(w) or, beyond 0.7 times the mean modulus, sign(w), times a real scale of the
layer that is learnt. The gradient goes straight through to weights clipped to [-1, 1]. Adam, with a
rate that falls to zero along a cosine.

`qnn_train.solve.straight_through` is another one: biases in their codes and activations of the
network, so that its networks can be refined (`refine.py`). This one has more real numbers than the
networks it stands beside, and the published rows of the tables are made with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

__all__ = ["Network", "Recipe", "fit"]

CUT = 0.7
BINARY, TERNARY = range(2)
LOSSES = {"softmax": 0, "logistic": 1, "squared": 2}
RANGES = {"relu": (np.float32(0), np.float32(np.inf)), "hard_tanh": (np.float32(-1), np.float32(1))}
KINDS = {"binary": BINARY, "ternary": TERNARY}


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    kind: str = "ternary"
    loss: str = "softmax"
    activation: str = "relu"
    hidden: int = 4
    epochs: int = 15
    batch: int = 100
    rate: float = 0.01
    least_steps: int = 1500


@dataclass(frozen=True)
class Network:
    """What was trained."""

    parameters: tuple[np.ndarray, ...]
    recipe: Recipe

    def outputs(self, inputs):
        """Return the logits, or real answers, of real features; (samples, outputs)."""
        W, V, b, c, scales = self.parameters
        kind = KINDS[self.recipe.kind]
        sums = scales[0] * (inputs @ _quantized(W, kind)) + b
        hidden = np.clip(sums, *RANGES[self.recipe.activation])
        return scales[1] * (hidden @ _quantized(V, kind)) + c


def fit(inputs, targets, *, seed, recipe):
    """Return a network for real features (samples, n) and targets (samples, outputs).

    Targets are as the loss of the recipe takes them.
    """
    rng = np.random.default_rng([seed, 7])
    width, count, n_outputs = inputs.shape[1], len(inputs), targets.shape[1]
    batch = min(recipe.batch, count)
    steps = max(recipe.epochs * (count // batch), recipe.least_steps)
    each = count // batch
    order = np.concatenate(
        [rng.permutation(count)[: each * batch] for _ in range(-(-steps // each))]
    )
    W, V = (
        rng.uniform(-1, 1, shape).astype(np.float32)
        for shape in ((width, recipe.hidden), (recipe.hidden, n_outputs))
    )
    b, c = np.zeros(recipe.hidden, np.float32), np.zeros(n_outputs, np.float32)
    scales = np.array([width**-0.5, recipe.hidden**-0.5], np.float32)
    parameters = (W, V, b, c, scales)
    _descend(
        (inputs, targets, order[: steps * batch].reshape(steps, batch)),
        parameters,
        (KINDS[recipe.kind], LOSSES[recipe.loss], RANGES[recipe.activation]),
        recipe.rate,
    )
    return Network(parameters, recipe)


@numba.njit(cache=True)
def _quantized(w, kind):
    """Return the values of the forward pass, before the scale of the layer."""
    q = np.empty_like(w)
    cut = np.float32(0.0) if kind == BINARY else np.float32(CUT) * np.mean(np.abs(w))
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            small = kind == TERNARY and abs(w[i, j]) <= cut
            q[i, j] = np.float32(0) if small else np.float32(1 if w[i, j] >= 0 else -1)
    return q


@numba.njit(cache=True, fastmath=True)
def _descend(images, parameters, options, rate):
    kind, loss, limits = options
    inputs, labels, order = images
    W, V, b, c, scales = parameters
    gW, gV, gb = np.zeros_like(W), np.zeros_like(V), np.zeros_like(b)
    gc, gs = np.zeros_like(c), np.zeros_like(scales)
    moments = [np.zeros((2, p.size), np.float32) for p in (W.ravel(), V.ravel(), b, c, scales)]
    n_steps, free, clip = len(order), np.float32(np.inf), np.float32(1)
    for step in range(n_steps):
        gW[:], gV[:], gb[:], gc[:], gs[:] = 0, 0, 0, 0, 0
        Q, R = _quantized(W, kind), _quantized(V, kind)
        for n in order[step]:
            _add_gradient(
                inputs[n], labels[n], (Q, R, b, c, scales), (gW, gV, gb, gc, gs), (loss, limits)
            )
        falling = rate * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        size = falling * math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        pace = (np.float32(size), np.float32(1 / order.shape[1]))
        _adam(W.ravel(), gW.ravel(), moments[0], pace, clip)
        _adam(V.ravel(), gV.ravel(), moments[1], pace, clip)
        _adam(b, gb, moments[2], pace, free)
        _adam(c, gc, moments[3], pace, free)
        _adam(scales, gs, moments[4], pace, free)


@numba.njit(cache=True, fastmath=True)
def _add_gradient(x, y, parameters, gradients, options):
    loss, limits = options
    Q, R, b, c, scales = parameters
    gW, gV, gb, gc, gs = gradients
    hidden, outputs = len(b), len(c)
    z, back = np.zeros(hidden, np.float32), np.zeros(hidden, np.float32)
    u = np.zeros(outputs, np.float32)
    for i in range(len(x)):
        for h in range(hidden):
            z[h] += x[i] * Q[i, h]
    sums = scales[0] * z + b
    a = np.minimum(np.maximum(sums, limits[0]), limits[1])
    for h in range(hidden):
        for k in range(outputs):
            u[k] += a[h] * R[h, k]
    p = scales[1] * u + c
    p = _answers(p, loss) - y
    for h in range(hidden):
        for k in range(outputs):
            gV[h, k] += scales[1] * a[h] * p[k]
            back[h] += scales[1] * p[k] * R[h, k]
        if sums[h] <= limits[0] or sums[h] >= limits[1]:
            back[h] = 0
    for i in range(len(x)):
        for h in range(hidden):
            gW[i, h] += scales[0] * x[i] * back[h]
    gb += back
    gc += p
    gs[0] += (back * z).sum()
    gs[1] += (p * u).sum()


@numba.njit(cache=True, fastmath=True)
def _answers(logits, loss):
    """Return what the loss compares with targets, by its number."""
    if loss == 0:
        p = np.exp(logits - logits.max())
        return p / p.sum()
    if loss == 1:
        return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * logits)
    return logits


@numba.njit(cache=True, fastmath=True)
def _adam(parameter, gradient, moments, pace, limit):
    size, share = pace
    for i in range(len(parameter)):
        g = share * gradient[i]
        moments[0, i] += np.float32(0.1) * (g - moments[0, i])
        moments[1, i] += np.float32(0.001) * (g * g - moments[1, i])
        moved = parameter[i] - size * moments[0, i] / (np.sqrt(moments[1, i]) + np.float32(1e-8))
        parameter[i] = min(limit, max(-limit, moved))
