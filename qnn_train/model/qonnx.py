"""A trained model as QONNX: an ONNX graph that says how many bits each number has.

Its operators beside those of ONNX are ``Quant`` and ``BipolarQuant`` (https://github.com/
fastmachinelearning/qonnx), which qonnx, FINN and hls4ml read. All is float32, in which the
integers of the network are exact. The input ``x`` is integer features, those of `FeatureGrid` or of
the cells of images: what divides by a deviation stays on the host. The output is ``margin``.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from cim_hal.atomic_files import replacing
from cim_hal.text import counted
from qnn_train.arrays import IntArray
from qnn_train.errors import ModelFileError
from qnn_train.model.integer import IntegerModel
from qnn_train.model.onnx import Graph, add_spline, imported_onnx
from qnn_train.model.trained import TrainedModel
from qnn_train.network import Architecture, Spline
from qnn_train.network.intervals import Grid, activation_grid, preactivation_grid

__all__ = ["save_qonnx", "signed_bits", "sums"]

DOMAIN = "qonnx.custom_op.general"
EXACT = 2**24  # float32 holds all integers up to it


def save_qonnx(
    model: IntegerModel | TrainedModel, path: str | os.PathLike[str], *, batch: int = 1
) -> None:
    """Write the graph; opset 17 and the domain ``qonnx.custom_op.general``.

    Parameters
    ----------
    model : IntegerModel or TrainedModel
        Of one network.
    path : str or path
    batch : int
        Rows of the input: tools of QONNX need a number.

    Raises
    ------
    TrainingError
        `onnx` is not installed.
    ModelFileError
        Several networks answer together, or sums may be too large for float32.
    """
    onnx = imported_onnx()
    if model.n_networks != 1:
        what = f"{counted(model.n_networks, 'network')} answer together"
        raise ModelFileError(what, hint="QONNX is of one")
    reached = sums(model.networks.architecture, model.inputs)
    largest = max(max(-grid.lo, grid.hi) for grid in reached)
    if largest > EXACT:
        what = f"a sum may reach {largest}, more than float32 counts to ({EXACT})"
        raise ModelFileError(what, hint="save_onnx writes float64")
    graph = Graph(onnx, np.float32)
    _add_network(graph, model, reached)
    graph.declare("margin", graph.types.FLOAT, [batch, model.n_outputs])
    made = graph.made((model.networks.architecture.n_inputs,), batch, DOMAIN)
    onnx.checker.check_model(made)
    with replacing(path) as file:
        onnx.save(made, file)


def sums(architecture: Architecture, inputs: Grid) -> list[Grid]:
    """Return what the sums of each layer can reach, over all weights and inputs."""
    reach, found = inputs, []
    for layer in architecture.layers:
        found.append(preactivation_grid(layer, [reach] * layer.inputs))
        reach = activation_grid(layer.activation, found[-1])
    return found


def signed_bits(grid: Grid) -> int:
    """Return the bits of the shortest integer that holds a grid, with a sign if it needs one."""
    return max(grid.hi, -grid.lo - 1, 1).bit_length() + (grid.lo < 0)


def _add_network(graph: Graph, model: IntegerModel | TrainedModel, reached: list[Grid]) -> None:
    """Add all from ``x`` to ``margin``, whose last node is no `Identity`: hls4ml has none."""
    network = model.networks[0]
    hidden = network.architecture.hidden
    value = _quant(graph, "x", model.inputs)
    for index, layer in enumerate(network.architecture.layers):
        is_last, has_bias = index == len(hidden), layer.biases.bits > 0
        names = ["margin" if is_last and of_sum == has_bias else None for of_sum in (False, True)]
        weights = _coded(graph, network.weights[index].T, layer.weights.values)
        value = graph.add("MatMul", value, weights, output=names[0])
        if has_bias:
            biases = _coded(graph, network.biases[index], layer.biases.values)
            value = graph.add("Add", value, biases, output=names[1])
        if not is_last:
            value = _activation(graph, value, layer.activation, reached[index])
    if network.architecture.readout is None:  # the last hidden neurons vote
        votes = np.ones((network.architecture.layers[-1].outputs, 1), np.int64)
        graph.add("MatMul", value, _coded(graph, votes, (-1, 1)), output="margin")


def _coded(graph: Graph, values: IntArray, code: tuple[int, ...]) -> str:
    """Add parameters in as many bits as their code has."""
    return _quant(graph, graph.real(values), Grid.spanning(code))


def _quant(graph: Graph, value: str, grid: Grid) -> str:
    """Add a `Quant` with the fewest bits of a signed or unsigned integer, which changes nothing."""
    if (grid.lo, grid.hi, grid.step) == (-1, 1, 2):
        return graph.add("BipolarQuant", value, graph.real(1.0), domain=DOMAIN)
    signed, bits = grid.lo < 0, signed_bits(grid)
    narrow = signed and -grid.lo < 2 ** (bits - 1)
    constants = [graph.real(each) for each in (1.0, 0.0, bits)]
    options: dict[str, Any] = {"signed": int(signed), "narrow": int(narrow)}
    return graph.add("Quant", value, *constants, domain=DOMAIN, rounding_mode="ROUND", **options)


def _activation(graph: Graph, z: str, spline: Spline, reached: Grid) -> str:
    if spline == Spline.sign():
        return graph.add("BipolarQuant", z, graph.real(1.0), domain=DOMAIN)
    value = graph.add("Relu", z) if spline == Spline.relu() else add_spline(graph, z, spline)
    return _quant(graph, value, activation_grid(spline, reached))
