"""ONNX files agree with the network on every margin."""

from __future__ import annotations

import numpy as np
import pytest
from model_files import ARCHITECTURES, IMAGES, model, of_ten_classes

from qnn_train import (
    IntegerClassifier,
    QuantizedNetwork,
    bias_code,
    count_disagreements,
    weight_code,
)
from qnn_train.errors import ModelFileError
from qnn_train.estimator import FeatureGrid, load_onnx, save_onnx
from qnn_train.model.onnx import read_model
from qnn_train.network import Architecture, Layer

MARGINS = np.arange(-3, 4)


def network() -> QuantizedNetwork:
    """Three inputs of ternary weights 1, 1 and 1: a margin is the sum of the inputs."""
    architecture = Architecture((), Layer(3, 1, weight_code("ternary"), bias_code(0)))
    return QuantizedNetwork(architecture, (np.ones((1, 3), int),), (np.zeros(1, int),))


def classifier(labels) -> IntegerClassifier:
    one = network()
    several = QuantizedNetwork(one.architecture, (one.weights[0][None],), (one.biases[0][None],))
    return IntegerClassifier(FeatureGrid(np.zeros(3), np.ones(3), 1, 1), several, labels, 1.0)


def test_the_file_of_onnx_agrees_on_every_margin(tmp_path):
    pytest.importorskip("onnx")
    rows = np.array([np.sign(m) * (np.arange(3) < abs(m)) for m in MARGINS])
    integers = classifier(np.array([0, 1]))
    save_onnx(integers, tmp_path / "there.onnx")
    assert count_disagreements(integers, tmp_path / "there.onnx", rows) == 0


@pytest.mark.parametrize("labels", [[0, 1], [0.5, 1.5], ["no", "yes"], [False, True]])
def test_the_file_of_onnx_gives_the_model_back(tmp_path, labels):
    pytest.importorskip("onnx")
    model, path = classifier(np.array(labels)), tmp_path / "there.onnx"
    save_onnx(model, path)
    again = load_onnx(path)
    assert again.classes.tolist() == labels
    assert again.networks.architecture == model.networks.architecture
    assert np.array_equal(again.networks.to_bits(), model.networks.to_bits())
    assert count_disagreements(again, path, np.eye(3)) == 0


@pytest.mark.parametrize("name", [*ARCHITECTURES, "ten classes"])
def test_a_network_of_images_takes_images_and_agrees_on_every_margin(tmp_path, name):
    pytest.importorskip("onnx")
    network = of_ten_classes() if name == "ten classes" else model(name)
    path = tmp_path / "there.onnx"
    save_onnx(network, path)
    flat = np.full((256, 8, 8), np.arange(256)[:, None, None])
    assert count_disagreements(network, path, np.concatenate([IMAGES, flat])) == 0
    again = load_onnx(path)
    assert again.classes == network.classes
    assert np.array_equal(again.predict(IMAGES), network.predict(IMAGES))
    with pytest.raises(ModelFileError, match=r"it is a network for images \(TrainedModel\)"):
        read_model(path)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "ten classes"])
def test_onnx_runtime_gives_labels_and_margins_of_images(tmp_path, name):
    reason = "in an environment of its own: .ci/environments --all"
    runtime = pytest.importorskip("onnxruntime", reason=reason)
    network = of_ten_classes() if name == "ten classes" else model(name)
    save_onnx(network, tmp_path / "there.onnx")
    session = runtime.InferenceSession(str(tmp_path / "there.onnx"))
    answers = network.answers(IMAGES)
    found = session.run(list(answers), {"x": IMAGES.astype(np.float64)})
    assert all(map(np.array_equal, found, answers.values()))


def test_files_of_onnx_that_are_not_of_the_exporter_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "there.onnx"
    save_onnx(classifier(np.array([0, 1])), path)
    whole = onnx.load(path)
    foreign, changed, damaged = (
        onnx.ModelProto.FromString(whole.SerializeToString()) for _ in "abc"
    )
    del foreign.metadata_props[:]
    changed.graph.initializer[-1].raw_data = b"12345678"
    damaged.metadata_props[0].value = "AAAA"
    for made, sentence in (
        (foreign, "no model of save_onnx"),
        (changed, "not that of the model"),
        (damaged, "holds no such model"),
    ):
        onnx.save(made, path)
        with pytest.raises(ModelFileError, match=sentence):
            load_onnx(path)
    path.write_bytes(b"hello" * 9)
    for read in (load_onnx, lambda file: count_disagreements(classifier([0, 1]), file, np.eye(3))):
        with pytest.raises(ModelFileError, match="cannot read"):
            read(path)
