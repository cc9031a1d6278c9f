"""Trained models predict what they did before they were saved."""

from __future__ import annotations

import numpy as np
import pytest

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

TERNARY = weight_code("ternary")


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


def model(name: str = "majority") -> TrainedModel:
    architecture = ARCHITECTURES[name]
    bits = np.random.default_rng(1).integers(0, 2, architecture.n_bits)
    features = PooledSign.fit(IMAGES, grid=4)
    network = QuantizedNetwork.from_bits(architecture, bits)
    return TrainedModel("digits", (3, 6), ("three", "six"), features, network)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_loaded_model_predicts_what_the_saved_one_did(tmp_path, name):
    saved = model(name)
    saved.save(tmp_path / "model.npz")
    loaded = TrainedModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(IMAGES), saved.predict(IMAGES))
    assert set(saved.predict(IMAGES)) <= {3, 6}
    margin = loaded.network.margin(saved.features.transform(IMAGES))
    np.testing.assert_array_equal(saved.predict(IMAGES) == 6, margin > 0)
    assert loaded.network.architecture == saved.network.architecture
    assert (loaded.classes, loaded.class_names) == ((3, 6), ("three", "six"))


def test_several_classes_are_predicted_by_the_largest_output(tmp_path):
    network = layered_network((16, 3), weights="2bit", biases="1bit")
    bits = np.random.default_rng(2).integers(0, 2, network.n_bits)
    trained = QuantizedNetwork.from_bits(network, bits)
    features = PooledSign.fit(IMAGES, grid=4)
    saved = TrainedModel("digits", (2, 5, 7), ("two", "five", "seven"), features, trained)
    saved.save(tmp_path / "model.npz")
    loaded = TrainedModel.load(tmp_path / "model.npz")
    at = trained.margin(features.transform(IMAGES)).argmax(axis=-1)
    np.testing.assert_array_equal(loaded.predict(IMAGES), np.array([2, 5, 7])[at])
