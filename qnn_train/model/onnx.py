"""A trained model as an ONNX graph of plain operators, in float64, where integers are exact.

The input ``x`` is (samples, features) or images (samples, side, side), float64; the outputs are
``label`` and ``margin``, or ``prediction`` and ``margin``, see `IntegerModel.answers` and
`TrainedModel.answers`. The networks that answer together are one batch of matrices. The metadata
hold the model file, so that `load_onnx` reads the model back.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cim_hal.atomic_files import replacing
from cim_hal.extras import load_extra
from qnn_train.archive import reading
from qnn_train.arrays import Array, ArrayLike
from qnn_train.data.features import FeatureGrid, PooledLevels, PooledSign
from qnn_train.errors import ModelFileError, TrainingError
from qnn_train.model.file import KINDS, MAX_BYTES
from qnn_train.model.integer import (
    IntegerClassifier,
    IntegerModel,
    IntegerRegressor,
    load_integers,
)
from qnn_train.model.trained import TrainedModel, load_model
from qnn_train.network import QuantizedNetwork, Spline

__all__ = [
    "Graph",
    "add_spline",
    "count_disagreements",
    "imported_onnx",
    "load_onnx",
    "read_model",
    "save_onnx",
]

OPSET = 17
IR_VERSION = 8
MODEL = "cim-hal/qnn-model/1"  # the key of the model file in the metadata


def save_onnx(model: IntegerModel | TrainedModel, path: str | os.PathLike[str]) -> None:
    """Write the graph; opset 17, no operators but plain ones.

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        Labels that are neither numbers nor text.
    """
    onnx = imported_onnx()
    made = _made(onnx, model)
    onnx.helper.set_model_props(made, {MODEL: _packed(model)})
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as file:
        onnx.save(made, file)


def load_onnx(path: str | os.PathLike[str]) -> IntegerModel | TrainedModel:
    """Read the model from a file that `save_onnx` wrote.

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        The file cannot be read, was written by another program or before its metadata held the
        model, or its graph is not that of the model.
    """
    onnx = imported_onnx()
    found = _opened(onnx, path)
    packed = {each.key: each.value for each in found.metadata_props}.get(MODEL)
    if packed is None:
        raise ModelFileError(f"{path} holds no model of save_onnx", hint="export it again")
    with TemporaryDirectory() as folder, reading(path, ModelFileError, "holds no such model"):
        file = Path(folder, "model.npz")
        file.write_bytes(base64.b64decode(packed, validate=True))
        model = load_model(file)
    if _made(onnx, model).graph != found.graph:
        raise ModelFileError(f"the graph of {path} is not that of the model in its metadata")
    return model


def read_model(path: str | os.PathLike[str]) -> IntegerModel:
    """Read a model of tables from its own file, or from ONNX where the suffix says so."""
    if Path(path).suffix != ".onnx":
        return load_integers(path)
    model = load_onnx(path)
    if isinstance(model, TrainedModel):
        raise ModelFileError(f"{path} holds no such model: it is {KINDS['images']}")
    return model


def _packed(model: IntegerModel | TrainedModel) -> str:
    """Return the model file as text."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.npz")
        model.save(file)
        return base64.b64encode(file.read_bytes()).decode()


def _made(onnx: Any, model: IntegerModel | TrainedModel) -> Any:
    """Return the graph of a model, as a whole ONNX model."""
    graph = Graph(onnx)
    if isinstance(model, TrainedModel):
        inputs, shape = _cells(graph, model.features), (model.features.side,) * 2
    else:
        inputs, shape = _levels(graph, "x", model.grid), (model.networks.architecture.n_inputs,)
    margins = _margins(graph, inputs, model.networks)
    if isinstance(model, IntegerRegressor):
        _add_predictions(graph, model, margins)
    elif isinstance(model, IntegerClassifier | TrainedModel):
        _add_labels(graph, np.asarray(model.classes), model.n_outputs, margins)
    return graph.made(shape)


def _opened(onnx: Any, path: str | os.PathLike[str]) -> Any:
    """Parse a file."""
    from google.protobuf.message import DecodeError

    try:
        if (size := Path(path).stat().st_size) <= MAX_BYTES:
            return onnx.load(str(path))
        refused = f"{size} bytes, more than {MAX_BYTES}"
    except (OSError, ValueError, DecodeError) as error:
        refused = str(error)
    raise ModelFileError(f"cannot read {path}: {refused}")


def count_disagreements(
    model: IntegerModel | TrainedModel, path: str | os.PathLike[str], X: ArrayLike
) -> int:
    """Return how many samples get another answer or margin from an ONNX file than from `model`.

    The reference evaluator of `onnx` runs the file; it should be 0.

    Parameters
    ----------
    X : array, shape (n, n_features), or images (n, side, side)

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        The file cannot be read, or is of another kind of model.
    """
    onnx = imported_onnx()
    from onnx.reference import ReferenceEvaluator

    samples, made = np.asarray(X, np.float64), _opened(onnx, path)
    try:
        session = ReferenceEvaluator(made)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None
    answers = model.answers(samples)
    if set(session.output_names) != set(answers):
        raise ModelFileError(f"{path} is of another kind than {type(model).__name__}")
    wrong = np.zeros(len(samples), dtype=bool)
    for name, told in zip(answers, session.run(list(answers), {"x": samples}), strict=True):
        found, expected = np.asarray(told), answers[name]
        if found.shape != expected.shape:  # another number of networks or of outputs
            return len(samples)
        differ = found.astype(expected.dtype) != expected
        if differ.ndim == 3:  # (networks, n, outputs)
            differ = np.moveaxis(differ, 1, 0)
        wrong |= differ.reshape(len(samples), -1).any(axis=1)
    return int(np.count_nonzero(wrong))


def _add_labels(graph: Graph, classes: Array, n_outputs: int, margins: str) -> None:
    """Add the sum of the margins, and the label that it means."""
    types = graph.types
    added = graph.add("ReduceSum", margins, graph.constant(np.array([0])), keepdims=0)
    if n_outputs == 1:
        added = graph.add("Squeeze", added, graph.constant(np.array([1])))
        second = graph.add("Greater", added, graph.constant(np.float64(0.0)))
        index = graph.add("Cast", second, to=types.INT64)
    else:
        index = graph.add("ArgMax", added, axis=1, keepdims=0)
    labels = _labels(classes)
    number = {"i": types.INT64, "f": types.DOUBLE, "O": types.STRING}[labels.dtype.kind]
    label = graph.add("Gather", graph.constant(labels), index)
    of_margin = ["n"] if n_outputs == 1 else ["n", n_outputs]
    graph.tell("label", label, number, ["n"])
    graph.tell("margin", added, types.DOUBLE, of_margin)


def _add_predictions(graph: Graph, model: IntegerRegressor, margins: str) -> None:
    """Add scales and offsets."""
    scaled = graph.add("Mul", margins, graph.constant(model.scales[:, None]))
    added = graph.add("ReduceSum", scaled, graph.constant(np.array([0])), keepdims=0)
    prediction = graph.add("Add", added, graph.constant(model.offsets))
    if model.n_outputs == 1:
        prediction = graph.add("Squeeze", prediction, graph.constant(np.array([1])))
    shape = ["n"] if model.n_outputs == 1 else ["n", model.n_outputs]
    graph.tell("prediction", prediction, graph.types.DOUBLE, shape)
    of_margin = [model.n_networks, "n", model.n_outputs]
    graph.tell("margin", margins, graph.types.DOUBLE, of_margin)


def _cells(graph: Graph, features: PooledSign | PooledLevels) -> str:
    """Add all from images ``x`` to the integers of their cells, and return their name."""
    cells, pixels = features.grid, features.side // features.grid
    cut = graph.constant(np.array([-1, cells, pixels, cells, pixels]))
    value = graph.add("Reshape", "x", cut)
    value = graph.add("ReduceSum", value, graph.constant(np.array([2, 4])), keepdims=0)
    value = graph.add("Div", value, graph.real(pixels**2))
    value = graph.add("Reshape", value, graph.constant(np.array([-1, cells**2])))
    if isinstance(features, PooledLevels):
        return _levels(graph, value, features.steps)
    brighter = graph.add("Greater", value, graph.constant(features.thresholds))
    return graph.add("Where", brighter, graph.real(1), graph.real(-1))


def _levels(graph: Graph, value: str, grid: FeatureGrid) -> str:
    """Add all from real features to their integers, and return the name of these."""
    largest = float(grid.levels * grid.cut)
    value = graph.add("Sub", value, graph.constant(grid.means))
    value = graph.add("Div", value, graph.constant(grid.deviations))
    value = graph.add("Mul", value, graph.constant(np.float64(grid.levels)))
    value = graph.add("Round", value)  # half to even, as numpy does
    limits = (graph.constant(np.float64(limit)) for limit in (-largest, largest))
    return graph.add("Clip", value, *limits)


def _margins(graph: Graph, value: str, networks: QuantizedNetwork) -> str:
    """Add all from integers to the margins (networks, n, outputs), and return their name."""
    hidden = networks.architecture.hidden
    for index, weights in enumerate(networks.weights):
        matrix = graph.constant(np.swapaxes(weights, -1, -2).astype(np.float64))
        value = graph.add("MatMul", value, matrix)
        offsets = networks.biases[index][:, None, :].astype(np.float64)
        value = graph.add("Add", value, graph.constant(offsets))
        if index < len(hidden):
            value = add_spline(graph, value, hidden[index].activation)
    if networks.architecture.readout is None:
        value = graph.add("ReduceSum", value, graph.constant(np.array([2])))
    return value


def add_spline(graph: Graph, z: str, spline: Spline) -> str:
    """Add the pieces of a spline, each in place of those before it where z reaches its knot."""
    result = _piece(graph, z, spline, 0)
    for index, knot in enumerate(spline.knots, start=1):
        beyond = graph.add("GreaterOrEqual", z, graph.real(knot))
        result = graph.add("Where", beyond, _piece(graph, z, spline, index), result)
    return result


def _piece(graph: Graph, z: str, spline: Spline, index: int) -> str:
    line = graph.add("Mul", z, graph.real(spline.slopes[index]))
    return graph.add("Add", line, graph.real(spline.intercepts[index]))


def _labels(classes: Array) -> Array:
    """Return labels in a type that ONNX has."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    if all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    raise ModelFileError(f"ONNX has no labels of type {classes.dtype}", hint="numbers or text")


class Graph:
    """Nodes and constants, named as they come, and what is told; reals are of one type."""

    def __init__(self, onnx: Any, dtype: type[np.floating] = np.float64) -> None:
        self._onnx, self._dtype = onnx, dtype
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._outputs: list[Any] = []

    @property
    def types(self) -> Any:
        """Types of numbers."""
        return self._onnx.TensorProto

    def constant(self, value: Any) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def real(self, value: ArrayLike) -> str:
        """Add a constant of reals and return its name."""
        return self.constant(np.asarray(value, self._dtype))

    def add(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Add a node and return the name of what it makes."""
        name = output or f"v{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [name], **options)
        self._nodes.append(node)
        return name

    def tell(self, name: str, value: str, kind: int, shape: Sequence[str | int]) -> None:
        """Make an output of a value."""
        self.add("Identity", value, output=name)
        self.declare(name, kind, shape)

    def declare(self, name: str, kind: int, shape: Sequence[str | int]) -> None:
        """Make an output of what has its name."""
        helper = self._onnx.helper
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def made(self, shape: Sequence[int], n_samples: str | int = "n", *domains: str) -> Any:
        """Return the graph as a whole model; `domains` have operators beside those of ONNX."""
        helper = self._onnx.helper
        number = helper.np_dtype_to_tensor_dtype(np.dtype(self._dtype))
        x = helper.make_tensor_value_info("x", number, [n_samples, *shape])
        graph = helper.make_graph(
            self._nodes, "quantized_network", [x], self._outputs, self._constants
        )
        opset = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def imported_onnx() -> Any:
    """Return the module `onnx`, or say how to install it."""
    return load_extra("onnx", "writing ONNX", TrainingError)
