"""From 50 images to a program: forward interval propagation, words, constraints, loss.

Run with ``pytest benchmarks/bench_assemble.py``; the features are ±1 at random in the shape of a
pair of Fashion-MNIST classes averaged over a 4x4 grid. The target is below 1 s.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from qnn_train import (
    HingeLoss,
    Spline,
    SquaredLoss,
    assemble,
    count_spins,
    layered_network,
    logistic_loss,
    majority_network,
    weight_code,
)

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.choice([-1, 1], (50, 16)), RNG.choice([-1, 1], 50)
PROGRAMS = {
    "16-3-majority, sign, squared": (
        majority_network(16, 3, weights=weight_code("binary"), bias_bits=2),
        SquaredLoss(3),
    ),
    "16-3-1, relu, hinge": (
        layered_network((16, 3, 1), biases=("2bit", "none"), activation=Spline.relu()),
        HingeLoss(4),
    ),
    "16-4-3-1, ternary, tanh, logistic": (
        layered_network(
            (16, 4, 3, 1),
            weights="ternary",
            activation=Spline.tanh(4, scale=6, levels=3),
        ),
        logistic_loss(6, pieces=8),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.benchmark(group="50 images")
def test_assemble(benchmark, name):
    network, loss = PROGRAMS[name]
    with threadpool_limits(1):
        assembly = benchmark(lambda: assemble(network, INPUTS, LABELS, loss=loss))
    benchmark.extra_info["spins"] = assembly.qcbo.n_bits


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.benchmark(group="50 images, count only")
def test_count(benchmark, name):
    network, loss = PROGRAMS[name]
    benchmark(lambda: count_spins(network, INPUTS, LABELS, loss=loss))
