"""Trained layers as arrays of a file, and back: what all files of networks share.

``weights_l`` and ``biases_l`` are the integers of trained layer l, with a leading axis where there
are several networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.errors import ModelFileError
from qnn_train.network import QuantizedNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qnn_train.network import Architecture

__all__ = ["checked_array", "layer_arrays", "network_of"]


def layer_arrays(network: QuantizedNetwork) -> dict[str, Any]:
    """Return the integers of each layer by the names they have in a file."""
    found = {}
    for index, weights in enumerate(network.weights):
        found[f"weights_{index}"] = weights
        found[f"biases_{index}"] = network.biases[index]
    return found


def network_of(
    architecture: Architecture, arrays: Mapping[str, NDArray[Any]], lead: tuple[int, ...] = ()
) -> QuantizedNetwork:
    """Return the network, or several with leading axes, that arrays of a file make.

    Raises
    ------
    KeyError
        A layer that is not there.
    ModelFileError
        Arrays of another shape or kind.
    TrainingError
        Values that the codes do not have.
    """
    weights, biases = [], []
    for index, layer in enumerate(architecture.layers):
        shape = (*lead, layer.outputs, layer.inputs)
        weights.append(checked_array(arrays, f"weights_{index}", "i", shape))
        biases.append(checked_array(arrays, f"biases_{index}", "i", (*lead, layer.outputs)))
    network = QuantizedNetwork(architecture, tuple(weights), tuple(biases))
    network.to_bits()  # refuses values that the codes do not have
    return network


def checked_array(
    arrays: Mapping[str, NDArray[Any]], name: str, kinds: str, shape: tuple[int, ...] | None
) -> NDArray[Any]:
    """Return an array of a file if it is what it should be.

    Parameters
    ----------
    kinds : str
        Those of its dtype that will do.
    shape : tuple of int or None
        None for any number of values in a row.

    Raises
    ------
    KeyError
        It is not there.
    ModelFileError
        Another shape or kind, or numbers that are not finite.
    """
    array = arrays[name]
    fits = array.ndim == 1 if shape is None else array.shape == shape
    if not fits or array.dtype.kind not in kinds:
        raise ModelFileError(f"{name} has shape {array.shape} and type {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFileError(f"{name} holds numbers that are not finite")
    return array
