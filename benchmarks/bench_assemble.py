"""From 50 images to a program: forward interval propagation, bit encodings, constraints, loss.

Run with ``pytest benchmarks/bench_assemble.py``; the features are ±1 at random in the shape of a
pair of Fashion-MNIST classes averaged over a 4x4 grid. Where ``$QNN_DATA_DIR`` names the folder of
that dataset, 50 coats and sandals are assembled too. The target is below 1 s.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from qnn_train import (
    HingeLoss,
    Recipe,
    Spline,
    SquaredLoss,
    assemble,
    count_spins,
    layered_network,
    load_fashion_mnist,
    logistic_loss,
    majority_network,
    prepare,
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


@pytest.fixture(scope="module")
def preparation():
    if "QNN_DATA_DIR" not in os.environ:
        pytest.skip("no Fashion-MNIST in $QNN_DATA_DIR")
    pair = load_fashion_mnist(Path(os.environ["QNN_DATA_DIR"])).pair(4, 5)
    return prepare(Recipe(train_samples=50), pair)


@pytest.mark.benchmark(group="50 coats and sandals")
def test_assemble_real_images(benchmark, preparation):
    network = preparation.architecture
    loss = SquaredLoss(preparation.recipe.target)
    with threadpool_limits(1):
        assembly = benchmark(
            lambda: assemble(network, preparation.inputs, preparation.chosen.labels, loss=loss)
        )
    benchmark.extra_info["spins"] = assembly.qcbo.n_bits


@pytest.mark.benchmark(group="50 coats and sandals")
def test_draw_and_assemble_real_images(benchmark, preparation):
    """Thresholds over 12,000 images included."""
    with threadpool_limits(1):
        benchmark(lambda: prepare(preparation.recipe, preparation.pair).assemble())
