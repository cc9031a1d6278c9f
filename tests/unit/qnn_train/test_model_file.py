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
    TrainedModel,
    bias_code,
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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other/2"}, "format"),
        ({"side": 7}, "do not fit"),
        ({"layers": []}, "no trained network"),
        ({"surprise": 1}, "surprise"),
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
