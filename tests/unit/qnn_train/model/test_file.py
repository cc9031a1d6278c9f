from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_files import IMAGES, model

from qnn_train import (
    ModelFileError,
    PooledSign,
    QuantizedNetwork,
    TrainedModel,
    majority_network,
    weight_code,
)


def rewritten(tmp_path, **changes):
    """A model file with some of its entries replaced, or removed where None."""
    path = tmp_path / "model.npz"
    model().save(path)
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def header(tmp_path, **changes) -> np.ndarray:
    path = tmp_path / "other.npz"
    model().save(path)
    with np.load(path) as archive:
        return np.array(json.dumps(json.loads(str(archive["header"])) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"networks": np.ones((1, 8))}, "networks"),
        ({"networks": np.ones((1, 6), np.uint8)}, "networks"),
        ({"networks": np.ones((2, 8), np.uint8)}, "networks"),
        ({"networks": None}, "networks"),
        ({"header": None}, "header"),
        ({"header": np.array("{")}, "no such model"),
        ({"header": np.array("{}")}, "no such model"),
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
        ({"layers": []}, "no such model"),
        ({"surprise": 1}, "surprise"),
        ({"kind": "classifier"}, r"it is a classifier of tables \(IntegerClassifier\)"),
        ({"kind": "poem"}, "kind = 'poem'"),
        ({"n_networks": 2}, "networks"),
        ({"classes": [3, 6, 7]}, "classes and outputs"),
        ({"class_names": ["three"]}, "classes and outputs"),
        ({"majority": False}, "hidden layer has an activation"),
        ({"layers": [layer(activation=None)]}, "hidden layer has an activation"),
        ({"layers": [layer(activation=spline(knots=[0, 0]))]}, "n \\+ 1"),
        ({"layers": [layer(activation=spline(slopes=[0.5, 0]))]}, "no such model"),
        ({"layers": [layer(biases="float")]}, "no such model"),
    ],
)
def test_a_file_that_describes_itself_wrongly_is_refused(tmp_path, changes, sentence):
    with pytest.raises(ModelFileError, match=sentence):
        TrainedModel.load(rewritten(tmp_path, header=header(tmp_path, **changes)))


def test_a_pickle_is_never_opened(tmp_path):
    path = rewritten(tmp_path, thresholds=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelFileError, match="pickle"):
        TrainedModel.load(path)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("networks.npy", bytes(65 * 2**20))
    with pytest.raises(ModelFileError, match="unpacks to more"):
        TrainedModel.load(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.npz"):
        TrainedModel.load(path)


def large(inputs: int, hidden: int, weights: str = "binary") -> TrainedModel:
    """A network for images of ``inputs`` pixels, with random weights."""
    architecture = majority_network(inputs, hidden, weights=weight_code(weights), bias_bits=1)
    bits = np.random.default_rng(3).integers(0, 2, architecture.n_bits, dtype=np.int8)
    side = round(inputs**0.5)
    network = QuantizedNetwork.from_bits(architecture, bits)
    return TrainedModel("d", (0, 1), ("a", "b"), PooledSign(side, np.zeros(inputs)), network)


@pytest.mark.parametrize(
    ("inputs", "hidden", "weights"),
    [(784, 3000, "binary"), pytest.param(4096, 4095, "binary", marks=pytest.mark.slow)],
)
def test_the_largest_networks_are_loaded_as_they_were_saved(tmp_path, inputs, hidden, weights):
    saved, path = large(inputs, hidden, weights), tmp_path / "model.npz"
    saved.save(path)
    loaded = TrainedModel.load(path)
    assert loaded.network.architecture == saved.network.architecture
    pairs = zip(loaded.network.weights, saved.network.weights, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert path.stat().st_size < saved.network.architecture.n_bits / 8 * 1.01 + 10_000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"class_names": ("only one",)}, "classes and outputs"),
        ({"features": PooledSign(8, np.zeros(4))}, "do not fit"),
        ({"network": replace(model().network, weights=(np.full((3, 16), 2),))}, "binary code"),
        ((16, 4097), "4096"),
        pytest.param((64**2, 4096, "3bit"), "bits", marks=pytest.mark.slow),
    ],
)
def test_what_load_would_refuse_is_not_saved_and_leaves_the_old_file(tmp_path, change, sentence):
    path = tmp_path / "model.npz"
    model().save(path)
    whole = path.read_bytes()
    if isinstance(change, tuple):  # made here: large networks would delay every collection
        change = {"network": large(*change).network}
    with pytest.raises(ModelFileError, match=sentence):
        replace(model(), **change).save(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["model", "model.npz", "model.weights"])
@pytest.mark.parametrize("kind", [str, Path])
def test_load_opens_what_save_wrote(tmp_path, name, kind):
    path = kind(tmp_path / name)
    model().save(path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    loaded = TrainedModel.load(path)
    np.testing.assert_array_equal(loaded.predict(IMAGES), model().predict(IMAGES))


@pytest.mark.parametrize(
    "name", ["model", "model.npz", "model.npz.npz", "model.txt", "m o.d", ".x"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_saved_under_a_name_is_loaded_under_it(tmp_path, name, kind):
    path = kind(tmp_path / name)
    for _ in range(2):  # the second time it exists
        model().save(path)
        assert np.array_equal(TrainedModel.load(path).predict(IMAGES), model().predict(IMAGES))
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_entry_that_nothing_reads_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="an entry 'threshold' that means nothing"):
        TrainedModel.load(rewritten(tmp_path, threshold=np.zeros(16)))


def test_an_entry_twice_is_refused(tmp_path):
    path = rewritten(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("thresholds.npy", archive.read("thresholds.npy"))
    with pytest.raises(ModelFileError, match="an entry twice"):
        TrainedModel.load(path)
