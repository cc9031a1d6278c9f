"""Straight-through estimator: one hidden layer of ReLU, quantized weights, real biases and scales.

Weights are kept real and quantized in the forward pass, as BinaryConnect and ternary weight
networks do: sign(w) or, beyond 0.7 times the mean modulus, sign(w), times a real scale of the
layer that fits best. The gradient goes straight through to weights clipped to [-1, 1]. Several
seeds are trained at once: every array has a leading axis of seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Recipe", "train"]

CUT = 0.7


@dataclass(frozen=True)
class Recipe:
    """How to train. Adam with a rate that falls to zero along a cosine."""

    kind: str = "ternary"
    hidden: int = 4
    epochs: int = 30
    batch: int = 128
    rate: float = 0.01
    least_steps: int = 1500


def train(inputs, labels, tests, *, n_outputs, seeds, recipe):
    """Return predictions of the test inputs, one row a seed.

    Parameters
    ----------
    inputs, labels, tests : arrays with a leading axis of seeds, or of length 1 for all the same
        Real features (samples, n), integers below `n_outputs` (samples,), real features.
    """
    S, count, width = len(seeds), inputs.shape[1], inputs.shape[2]
    shapes = [(width, recipe.hidden), (recipe.hidden, n_outputs)]
    rngs = [np.random.default_rng([seed, 7]) for seed in seeds]
    weights = [
        np.stack([r.uniform(-1, 1, shape) for r in rngs]).astype(np.float32) for shape in shapes
    ]
    scales = [np.full((S, 1, 1), shape[0] ** -0.5, np.float32) for shape in shapes]
    biases = [np.zeros((S, 1, shape[1]), np.float32) for shape in shapes]
    state = _Adam([*weights, *scales, *biases])
    batch = min(recipe.batch, count)
    steps = max(recipe.epochs * -(-count // batch), recipe.least_steps)
    order = np.empty((S, 0), np.int64)
    rows = np.arange(S)[:, None] if len(inputs) > 1 else np.zeros((1, 1), np.int64)
    for step in range(steps):
        if order.shape[1] < batch:
            order = np.concatenate([order, np.stack([r.permutation(count) for r in rngs])], axis=1)
        chosen, order = order[:, :batch], order[:, batch:]
        gradients = _gradients(
            inputs[rows, chosen], labels[rows, chosen], (weights, scales, biases), recipe.kind
        )
        rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        state.descend([*weights, *scales, *biases], gradients, rate)
        if recipe.kind != "float":
            for w in weights:
                np.clip(w, -1, 1, out=w)
    hidden = np.maximum(_layer(tests, weights[0], scales[0], biases[0], recipe.kind), 0)
    return _layer(hidden, weights[1], scales[1], biases[1], recipe.kind).argmax(axis=-1)


def quantized(w, kind):
    """Return the values of the forward pass, before the scale of the layer."""
    if kind == "float":
        return w
    if kind == "binary":
        return np.where(w >= 0, np.float32(1), np.float32(-1))
    cut = CUT * np.abs(w).mean(axis=(1, 2), keepdims=True)
    return np.where(np.abs(w) > cut, np.sign(w), np.float32(0))


def _layer(x, w, scale, bias, kind):
    return scale * (x @ quantized(w, kind)) + bias


def _gradients(x, y, parameters, kind):
    weights, scales, biases = parameters
    q = [quantized(w, kind) for w in weights]
    z = x @ q[0]
    a = np.maximum(scales[0] * z + biases[0], 0)
    u = a @ q[1]
    logits = scales[1] * u + biases[1]
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    np.put_along_axis(p, y[..., None], np.take_along_axis(p, y[..., None], -1) - 1, -1)
    p /= p.shape[1]
    back = scales[1] * (p @ q[1].swapaxes(1, 2)) * (a > 0)
    by_weight = [
        scales[0] * (x.swapaxes(1, 2) @ back),
        scales[1] * (a.swapaxes(1, 2) @ p),
    ]
    by_scale = [
        (back * z).sum(axis=(1, 2), keepdims=True),
        (p * u).sum(axis=(1, 2), keepdims=True),
    ]
    if kind == "float":
        by_scale = [np.zeros_like(g) for g in by_scale]
    by_bias = [back.sum(axis=1, keepdims=True), p.sum(axis=1, keepdims=True)]
    return [*by_weight, *by_scale, *by_bias]


class _Adam:
    def __init__(self, parameters):
        self._first = [np.zeros_like(p) for p in parameters]
        self._second = [np.zeros_like(p) for p in parameters]
        self._step = 0

    def descend(self, parameters, gradients, rate):
        self._step += 1
        size = rate * np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        for index, gradient in enumerate(gradients):
            first, second = self._first[index], self._second[index]
            np.add(0.9 * first, 0.1 * gradient, out=first)
            np.add(0.999 * second, 0.001 * gradient * gradient, out=second)
            parameters[index] -= np.float32(size) * first / (np.sqrt(second) + np.float32(1e-8))
