"""`init`, a given network as the start of a descent: what is taken, and what must agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cim_hal.text import counted
from qnn_train.errors import AssemblyError, ModelFileError
from qnn_train.network import Architecture, Layer, QuantizedNetwork
from qnn_train.solve.losses import RESCALING
from qnn_train.solve.proximal import has_values

if TYPE_CHECKING:
    from qnn_train.arrays import Float32Array, FloatArray, RealArray
    from qnn_train.solve import DescentLoss

__all__ = ["FILE", "best_scale", "check_agreement", "fitted", "loaded", "only_network"]

T = TypeVar("T")

FILE = "a model file that was trained in the same way"


def check_agreement(given: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Refuse a start of which something named differs from what is trained.

    Raises
    ------
    AssemblyError
        Names all that differs.
    """
    differ = [
        f"{name} {given.get(name)}, not {value}"
        for name, value in wanted.items()
        if given.get(name) != value
    ]
    if differ:
        raise AssemblyError(f"init has other {', '.join(differ)}", hint=FILE)


def loaded(path: str | os.PathLike[str], load: Callable[[str | os.PathLike[str]], T]) -> T:
    """Read a model file to start from; a ModelFileError names `init`."""
    try:
        return load(path)
    except ModelFileError as error:
        raise ModelFileError(f"init: {error.message}", hint=error.hint) from None


def only_network(networks: QuantizedNetwork) -> QuantizedNetwork:
    """Return the network of a model; an AssemblyError where several vote."""
    count = len(networks.biases[0])
    if count > 1:
        raise AssemblyError(
            f"init has {counted(count, 'network')} that vote", hint="a model of one network"
        )
    return networks[0]


def fitted(architectures: Sequence[Architecture], network: QuantizedNetwork) -> QuantizedNetwork:
    """Return the same network in the codes of that architecture which has its activations.

    Raises
    ------
    AssemblyError
        Says which sizes, codes or activations differ.
    """
    mine = [layer.activation for layer in network.architecture.hidden]
    alike = (a for a in architectures if [layer.activation for layer in a.hidden] == mine)
    architecture = next(alike, architectures[0])
    check_agreement({"layers": str(network.architecture)}, {"layers": str(architecture)})
    pairs = list(zip(network.architecture.layers, architecture.layers, strict=True))
    given, wanted = {}, {}
    for index, (old, new) in enumerate(pairs, start=1):
        for name, mine, its in _parts(old, new):
            given[f"{name} of layer {index}"], wanted[f"{name} of layer {index}"] = mine, its
    check_agreement(given, wanted)
    return QuantizedNetwork(architecture, network.weights, network.biases)


def _parts(old: Layer, new: Layer) -> Iterator[tuple[str, str, str]]:
    """Yield what of two layers must agree, as texts; codes agree where one has all values."""
    for name, before, after in (
        ("weights", old.weights, new.weights),
        ("biases", old.biases, new.biases),
    ):
        same = after.name if has_values(after, before) else before.name
        yield name, same, after.name
    same = old.activation == new.activation
    shown = [f"{each.name} with knots {each.knots}" for each in (old.activation, new.activation)]
    yield "activation", shown[1] if same else shown[0], shown[1]


def best_scale(
    loss: DescentLoss,
    margins: RealArray,
    targets: Float32Array,
    weights: FloatArray | None = None,
) -> float:
    """Return the scale at which the mean loss of margins is least, to about 0.1 %."""
    scale = loss.rescaled(margins, targets, 0.0, weights)
    for power in (*[1.0] * 12, 1 / 3, 1 / 9, 1 / 27, 1 / 81):  # each spans the gaps before it
        tried = scale * RESCALING**power
        losses = [loss.mean(margins, targets, float(each), weights) for each in tried]
        scale = float(tried[int(np.argmin(losses))])
    return scale
