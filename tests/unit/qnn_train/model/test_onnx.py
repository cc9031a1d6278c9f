"""ONNX files agree with the network on every margin."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train import (
    IntegerClassifier,
    QuantizedNetwork,
    bias_code,
    count_disagreements,
    weight_code,
)
from qnn_train.estimator import FeatureGrid, save_onnx
from qnn_train.network import Architecture, Layer

MARGINS = np.arange(-3, 4)


def network() -> QuantizedNetwork:
    """Three inputs of ternary weights 1, 1 and 1: a margin is the sum of the inputs."""
    architecture = Architecture((), Layer(3, 1, weight_code("ternary"), bias_code(0)))
    return QuantizedNetwork(architecture, (np.ones((1, 3), int),), (np.zeros(1, int),))


def test_the_file_of_onnx_agrees_on_every_margin(tmp_path):
    pytest.importorskip("onnx")
    rows = np.array([np.sign(m) * (np.arange(3) < abs(m)) for m in MARGINS])
    one = network()
    several = QuantizedNetwork(one.architecture, (one.weights[0][None],), (one.biases[0][None],))
    grid = FeatureGrid(np.zeros(3), np.ones(3), 1, 1)
    integers = IntegerClassifier(grid, several, np.array([0, 1]), 1.0)
    save_onnx(integers, tmp_path / "there.onnx")
    assert count_disagreements(integers, tmp_path / "there.onnx", rows) == 0
