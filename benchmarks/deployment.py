"""Networks of one bit and of three values as QONNX and as C++ of hls4ml, on all test images.

    python benchmarks/deployment.py

Needs qonnx and hls4ml, which pin other versions: an environment of its own, with
``pip install '.[onnx]' qonnx hls4ml``, a C++ compiler, and Fashion-MNIST in ``QNN_DATA_DIR`` or
``CIM_SHARED_DIR/data/fashion_mnist``. Networks are trained on 3,000 images in seconds: how well
they do is not the point. Margins are compared one by one, with those of `IntegerClassifier`.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train import QuantizedNetworkClassifier
from qnn_train.data.fashion_mnist import load_fashion_mnist
from qnn_train.model.qonnx import save_qonnx, signed_bits, sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qnn_train.estimator import IntegerClassifier

CELLS = 7
HLS = {"granularity": "name", "backend": "Vitis", "default_precision": "fixed<24,24>"}


def features(images: Any) -> NDArray[np.float64]:
    """Return means of 4x4 pixels."""
    side = images.shape[1] // CELLS
    cells = np.asarray(images, float).reshape(-1, CELLS, side, CELLS, side)
    return cells.mean((2, 4)).reshape(-1, CELLS**2)


def by_qonnx(model: IntegerClassifier, x: NDArray[np.float32], folder: Path) -> Any:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    save_qonnx(model, folder / "all.qonnx", batch=len(x))
    graph = ModelWrapper(str(folder / "all.qonnx")).transform(InferShapes())
    return execute_onnx(graph, {"x": x})["margin"]


def by_hls4ml(model: IntegerClassifier, x: NDArray[np.float32], folder: Path) -> Any:
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    save_qonnx(model, folder / "one.qonnx")
    graph = cleanup_model(ModelWrapper(str(folder / "one.qonnx")))
    made = hls4ml.converters.convert_from_onnx_model(
        graph,
        output_dir=str(folder / "hls"),
        backend="Vitis",
        hls_config=hls4ml.utils.config_from_onnx_model(graph, **HLS),
    )
    made.compile()
    return made.predict(x)


def report(name: str, model: IntegerClassifier, X: Any, y: Any) -> None:
    x = np.ascontiguousarray(model.grid.transform(X), np.float32)
    expected, right = model.margins(X), float(np.mean(model.predict(X) == y))
    print(f"{name}: {model.networks.architecture}, {right:.2%} of {len(X)} test images")
    layers = zip(
        model.networks.architecture.layers,
        sums(model.networks.architecture, model.inputs),
        strict=True,
    )
    for layer, reached in layers:
        print(
            f"  {layer.inputs} x {layer.outputs}: {layer.weights.name}, {layer.n_bits} bits, "
            f"{layer.inputs * layer.outputs} products, sums of {signed_bits(reached)} bits"
        )
    ways = {"qonnx": by_qonnx}
    if shutil.which("g++"):
        ways["hls4ml, compiled"] = by_hls4ml
    for way, run in ways.items():
        begun = time.process_time()
        with TemporaryDirectory() as folder:
            found = np.asarray(run(model, x, Path(folder)), float).reshape(expected.shape)
        wrong = int(np.any(found != expected, axis=1).sum())
        print(f"  {way}: {wrong} rows differ, {time.process_time() - begun:.1f} CPU s")


def main() -> None:
    logging.disable(logging.WARNING)
    shared = os.environ.get("CIM_SHARED_DIR", "../shared")
    data = load_fashion_mnist(os.environ.get("QNN_DATA_DIR", f"{shared}/data/fashion_mnist"))
    X, y = features(data.train.images[:3000]), data.train.labels[:3000]
    for weights in ("binary", "ternary"):
        network = QuantizedNetworkClassifier(
            hidden=16, weights=weights, activation="relu", sweeps=1, starts=1, random_state=1
        )
        network.fit(X, y)
        report(weights, network.model_, features(data.test.images), data.test.labels)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
