"""Trained models predict what they did before they were saved."""

from __future__ import annotations

import numpy as np
import pytest
from model_files import ARCHITECTURES, IMAGES, model

from qnn_train import (
    PooledSign,
    QuantizedNetwork,
    TrainedModel,
    layered_network,
)


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
