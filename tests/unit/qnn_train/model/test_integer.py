"""Models for tables: which class a margin means, whoever is asked."""

from __future__ import annotations

import numpy as np

from qnn_train import (
    IntegerClassifier,
    PooledSign,
    QuantizedNetwork,
    Scorer,
    TrainedModel,
    bias_code,
    parameter_code,
    weight_code,
)
from qnn_train.estimator import FeatureGrid
from qnn_train.estimator.prediction_task import ClassificationTask
from qnn_train.network import Architecture, Layer
from qnn_train.network.network import second_class
from qnn_train.solve.losses import error_rate

MARGINS = np.arange(-3, 4)


def network() -> QuantizedNetwork:
    """Three inputs of ternary weights 1, 1 and 1: a margin is the sum of the inputs."""
    architecture = Architecture((), Layer(3, 1, weight_code("ternary"), bias_code(0)))
    return QuantizedNetwork(architecture, (np.ones((1, 3), int),), (np.zeros(1, int),))


def test_all_predictors_agree_on_every_margin():
    rows = np.array([np.sign(m) * (np.arange(3) < abs(m)) for m in MARGINS])
    one = network()
    np.testing.assert_array_equal(one.margin(rows), MARGINS)
    second = second_class(MARGINS)
    assert second.tolist() == [False, False, False, False, True, True, True]
    np.testing.assert_array_equal(one.predict(rows), np.where(second, 1, -1))
    labels = np.where(second, 1, -1)
    several = QuantizedNetwork(one.architecture, (one.weights[0][None],), (one.biases[0][None],))
    accuracy, _ = Scorer(rows, labels).score(several)
    assert accuracy.tolist() == [1.0]
    columns = MARGINS[:, None].astype(float)
    assert error_rate(columns, second[:, None].astype(np.float32)) == 0
    task = ClassificationTask(np.array(["a", "b"]))
    np.testing.assert_array_equal(task.predict(columns), second)
    grid = FeatureGrid(np.zeros(3), np.ones(3), 1, 1)
    integers = IntegerClassifier(grid, several, np.array(["a", "b"]), 1.0)
    np.testing.assert_array_equal(integers.predict(rows), np.where(second, "b", "a"))


def test_a_model_of_images_agrees_on_a_margin_of_zero():
    architecture = Architecture((), Layer(4, 1, weight_code("binary"), parameter_code("none")))
    one = QuantizedNetwork(architecture, (np.array([[1, 1, -1, -1]]),), (np.zeros(1, int),))
    model = TrainedModel("d", (3, 6), ("a", "b"), PooledSign(2, np.zeros(4)), one)
    assert model.predict(np.ones((1, 2, 2))).tolist() == [3]
