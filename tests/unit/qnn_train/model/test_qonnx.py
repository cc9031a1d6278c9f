"""QONNX files: run by qonnx, and compiled from them by hls4ml, they agree on every margin.

Both packages pin others and are tried in environments of their own: `.ci/environments --all`.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from model_files import ARCHITECTURES, IMAGES, of_ten_classes
from model_files import model as of_images

from qnn_train import IntegerClassifier, QuantizedNetwork
from qnn_train.errors import ModelFileError
from qnn_train.estimator import FeatureGrid
from qnn_train.model.qonnx import save_qonnx, sums
from qnn_train.network import Spline, layered_network
from qnn_train.network.spline import activation_named

pytest.importorskip("onnx")
RELU = Spline.relu()
CODES = ["binary", "ternary", "3bit"]
ACTIVATIONS = ["relu", "sign", "hard_tanh", "tanh"]


def model(weights: str, activation: Spline = RELU, n_networks: int = 1, levels: int = 4):
    """Random integers in a network of 9, 6 and 3 neurons."""
    shape = layered_network((9, 6, 3), weights=weights, biases="3bit", activation=activation)
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (n_networks, shape.n_bits))
    grid = FeatureGrid(rng.normal(size=9), rng.uniform(0.5, 2, 9), levels, 4)
    return IntegerClassifier(grid, QuantizedNetwork.from_bits(shape, bits), np.arange(3), 1.0)


def rows(n: int = 200) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n, 9)) * 2


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weights", CODES)
def test_qonnx_agrees_on_every_margin(tmp_path, weights, activation):
    pytest.importorskip("qonnx", reason="in an environment of its own: .ci/environments --all")
    network, X = model(weights, activation_named(activation, limit=20)), rows()
    margins = _run_by_qonnx(network, X, tmp_path)
    np.testing.assert_array_equal(margins, network.margins(X))


@pytest.mark.parametrize("name", [*ARCHITECTURES, "ten classes"])
def test_qonnx_of_images_agrees_on_every_margin(tmp_path, name):
    pytest.importorskip("qonnx", reason="in an environment of its own: .ci/environments --all")
    network = of_ten_classes() if name == "ten classes" else of_images(name)
    features = np.asarray(network.features.transform(IMAGES), np.float32)
    margins = _features_by_qonnx(network, features, tmp_path)
    expected = network.answers(IMAGES)["margin"]
    np.testing.assert_array_equal(margins.reshape(expected.shape), expected)


@pytest.mark.parametrize("weights", CODES)
def test_hls4ml_compiles_what_agrees_on_every_margin(tmp_path, weights):
    pytest.importorskip("hls4ml", reason="in an environment of its own: .ci/environments --all")
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    network, X = model(weights), rows()
    np.testing.assert_array_equal(_run_by_hls4ml(network, X, tmp_path), network.margins(X))


def test_bits_are_those_of_the_codes(tmp_path):
    import onnx

    save_qonnx(model("ternary"), tmp_path / "there.qonnx")
    graph = onnx.load(tmp_path / "there.qonnx").graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    bits = [int(constants[node.input[3]]) for node in graph.node if node.op_type == "Quant"]
    ternary = model("ternary")
    of_relu = sums(ternary.networks.architecture, ternary.inputs)[0].hi.bit_length()
    # features up to 16; ternary weights; 3-bit biases up to 7; sums behind ReLU have no sign
    assert sorted(bits) == sorted([6, 2, 2, 4, 4, of_relu])


@pytest.mark.parametrize(
    ("given", "says"),
    [({"n_networks": 2}, "2 networks answer together"), ({"levels": 8_000}, "float32 counts to")],
)
def test_what_qonnx_cannot_hold_is_refused(tmp_path, given, says):
    given = {"n_networks": 1, "levels": 4} | given
    with pytest.raises(ModelFileError, match=says):
        save_qonnx(model("3bit", **given), tmp_path / "there.qonnx")
    assert not list(tmp_path.iterdir())


def _run_by_qonnx(network, X, folder):
    return _features_by_qonnx(network, np.asarray(network.grid.transform(X), np.float32), folder)


def _features_by_qonnx(network, features, folder):
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    save_qonnx(network, folder / "there.qonnx", batch=len(features))
    wrapped = ModelWrapper(str(folder / "there.qonnx")).transform(InferShapes())
    return execute_onnx(wrapped, {"x": features})["margin"]


def _run_by_hls4ml(network, X, folder):
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    save_qonnx(network, folder / "there.qonnx")
    wrapped = cleanup_model(ModelWrapper(str(folder / "there.qonnx")))
    options = {"granularity": "name", "backend": "Vitis", "default_precision": "fixed<24,24>"}
    config = hls4ml.utils.config_from_onnx_model(wrapped, **options)
    made = hls4ml.converters.convert_from_onnx_model(
        wrapped, output_dir=str(folder / "hls"), backend="Vitis", hls_config=config
    )
    made.compile()
    return made.predict(np.ascontiguousarray(network.grid.transform(X), np.float32))
