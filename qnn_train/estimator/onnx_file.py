"""A trained classifier as an ONNX graph of plain operators, in float64, where integers are exact.

The input ``x`` is (samples, features) float64; the outputs are ``label`` and ``margin``. The
networks that vote are one batch of matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.errors import ModelFileError, TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from qnn_train.estimator.integers import IntegerClassifier
    from qnn_train.network import Spline

__all__ = ["count_disagreements", "save_onnx"]

OPSET = 17
IR_VERSION = 8


def save_onnx(model: IntegerClassifier, path: Path) -> None:
    """Write the graph; opset 17, no operators but plain ones.

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        Labels that are neither numbers nor text.
    """
    onnx = _onnx()
    graph = _Graph(onnx)
    margin = _margins(graph, model)
    n_outputs = model.networks.architecture.n_outputs
    if n_outputs == 1:
        margin = graph.add("Squeeze", margin, graph.constant(np.array([1])), output="margin")
        positive = graph.add("GreaterOrEqual", margin, graph.constant(np.float64(0.0)))
        index = graph.add("Cast", positive, to=onnx.TensorProto.INT64)
    else:
        margin = graph.add("Identity", margin, output="margin")
        index = graph.add("ArgMax", margin, axis=1, keepdims=0)
    classes = graph.constant(_labels(model.classes))
    graph.add("Gather", classes, index, output="label")
    graph.save(path, model, _labels(model.classes))


def count_disagreements(model: IntegerClassifier, path: Path, X: ArrayLike) -> int:
    """Return how many samples get another label or margin from an ONNX file than from `model`.

    The reference evaluator of `onnx` runs the file; it should be 0.

    Parameters
    ----------
    X : array, shape (n, n_features)

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        The file cannot be read.
    """
    onnx = _onnx()
    from onnx.reference import ReferenceEvaluator

    samples = np.asarray(X, np.float64)
    try:
        session = ReferenceEvaluator(onnx.load(str(path)))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None
    label, margin = session.run(["label", "margin"], {"x": samples})
    wrong = np.asarray(margin) != model.margins(samples)
    wrong = wrong if wrong.ndim == 1 else wrong.any(axis=1)
    wrong |= np.asarray(label).astype(model.classes.dtype) != model.predict(samples)
    return int(np.count_nonzero(wrong))


def _margins(graph: _Graph, model: IntegerClassifier) -> str:
    """Add everything from ``x`` to the added margins (n, outputs), and return their name."""
    grid, networks = model.grid, model.networks
    largest = float(grid.levels * grid.cut)
    value = graph.add("Sub", "x", graph.constant(grid.means))
    value = graph.add("Div", value, graph.constant(grid.deviations))
    value = graph.add("Mul", value, graph.constant(np.float64(grid.levels)))
    value = graph.add("Round", value)  # half to even, as numpy does
    limits = (graph.constant(np.float64(limit)) for limit in (-largest, largest))
    value = graph.add("Clip", value, *limits)
    hidden = networks.architecture.hidden
    for index, weights in enumerate(networks.weights):
        matrix = graph.constant(np.swapaxes(weights, -1, -2).astype(np.float64))
        value = graph.add("MatMul", value, matrix)
        offsets = networks.biases[index][:, None, :].astype(np.float64)
        value = graph.add("Add", value, graph.constant(offsets))
        if index < len(hidden):
            value = _activation(graph, value, hidden[index].activation)
    return graph.add("ReduceSum", value, graph.constant(np.array([0])), keepdims=0)


def _activation(graph: _Graph, z: str, spline: Spline) -> str:
    """Add the pieces of a spline, each in place of those before it where z reaches its knot."""
    result = _piece(graph, z, spline, 0)
    for index, knot in enumerate(spline.knots, start=1):
        beyond = graph.add("GreaterOrEqual", z, graph.constant(np.float64(knot)))
        result = graph.add("Where", beyond, _piece(graph, z, spline, index), result)
    return result


def _piece(graph: _Graph, z: str, spline: Spline, index: int) -> str:
    line = graph.add("Mul", z, graph.constant(np.float64(spline.slopes[index])))
    return graph.add("Add", line, graph.constant(np.float64(spline.intercepts[index])))


def _labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Return labels in a type that ONNX has."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    if all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    raise ModelFileError(f"ONNX has no labels of type {classes.dtype}", hint="numbers or text")


class _Graph:
    """Nodes and constants, named as they come."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **options: int) -> str:
        """Add a node and return the name of what it makes."""
        name = output or f"v{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [name], **options)
        self._nodes.append(node)
        return name

    def save(self, path: Path, model: IntegerClassifier, labels: NDArray[Any]) -> None:
        """Check the graph and write it."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        number = {"i": types.INT64, "f": types.DOUBLE, "O": types.STRING}[labels.dtype.kind]
        architecture = model.networks.architecture
        of_margin = ["n"] if architecture.n_outputs == 1 else ["n", architecture.n_outputs]
        graph = helper.make_graph(
            self._nodes,
            "quantized_network",
            [helper.make_tensor_value_info("x", types.DOUBLE, ["n", architecture.n_inputs])],
            [
                helper.make_tensor_value_info("label", number, ["n"]),
                helper.make_tensor_value_info("margin", types.DOUBLE, of_margin),
            ],
            self._constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        self._onnx.checker.check_model(made, full_check=True)
        self._onnx.save(made, str(path))


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise TrainingError("onnx is not installed", hint="pip install 'cim-hal[onnx]'") from None
    return onnx
