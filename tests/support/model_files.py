"""Trained models of all kinds of networks, with random bits."""

from __future__ import annotations

import numpy as np

from qnn_train import (
    Architecture,
    Layer,
    PooledSign,
    QuantizedNetwork,
    Spline,
    TrainedModel,
    bias_code,
    layered_network,
    majority_network,
    threshold_unit,
    weight_code,
)
from qnn_train.data import PooledLevels

TERNARY, RELU = weight_code("ternary"), Spline.relu()
ARCHITECTURES = {
    "majority": majority_network(16, 3, weights=weight_code("binary"), bias_bits=2),
    "unit": threshold_unit(16, weights=weight_code("3bit"), bias_bits=0),
    "two layers": Architecture(
        (Layer(16, 2, TERNARY, bias_code(1)),), Layer(2, 1, TERNARY, bias_code(0))
    ),
    "splines and codebooks": layered_network(
        (16, 4, 3, 1),
        weights=("codebook(-5,0,2)", "2bit", "ternary*2"),
        biases=("2bit*3", "none", "range(-2,1,3)"),
        activation=(Spline.tanh(4, scale=5, levels=3), Spline.leaky_relu(3)),
    ),
}
IMAGES = np.random.default_rng(0).integers(0, 256, (400, 8, 8))


def of_ten_classes() -> TrainedModel:
    """Levels of cells, hidden ReLU, and an output for each class."""
    network = layered_network((16, 5, 10), weights="ternary", biases="3bit", activation=RELU)
    bits = np.random.default_rng(2).integers(0, 2, network.n_bits)
    features = PooledLevels.fit(IMAGES, grid=4, levels=4, cut=2)
    names = tuple("abcdefghij")
    trained = QuantizedNetwork.from_bits(network, bits)
    return TrainedModel("letters", tuple(range(10)), names, features, trained)


def model(name: str = "majority") -> TrainedModel:
    architecture = ARCHITECTURES[name]
    bits = np.random.default_rng(1).integers(0, 2, architecture.n_bits)
    features = PooledSign.fit(IMAGES, grid=4)
    network = QuantizedNetwork.from_bits(architecture, bits)
    return TrainedModel("digits", (3, 6), ("three", "six"), features, network)
