"""Networks with a batch to classify."""

from __future__ import annotations

import numpy as np

from qnn_train import Spline, layered_network
from qnn_train.solve import CrossEntropy

CLASSES = CrossEntropy()


def problem(sizes, *, limit=10_000, weights="ternary", samples=40):
    """A network whose activation is linear where its sums are, and a batch."""
    architecture = layered_network(
        sizes, weights=weights, biases="2bit", activation=Spline.hard_tanh(limit)
    )
    rng = np.random.default_rng(5)
    inputs = rng.integers(-8, 9, (samples, sizes[0])).astype(np.float32)
    labels = rng.integers(0, max(2, sizes[-1]), samples)
    targets = CLASSES.targets_of(labels if sizes[-1] > 1 else 2 * labels - 1, sizes[-1])
    bits = rng.integers(0, 2, architecture.n_bits).astype(np.int8)
    return architecture, inputs, targets, bits
