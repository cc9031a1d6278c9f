from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from qnn_train import (
    Architecture,
    Layer,
    ModelFileError,
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
    np.testing.assert_array_equal(saved.predict(IMAGES) == 6, margin >= 0)
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


@pytest.mark.parametrize("name", ["majority", "unit", "two layers"])
def test_a_file_of_version_1_is_read(tmp_path, name):
    saved, path = model(name), tmp_path / "model.npz"
    saved.save(path)
    layers = [
        {
            "inputs": layer.inputs,
            "outputs": layer.outputs,
            "weights": layer.weights.name,
            "bias_bits": layer.biases.bits,
        }
        for layer in saved.network.architecture.layers
    ]
    old = {
        "format": "cim-hal/qnn-model/1",
        "dataset": "digits",
        "classes": [3, 6],
        "class_names": ["three", "six"],
        "side": 8,
        "layers": layers,
        "majority": saved.network.architecture.readout is None,
    }
    with np.load(path) as archive:
        arrays = dict(archive) | {"about": np.array(json.dumps(old))}
    np.savez(path, **arrays)
    loaded = TrainedModel.load(path)
    assert loaded.network.architecture == saved.network.architecture
    np.testing.assert_array_equal(loaded.predict(IMAGES), saved.predict(IMAGES))
    old["layers"][0]["bias_bits"] = 99
    np.savez(path, **arrays | {"about": np.array(json.dumps(old))})
    with pytest.raises(ModelFileError, match="code of 99 bits"):
        TrainedModel.load(path)


def rewritten(tmp_path, **changes):
    """A model file with some of its entries replaced, or removed where None."""
    path = tmp_path / "model.npz"
    model().save(path)
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def about(tmp_path, **changes) -> np.ndarray:
    path = tmp_path / "other.npz"
    model().save(path)
    with np.load(path) as archive:
        return np.array(json.dumps(json.loads(str(archive["about"])) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weights_0": np.full((3, 16), 2)}, "binary code"),
        ({"weights_0": np.ones((3, 16))}, "weights_0"),
        ({"weights_0": np.ones((2, 16), int)}, "weights_0"),
        ({"biases_0": None}, "biases_0"),
        ({"about": None}, "about"),
        ({"about": np.array("{")}, "no trained network"),
        ({"about": np.array("{}")}, "no trained network"),
        ({"thresholds": np.full(16, np.nan)}, "thresholds"),
        ({"thresholds": np.zeros(9)}, "do not fit"),
    ],
)
def test_a_file_with_a_wrong_part_is_refused(tmp_path, changes, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        TrainedModel.load(rewritten(tmp_path, **changes))


def spline(**changes) -> dict:
    return {"name": "sign", "knots": [0], "intercepts": [-1, 1], "slopes": [0, 0]} | changes


def layer(**changes) -> dict:
    """The layer of the majority network, in the words of the file."""
    same = {"inputs": 16, "outputs": 3, "weights": "binary", "biases": "2bit"}
    return same | {"activation": spline()} | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other/2"}, "format"),
        ({"side": 7}, "do not fit"),
        ({"layers": []}, "no trained network"),
        ({"surprise": 1}, "surprise"),
        ({"classes": [3, 6, 7]}, "classes and outputs"),
        ({"class_names": ["three"]}, "classes and outputs"),
        ({"majority": False}, "hidden layer has an activation"),
        ({"layers": [layer(activation=None)]}, "hidden layer has an activation"),
        ({"layers": [layer(activation=spline(knots=[0, 0]))]}, "n \\+ 1"),
        ({"layers": [layer(activation=spline(slopes=[0.5, 0]))]}, "no trained network"),
        ({"layers": [layer(biases="float")]}, "no trained network"),
    ],
)
def test_a_file_that_describes_itself_wrongly_is_refused(tmp_path, changes, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        TrainedModel.load(rewritten(tmp_path, about=about(tmp_path, **changes)))


def test_a_pickle_is_never_opened(tmp_path):
    path = rewritten(tmp_path, thresholds=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelFileError, match="pickle"):
        TrainedModel.load(path)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights_0.npy", bytes(17 * 2**20))
    with pytest.raises(ModelFileError, match="unpacks to more"):
        TrainedModel.load(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.npz"):
        TrainedModel.load(path)
